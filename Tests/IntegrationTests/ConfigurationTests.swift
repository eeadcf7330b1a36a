import Glibc
import Testing

extension Integration {
    /// Items of config.json, many of them looked at from within one container.
    @Suite(.serialized, .enabled(if: Runtime.isStasis))
    struct Configuration {
        private func run(_ bed: TestBed, _ script: String, _ edit: (inout JSONValue) -> Void) throws -> Outcome {
            let container = try bed.container(.busybox, arguments: ["sh", "-c", script])
            try container.bundle.edit { config in
                config["linux"]["seccomp"] = .null
                edit(&config)
            }
            return try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
        }

        @Test("process and names", .timeLimit(.minutes(1)))
        func process() throws {
            try TestBed.use { bed in
                let script = """
                    umask; id; hostname; cat /proc/sys/kernel/domainname /proc/sys/kernel/msgmax
                    cat /proc/sys/net/ipv4/ip_forward; grep -E 'core file|open files' /proc/self/limits | tr -s ' '
                    cat /proc/self/oom_score_adj; touch /x 2>/dev/null || echo read-only; touch /dev/x && echo writable
                    grep -E 'NoNewPrivs|CapBnd|CapInh|CapAmb' /proc/self/status
                    """
                let outcome = try run(bed, script) { config in
                    config["process"]["user"] = ["uid": 7, "gid": 8, "umask": 23, "additionalGids": [9, 10]]
                    config["process"]["rlimits"] = [
                        ["type": "RLIMIT_CORE", "soft": 1, "hard": 2],
                        ["type": "RLIMIT_NOFILE", "soft": 99, "hard": 100],
                    ]
                    config["process"]["oomScoreAdj"] = 123
                    config["process"]["capabilities"] = [
                        "bounding": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "permitted": ["CAP_KILL"],
                        "effective": ["CAP_KILL"], "ambient": ["CAP_KILL"],
                    ]
                    config["process"]["noNewPrivileges"] = true
                    config["domainname"] = "example.org"
                    config["root"]["readonly"] = true
                    config["linux"]["sysctl"] = ["net.ipv4.ip_forward": "1", "kernel.msgmax": "9000"]
                    config["mounts"] = .array(
                        config["mounts"].elements.map { mount in
                            guard mount["destination"] == "/dev" else { return mount }
                            var mount = mount
                            mount["options"] = ["nosuid", "mode=777"]
                            return mount
                        })
                }
                #expect(
                    try outcome.succeeded().output == """
                        0027
                        uid=7 gid=8 groups=9,10
                        stasis-test
                        example.org
                        9000
                        1
                        Max core file size 1 2 bytes\u{20}
                        Max open files 99 100 files\u{20}
                        123
                        read-only
                        writable
                        CapInh:\t0000000000000020
                        CapBnd:\t0000000000000020
                        CapAmb:\t0000000000000020
                        NoNewPrivs:\t1
                        """)
            }
        }

