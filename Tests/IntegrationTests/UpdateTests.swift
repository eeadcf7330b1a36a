import Glibc
import Testing

extension Integration {
    /// `update`, where this machine has v1 hierarchies.
    @Suite(.serialized, .enabled(if: Files.exists("/sys/fs/cgroup/memory/memory.limit_in_bytes")))
    struct Update {
        @Test("changes what it is told and nothing else", .timeLimit(.minutes(1)))
        func flags() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.bundle.edit { config in
                    config["linux"]["resources"]["memory"] = ["limit": 67_108_864]
                    config["linux"]["resources"]["pids"] = ["limit": 50]
                }
                try container.run()
                let groups = try Groups(of: try container.pid())
                try bed.runtime.run("update", "--memory", "96m", "--memory-swap=128m", container.id).succeeded()
                #expect(groups.value("memory", "memory.limit_in_bytes") == "100663296")
                #expect(groups.value("memory", "memory.memsw.limit_in_bytes") == "134217728")
                // Both at once above what was the limit of both: one order of the writes would be refused.
                try bed.runtime.run("update", "--memory=200m", "--memory-swap=300m", container.id).succeeded()
                #expect(groups.value("memory", "memory.limit_in_bytes") == "209715200")
                #expect(groups.value("pids", "pids.max") == "50")

                var update = bed.runtime.command(["update", "--resources=-", container.id])
                update.input = bed.folder + "/resources"
                try Files.write(
                    #"{"memory":{"limit":0},"cpu":{"quota":20000,"shares":512,"cpus":"0"},"pids":{"limit":-1}}"#,
                    to: update.input)
                try update.run().succeeded()
                #expect(groups.value("memory", "memory.limit_in_bytes") == "209715200")
                #expect(groups.value("cpu", "cpu.cfs_quota_us") == "20000")
                #expect(groups.value("cpu", "cpu.shares") == "512")
                #expect(groups.value("cpuset", "cpuset.cpus") == "0")
                #expect(groups.value("pids", "pids.max") == "max")
                let state = Files.text(of: "\(bed.runtime.stateFolder)/\(container.id)/state.json") ?? ""
                if Runtime.isStasis {
                    #expect(try JSONValue(parsing: state)["resources"]["memory"]["limit"] == 209_715_200)
                }
            }
        }

        @Test("without cgroups a container is what its caller's cgroups let it be", .timeLimit(.minutes(1)))
        func withoutCgroups() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                let bundle = container.bundle.folder
                try bed.runtime.run("--cgroup-manager", "disabled", "create", "--bundle", bundle, container.id)
                    .succeeded()
                defer { _ = try? bed.runtime.run("delete", "--force", container.id) }
                try bed.runtime.run("start", container.id).succeeded()
                let own = Files.text(of: "/proc/self/cgroup")
                let pid = try container.pid()
                #expect(own != nil && Files.text(of: "/proc/\(pid)/cgroup") == own)
                #expect(try container.exec("echo", "inside").succeeded().output == "inside")
                // Its processes are known by their pid namespace.
                #expect(try bed.runtime.run("ps", "--format", "json", container.id).succeeded().output == "[\(pid)]")
                for command in [["pause"], ["update", "--pids-limit=5"]] {
                    let outcome = try bed.runtime.command(command + [container.id]).run()
                    #expect(outcome.status == 1 && outcome.errors.contains("has no cgroup"), "\(outcome)")
                }
                try bed.runtime.run("kill", container.id, "KILL").succeeded()
                #expect(until(seconds: 10) { (try? container.status()) == "stopped" })
                try bed.runtime.run("delete", container.id).succeeded()
                let unknown = try bed.runtime.run("--cgroup-manager", "other", "list")
                #expect(unknown.status == 1 && unknown.errors.contains("--cgroup-manager"), "\(unknown)")
            }
        }

        @Test("exec goes into a cgroup beneath the container's, which has to be there", .timeLimit(.minutes(1)))
        func innerCgroup() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.run()
                let folder = try Groups(of: try container.pid()).folder("pids") + "/inner"
                try check(mkdir(folder, 0o755), "mkdir \(folder)")
                let inside = try bed.runtime.run(
                    "exec", "--cgroup", "pids:inner", container.id, "cat", "/proc/self/cgroup"
                ).succeeded()
                let lines = inside.output.split(separator: "\n")
                #expect(lines.filter { $0.hasSuffix("/inner") }.count == 1, "\(lines)")
                let missing = try bed.runtime.run("exec", "--cgroup", "pids:none", container.id, "true")
                #expect(missing.status == 255 && missing.errors.contains("no such file or directory"), "\(missing)")
            }
        }

        @Test("an update that fails names the field, and changes nothing", .timeLimit(.minutes(1)))
        func refusals() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.bundle.edit { $0["linux"]["resources"]["memory"] = ["limit": 67_108_864] }
                try container.run()
                let groups = try Groups(of: try container.pid())
                for (flags, complaint) in [
                    (["--memory", "10q"], "invalid value for memory"),
                    (["--cpu-quota", "many"], "invalid value for cpu-quota"),
                    (["--l3-cache-schema", "L3:0=f"], "not enabled"),
                    (["--memory", "32m", "--cpuset-cpus", "4000"], "cpu"),
                ] {
                    let outcome = try bed.runtime.command(["update"] + flags + [container.id]).run()
                    #expect(outcome.status == 1 && outcome.errors.contains(complaint), "\(outcome)")
                }
                #expect(groups.value("memory", "memory.limit_in_bytes") == "67108864")
                let unknown = try bed.runtime.run("update", "--memory", "32m", "nobody")
                #expect(unknown.status == 1 && unknown.errors.contains("does not exist"), "\(unknown)")
            }
        }
    }

    /// Where the v1 cgroups of a process are.
    struct Groups {
        private var paths: [String: String] = [:]

        init(of pid: pid_t) throws(Failure) {
            for line in (Files.text(of: "/proc/\(pid)/cgroup") ?? "").split(separator: "\n") {
                let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
                guard parts.count == 3 else { continue }
                for controller in parts[1].split(separator: ",") { paths[String(controller)] = String(parts[2]) }
            }
            if paths.isEmpty { throw Failure("process \(pid) is in no cgroup") }
        }

        func folder(_ controller: String) -> String { "/sys/fs/cgroup/\(controller)\(paths[controller] ?? "")" }

        func value(_ controller: String, _ file: String) -> String? {
            Files.text(of: "\(folder(controller))/\(file)").map { String($0.prefix { $0 != "\n" }) }
        }
    }
}
