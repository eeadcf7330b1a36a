import Testing

extension Integration {
    /// config.json's `linux.resources` on the v1 hierarchies that this machine has.
    @Suite(.serialized, .enabled(if: Files.exists("/sys/fs/cgroup/memory/memory.limit_in_bytes")))
    struct ResourceLimits {
        /// A limit, and what must stand in the container's group.
        private struct Case {
            let resources: JSONValue
            /// Controller, file, content.
            let expected: [(String, String, String)]
            var version = "1.3.0"
        }

        private static let cases = [
            Case(
                resources: [
                    "memory": [
                        "limit": 104_857_600, "reservation": 52_428_800, "swap": 209_715_200, "swappiness": 10,
                        "disableOOMKiller": true, "kernel": 52_428_800, "kernelTCP": 10_002_432,
                        "useHierarchy": true, "checkBeforeUpdate": true,
                    ],
                    "pids": ["limit": 0],
                ],
                expected: [
                    ("memory", "memory.limit_in_bytes", "104857600"),
                    ("memory", "memory.soft_limit_in_bytes", "52428800"),
                    ("memory", "memory.memsw.limit_in_bytes", "209715200"), ("memory", "memory.swappiness", "10"),
                    ("memory", "memory.oom_control", "oom_kill_disable 1"),
                    ("memory", "memory.kmem.tcp.limit_in_bytes", "10002432"),
                    ("memory", "memory.use_hierarchy", "1"), ("pids", "pids.max", "1"),
                ]),
            Case(
                resources: [
                    "cpu": [
                        "shares": 512, "quota": 50_000, "period": 100_000, "burst": 10_000, "cpus": "1", "mems": "0",
                        "realtimePeriod": 1_000_000, "realtimeRuntime": 1000,
                    ],
                    "pids": ["limit": -1], "memory": ["limit": -1],
                ],
                expected: [
                    ("cpu", "cpu.shares", "512"), ("cpu", "cpu.cfs_quota_us", "50000"),
                    ("cpu", "cpu.cfs_period_us", "100000"), ("cpu", "cpu.cfs_burst_us", "10000"),
                    ("cpu", "cpu.rt_period_us", "1000000"), ("cpu", "cpu.rt_runtime_us", "1000"),
                    ("cpuset", "cpuset.cpus", "1"), ("cpuset", "cpuset.mems", "0"), ("pids", "pids.max", "max"),
                    ("memory", "memory.limit_in_bytes", "9223372036854771712"),
                ]),
            Case(
                resources: ["cpu": ["idle": 1], "blockIO": ["weight": 123]],
                expected: [("cpu", "cpu.idle", "1"), ("blkio", "blkio.bfq.weight", "123")]),
            Case(resources: ["pids": ["limit": 0]], expected: [("pids", "pids.max", "1")], version: "1.0.2-dev"),
            Case(resources: ["pids": .object([:])], expected: [("pids", "pids.max", "max")]),
        ]

        @Test("each value arrives in its file", .timeLimit(.minutes(1)), arguments: cases.indices)
        func values(index: Int) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                let resources = Self.cases[index].resources
                try container.bundle.edit { config in
                    config["ociVersion"] = .string(Self.cases[index].version)
                    for name in ["memory", "cpu", "pids", "blockIO"] {
                        config["linux"]["resources"][name] = resources[name]
                    }
                }
                try container.run()
                let groups = try Groups(of: try container.pid())
                for (controller, file, value) in Self.cases[index].expected {
                    #expect(groups.value(controller, file) == value, "\(file)")
                }
            }
        }

        @Test("throttles of a block device", .enabled(if: Self.blockDevice != nil), .timeLimit(.minutes(1)))
        func throttles() throws {
            try TestBed.use { bed in
                guard let (major, minor) = Self.blockDevice else { return }
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                let names = [
                    ("throttleReadBpsDevice", "read_bps"), ("throttleWriteBpsDevice", "write_bps"),
                    ("throttleReadIOPSDevice", "read_iops"), ("throttleWriteIOPSDevice", "write_iops"),
                ]
                try container.bundle.edit { config in
                    for (place, (name, _)) in names.enumerated() {
                        config["linux"]["resources"]["blockIO"][name] = [
                            ["major": .integer(major), "minor": .integer(minor), "rate": .integer(1_000_000 + place)]
                        ]
                    }
                }
                try container.run()
                let groups = try Groups(of: try container.pid())
                for (place, (_, file)) in names.enumerated() {
                    #expect(
                        groups.value("blkio", "blkio.throttle.\(file)_device")
                            == "\(major):\(minor) \(1_000_000 + place)")
                }
            }
        }

        /// A disk of this machine.
        private static let blockDevice: (Int, Int)? = {
            for name in Files.names(in: "/sys/block") where !name.hasPrefix("ram") {
                let numbers = (Files.text(of: "/sys/block/\(name)/dev") ?? "").split(whereSeparator: {
                    ":\n".contains($0)
                })
                if numbers.count == 2, let major = Int(numbers[0]), let minor = Int(numbers[1]) {
                    return (major, minor)
                }
            }
            return nil
        }()

        private static let unified = "/sys/fs/cgroup/unified"

        @Test(
            "huge pages, where the v2 hierarchy beside has their controller",
            .enabled(if: Files.text(of: unified + "/cgroup.controllers")?.contains("hugetlb") == true),
            .timeLimit(.minutes(1)))
        func hugePages() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.bundle.edit { config in
                    config["linux"]["resources"]["hugepageLimits"] = [["pageSize": "2MB", "limit": 4_194_304]]
                    // Beneath a group that passes no controllers on yet.
                    config["linux"]["cgroupsPath"] = .string("/\(bed.token)/inner")
                }
                try container.run()
                let folder = "\(Self.unified)/\(bed.token)/inner/"
                for file in ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"] {
                    #expect(Files.text(of: folder + file) == "4194304\n", "\(file)")
                }
                try container.delete()
                for hierarchy in Files.names(in: "/sys/fs/cgroup") {
                    _ = try? Command("rmdir", "/sys/fs/cgroup/\(hierarchy)/\(bed.token)").run()
                }
            }
        }

        @Test("what no controller here can hold is refused by field", .timeLimit(.minutes(1)))
        func refused() throws {
            try TestBed.use { bed in
                for (resources, complaint) in [
                    (["rdma": ["mlx5": ["hcaHandles": 3]]], "rdma.mlx5: no rdma"),
                    (["unified": ["memory.high": "1000"]], "unified.memory.high: this machine has cgroup v1"),
                    (["network": ["classID": 1_048_577]], "network.classID: no net_cls controller"),
                    (["network": ["priorities": [["name": "lo", "priority": 4]]]], "network.priorities: no net_prio"),
                    (["blockIO": ["leafWeight": 100]], "blockIO.leafWeight: no blkio.leaf_weight of the blkio"),
                    (["hugepageLimits": [["pageSize": "3MB", "limit": 1]]], "hugepageLimits[3MB]: no hugetlb.3MB"),
                    (["cpu": ["cpus": "4000"]], "cpu.cpus: write 4000"),
                    (
                        ["blockIO": ["throttleReadBpsDevice": [["major": 4000, "minor": 1, "rate": 1]]]],
                        "blockIO.throttleReadBps"
                    ),
                ] as [(JSONValue, String)] {
                    let container = try bed.container(.busybox, arguments: ["true"])
                    try container.bundle.edit { $0["linux"]["resources"] = resources }
                    let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                    #expect(
                        outcome.status == 1 && outcome.errors.contains("linux.resources." + complaint), "\(outcome)")
                    try bed.expectNoLeaks()
                }
            }
        }
    }
}
