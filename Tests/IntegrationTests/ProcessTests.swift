import Glibc
import Testing

extension Integration {
    /// What config.json says of how a process runs.
    @Suite(.serialized, .enabled(if: Runtime.isStasis))
    struct ProcessAttributes {
        private func running(
            in bed: TestBed, _ edit: (inout JSONValue) -> Void
        ) throws -> (container: Container, pid: pid_t) {
            let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
            try container.bundle.edit(edit)
            try container.run()
            return (container, try container.pid())
        }

        /// Policy, realtime priority and nice. proc_pid_stat(5).
        private func scheduling(_ pid: String) -> [Substring] {
            let stat = Files.text(of: "/proc/\(pid)/stat") ?? ""
            let fields = stat.split(separator: ")").last?.split(separator: " ") ?? []
            return fields.count > 38 ? [fields[38], fields[37], fields[16]] : []
        }

        @Test(
            "scheduling policy", .timeLimit(.minutes(1)),
            arguments: [
                (["policy": "SCHED_BATCH", "nice": 5], ["3", "0", "5"]),
                (["policy": "SCHED_OTHER", "nice": -7], ["0", "0", "-7"]),
                (["policy": "SCHED_IDLE"], ["5", "0", "0"]),
                (["policy": "SCHED_FIFO", "priority": 9], ["1", "9", "0"]),
                (["policy": "SCHED_RR", "priority": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]], ["2", "3", "0"]),
            ] as [(JSONValue, [Substring])])
        func scheduler(asked: JSONValue, expected: [Substring]) throws {
            try TestBed.use { bed in
                let (container, pid) = try running(in: bed) { config in
                    config["process"]["scheduler"] = asked
                    // v1 gives a new cgroup no time for realtime policies by itself.
                    config["linux"]["resources"]["cpu"] = ["realtimePeriod": 1_000_000, "realtimeRuntime": 20_000]
                }
                #expect(scheduling("\(pid)") == expected)
                // A further process is scheduled the same way, since it takes config.json's process.
                let stat = try container.exec("cat", "/proc/self/stat").succeeded().output
                let fields = stat.split(separator: ")").last?.split(separator: " ") ?? []
                #expect(fields.count > 38 && fields[38] == expected[0], "\(stat)")
            }
        }

        @Test("a deadline", .timeLimit(.minutes(1)))
        func deadline() throws {
            try TestBed.use { bed in
                let (_, pid) = try running(in: bed) { config in
                    config["process"]["scheduler"] = [
                        "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 10_000_000,
                        "period": 20_000_000,
                    ]
                }
                #expect(scheduling("\(pid)").first == "6")
                let said = try Command("chrt", "--pid", "\(pid)").run().output
                #expect(said.contains("1000000/10000000/20000000"), "\(said)")
            }
        }

        @Test("what the kernel does not take is refused by field", .timeLimit(.minutes(1)))
        func refused() throws {
            try TestBed.use { bed in
                let edits: [(String, (inout JSONValue) -> Void)] = [
                    ("process.scheduler", { $0["process"]["scheduler"] = ["policy": "SCHED_ISO"] }),
                    ("linux.memoryPolicy", { $0["linux"]["memoryPolicy"] = ["mode": "MPOL_BIND", "nodes": "63"] }),
                    ("linux.intelRdt", { $0["linux"]["intelRdt"] = ["closID": "guaranteed"] }),
                    ("linux.mountLabel", { $0["linux"]["mountLabel"] = "system_u:object_r:container_file_t:s0" }),
                    ("selinux is not enabled", { $0["process"]["selinuxLabel"] = "system_u:system_r:container_t:s0" }),
                    ("apparmor is not enabled", { $0["process"]["apparmorProfile"] = "docker-default" }),
                    ("process.execCPUAffinity.final", { $0["process"]["execCPUAffinity"] = ["final": "3-1"] }),
                ]
                for (field, edit) in edits {
                    let container = try bed.container(.busybox, arguments: ["true"])
                    try container.bundle.edit(edit)
                    let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                    #expect(outcome.status == 1 && outcome.errors.contains(field), "\(outcome)")
                }
            }
        }

        /// Where it runs `hack/vm` shows what it does.
        @Test(
            "without systemd its cgroup manager is refused", .enabled(if: !Files.exists("/run/systemd/system")),
            .timeLimit(.minutes(1)))
        func withoutSystemd() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                for flags in [["--systemd-cgroup"], ["--cgroup-manager", "systemd"]] {
                    let words = flags + ["run", "--bundle", container.bundle.folder, container.id]
                    let outcome = try bed.runtime.command(words).run()
                    #expect(outcome.status == 1 && outcome.errors.contains("systemd not running"), "\(outcome)")
                }
                try container.bundle.edit { $0["linux"]["cgroupsPath"] = "/not/a/unit" }
                let outcome = try bed.runtime.command(
                    ["--systemd-cgroup", "run", "--bundle", container.bundle.folder, container.id]
                ).run()
                #expect(outcome.errors.contains("slice:prefix:name"), "\(outcome)")
            }
        }

        @Test("I/O priority, memory policy and personality, for further processes too", .timeLimit(.minutes(1)))
        func otherAttributes() throws {
            try TestBed.use { bed in
                let (container, pid) = try running(in: bed) { config in
                    config["process"]["ioPriority"] = ["class": "IOPRIO_CLASS_BE", "priority": 6]
                    config["linux"]["memoryPolicy"] = [
                        "mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"],
                    ]
                    config["linux"]["personality"] = ["domain": "LINUX32"]
                    config["linux"]["seccomp"] = .null
                }
                #expect(try Command("ionice", "-p", "\(pid)").run().output == "best-effort: prio 6")
                let maps = Files.text(of: "/proc/\(pid)/numa_maps") ?? ""
                #expect(maps.contains("interleave=static:0"), "\(maps)")
                #expect(Files.text(of: "/proc/\(pid)/personality") == "00000008\n")
                #expect(try container.exec("uname", "-m").succeeded().output == "i686")
                #expect(try container.exec("ionice", "-p", "1").succeeded().output == "best-effort: prio 6")
                let inside = try container.exec("ionice").succeeded().output
                #expect(inside == "best-effort: prio 6")
                let innerMaps = try container.exec("cat", "/proc/self/numa_maps").succeeded().output
                #expect(innerMaps.contains("interleave=static:0"))
            }
        }

        @Test("CPUs of further processes", .timeLimit(.minutes(1)))
        func affinity() throws {
            try TestBed.use { bed in
                let (container, pid) = try running(in: bed) {
                    $0["process"]["execCPUAffinity"] = ["initial": "0-1", "final": "1"]
                }
                let own = "Cpus_allowed_list:\t0-1\n"
                #expect(Files.text(of: "/proc/\(pid)/status")?.contains(own) == true, "the first process is not meant")
                let inside = try container.exec("grep", "Cpus_allowed_list", "/proc/self/status").succeeded().output
                #expect(inside == "Cpus_allowed_list:\t1")
            }
        }
    }
}