        @Test("devices: every kind, with owner and mode, and the default ones", .timeLimit(.minutes(1)))
        func devices() throws {
            try TestBed.use { bed in
                let script = """
                    for d in null zero full random urandom tty x/c x/u x/b x/p; do
                        stat -c '%n %F %a %u:%g %t,%T' /dev/$d
                    done
                    for l in ptmx fd stdin stdout stderr; do readlink /dev/$l; done
                    """
                let outcome = try run(bed, script) { config in
                    config["linux"]["devices"] = [
                        [
                            "path": "/dev/x/c", "type": "c", "major": 1, "minor": 3, "fileMode": 432, "uid": 1,
                            "gid": 2,
                        ],
                        ["path": "/dev/x/u", "type": "u", "major": 1, "minor": 5],
                        ["path": "/dev/x/b", "type": "b", "major": 7, "minor": 1, "fileMode": 384],
                        ["path": "/dev/x/p", "type": "p", "fileMode": 420, "uid": 3],
                    ]
                }
                #expect(
                    try outcome.succeeded().output == """
                        /dev/null character special file 666 0:0 1,3
                        /dev/zero character special file 666 0:0 1,5
                        /dev/full character special file 666 0:0 1,7
                        /dev/random character special file 666 0:0 1,8
                        /dev/urandom character special file 666 0:0 1,9
                        /dev/tty character special file 666 0:0 5,0
                        /dev/x/c character special file 660 1:2 1,3
                        /dev/x/u character special file 666 0:0 1,5
                        /dev/x/b block special file 600 0:0 7,1
                        /dev/x/p fifo 644 3:0 0,0
                        pts/ptmx
                        /proc/self/fd
                        /proc/self/fd/0
                        /proc/self/fd/1
                        /proc/self/fd/2
                        """)
            }
        }

        @Test("the device cgroup lets in what its rules allow, kind and access apart", .timeLimit(.minutes(1)))
        func deviceRules() throws {
            try TestBed.use { bed in
                let script =
                    "cd /dev/x; for d in log fuse; do (: >$d) 2>&1; (: <$d) 2>&1; done; mknod n c 1 11 && echo made"
                let outcome = try run(bed, script) { config in
                    config["process"]["capabilities"]["effective"] = ["CAP_MKNOD"]
                    config["process"]["capabilities"]["permitted"] = ["CAP_MKNOD"]
                    config["process"]["capabilities"]["bounding"] = ["CAP_MKNOD"]
                    config["linux"]["devices"] = [
                        ["path": "/dev/x/log", "type": "c", "major": 1, "minor": 11],
                        ["path": "/dev/x/fuse", "type": "c", "major": 10, "minor": 229],
                    ]
                    config["linux"]["resources"]["devices"] = [
                        ["allow": false, "access": "rwm"],
                        ["allow": true, "type": "c", "major": 1, "minor": 11, "access": "wm"],
                    ]
                }
                let refusal = "Operation not permitted"
                #expect(
                    outcome.output.split(separator: "\n") == [
                        "sh: can't open log: \(refusal)", "sh: can't create fuse: \(refusal)",
                        "sh: can't open fuse: \(refusal)", "made",
                    ], "\(outcome)")
            }
        }

        @Test(
            "each memory policy and class of I/O priority", .timeLimit(.minutes(1)),
            arguments: [
                ("DEFAULT", nil, "default", "RT", "realtime: prio 3"), ("BIND", nil, "bind:0", "IDLE", "idle"),
                ("INTERLEAVE", nil, "interleave:0", "BE", "best-effort: prio 3"),
                ("WEIGHTED_INTERLEAVE", nil, "weighted interleave:0", "BE", "best-effort: prio 3"),
                ("PREFERRED", "RELATIVE_NODES", "prefer=relative:0", "BE", "best-effort: prio 3"),
                ("PREFERRED_MANY", "STATIC_NODES", "prefer (many)=static:0", "BE", "best-effort: prio 3"),
                ("BIND", "NUMA_BALANCING", "bind=balancing:0", "BE", "best-effort: prio 3"),
                ("LOCAL", nil, "local", "BE", "best-effort: prio 3"),
            ])
        func policies(mode: String, flag: String?, shown: String, priority: String, shownPriority: String) throws {
            try TestBed.use { bed in
                let outcome = try run(bed, "ionice; head -1 /proc/self/numa_maps") { config in
                    config["process"]["ioPriority"] = ["class": .string("IOPRIO_CLASS_" + priority), "priority": 3]
                    var policy: JSONValue = ["mode": .string("MPOL_" + mode)]
                    if !["DEFAULT", "LOCAL"].contains(mode) { policy["nodes"] = "0" }
                    if let flag { policy["flags"] = [.string("MPOL_F_" + flag)] }
                    config["linux"]["memoryPolicy"] = policy
                }
                let lines = try outcome.succeeded().output.split(separator: "\n")
                #expect(lines[0] == shownPriority && lines[1].contains(" \(shown)"), "\(outcome)")
            }
        }

        private static let kinds = [
            ("uts", "uts"), ("ipc", "ipc"), ("network", "net"), ("pid", "pid"), ("cgroup", "cgroup"), ("time", "time"),
            ("mount", "mnt"),
        ]

        @Test("each kind of namespace is made, and joined by path", .timeLimit(.minutes(1)))
        func namespaces() throws {
            try TestBed.use { bed in
                let first = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try first.bundle.edit { config in
                    config["linux"]["namespaces"] = .array(Self.kinds.map { ["type": .string($0.0)] })
                    config["linux"]["timeOffsets"] = [
                        "monotonic": ["secs": 86400, "nanosecs": 5], "boottime": ["secs": 1000],
                    ]
                }
                try first.run()
                let pid = try first.pid()
                let links = Self.kinds.map { Files.link("/proc/\(pid)/ns/\($0.1)") }
                let own = Self.kinds.map { Files.link("/proc/self/ns/\($0.1)") }
                for index in links.indices { #expect(links[index] != nil && links[index] != own[index]) }
                #expect(
                    try first.exec("cat", "/proc/self/timens_offsets").succeeded().output.split(separator: "\n").map {
                        $0.split(separator: " ")
                    } == [["monotonic", "86400", "5"], ["boottime", "1000", "0"]])

                let script = "for n in uts ipc net pid cgroup time mnt; do readlink /proc/self/ns/$n; done"
                let outcome = try run(bed, script) { config in
                    config["hostname"] = .null
                    config["linux"]["namespaces"] = .array(
                        Self.kinds.map { type, file in
                            // In the other's mount namespace this container's root cannot be found.
                            type == "mount"
                                ? ["type": "mount"]
                                : ["type": .string(type), "path": .string("/proc/\(pid)/ns/\(file)")]
                        })
                }
                let joined = try outcome.succeeded().output.split(separator: "\n").map(String.init)
                #expect(joined.dropLast() == links.dropLast().compactMap { $0 }[...])
                #expect(joined.last != links.last ?? "")

                // A mount namespace of somebody's, in which it can.
                var holder = try Command("unshare", "-m", "--propagation", "private", "sleep", "100").start()
                defer { holder.kill() }
                let mountFile = "/proc/\(holder.pid)/ns/mnt"
                #expect(until(seconds: 10) { Files.link(mountFile) != own.last ?? "" })
                let inside = try run(bed, "readlink /proc/self/ns/mnt") { config in
                    let others = config["linux"]["namespaces"].elements.filter { $0["type"] != "mount" }
                    config["linux"]["namespaces"] = .array(others + [["type": "mount", "path": .string(mountFile)]])
                }
                #expect(try inside.succeeded().output == Files.link(mountFile))
                let refused = try run(bed, "true") { config in
                    let others = config["linux"]["namespaces"].elements.filter { $0["type"] != "mount" }
                    config["linux"]["namespaces"] = .array(
                        others + [["type": "mount", "path": "/proc/self/ns/mnt"]])
                }
                #expect(refused.status == 1 && refused.errors.contains("linux.namespaces: mount"), "\(refused)")
            }
        }

        @Test("the specification's long sample runs, but for what this machine lacks", .timeLimit(.minutes(1)))
        func sample() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: [])
                let path = Runtime.packageFolder + "/Tests/Examples/good/spec-example.json"
                var config = try JSONValue(parsing: Files.text(of: path) ?? "")
                config["process"]["terminal"] = false
                config["process"]["args"] = [
                    "sh", "-c", "id; hostname; cat /proc/sys/net/core/somaxconn; ls /dev/fuse",
                ]
                // Programs, disks and CPUs that only the sample's machine has.
                config["hooks"] = .null
                for name in ["apparmorProfile", "selinuxLabel"] { config["process"][name] = .null }
                for name in ["uidMappings", "gidMappings", "mountLabel"] { config["linux"][name] = .null }
                let others = config["linux"]["namespaces"].elements.filter { $0["type"] != "user" }
                config["linux"]["namespaces"] = .array(others)
                for name in ["network", "blockIO", "hugepageLimits"] { config["linux"]["resources"][name] = .null }
                config["linux"]["resources"]["cpu"] = ["shares": 1024, "quota": 1_000_000, "period": 500_000]
                config["linux"]["cgroupsPath"] = .string("/" + container.id)
                try Files.write(try config.text(), to: container.bundle.configPath)
                let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                #expect(
                    outcome.output == "uid=1 gid=1 groups=5,6\nslartibartfast\n256\n/dev/fuse", "\(outcome)")
            }
        }

        @Test("masked files are empty, masked folders too, read-only paths stay as they are", .timeLimit(.minutes(1)))
        func hiddenPaths() throws {
            try TestBed.use { bed in
                let script = """
                    cd /tmp; wc -c <file; ls folder | wc -l; cat shown/inner
                    for p in file folder/x shown/inner; do (: >$p) 2>/dev/null && echo wrote $p; done
                    """
                let container = try bed.container(.busybox, arguments: ["sh", "-c", script])
                for path in ["file", "folder/inner", "shown/inner"] {
                    try Files.makeFolder(Files.parent(of: container.bundle.rootfs + "/tmp/" + path))
                    try Files.write("secret\n", to: container.bundle.rootfs + "/tmp/" + path)
                }
                try container.bundle.edit { config in
                    config["linux"]["maskedPaths"] = ["/tmp/file", "/tmp/folder", "/tmp/missing"]
                    config["linux"]["readonlyPaths"] = ["/tmp/shown", "/tmp/gone"]
                }
                let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                // What is written into a masked file goes where /dev/null's goes.
                #expect(outcome.output == "0\n0\nsecret\nwrote file", "\(outcome)")
                #expect(Files.text(of: container.bundle.rootfs + "/tmp/file") == "secret\n")
            }
        }

        @Test("cgroup mounts show the container's own groups", .timeLimit(.minutes(1)), arguments: [false, true])
        func cgroupView(hasNamespace: Bool) throws {
            try TestBed.use { bed in
                let script = """
                    cat /sys/fs/cgroup/pids/pids.max; sed 's/.*://' /proc/self/cgroup | sort -u | wc -l
                    mkdir /sys/fs/cgroup/pids/x 2>/dev/null || echo read-only; cut -d: -f3 /proc/self/cgroup | grep -c '^/$'
                    """
                let outcome = try run(bed, script) { config in
                    config["linux"]["resources"]["pids"] = ["limit": 77]
                    if hasNamespace {
                        config["linux"]["namespaces"] = .array(
                            config["linux"]["namespaces"].elements + [["type": "cgroup"]])
                    }
                }
                let lines = outcome.output.split(separator: "\n")
                #expect(lines[0] == "77" && lines[2] == "read-only", "\(outcome)")
                #expect((lines[3] == "0") == !hasNamespace)
                if hasNamespace { #expect(lines[1] == "1", "every group is its namespace's root") }
            }
        }

        @Test("what this machine cannot give is refused by field", .timeLimit(.minutes(1)))
        func refused() throws {
            try TestBed.use { bed in
                let cases: [(String, (inout JSONValue) -> Void)] = [
                    (
                        "process.rlimits: RLIMIT_NOFILE",
                        { $0["process"]["rlimits"] = [["type": "RLIMIT_NOFILE", "soft": 9, "hard": 1_000_000_000]] }
                    ),
                    (
                        "linux.namespaces: a container needs a mount namespace",
                        {
                            $0["linux"]["namespaces"] = []; $0["hostname"] = .null; $0["linux"]["maskedPaths"] = [];
                            $0["linux"]["readonlyPaths"] = []
                        }
                    ),
                    ("linux.sysctl", { $0["linux"]["sysctl"] = ["kernel.panic": "1"] }),
                ]
                for (field, edit) in cases {
                    let outcome = try run(bed, "true", edit)
                    #expect(outcome.status == 1 && outcome.errors.contains(field), "\(outcome)")
                }
            }
        }
    }
}
