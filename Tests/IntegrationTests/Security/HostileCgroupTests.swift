import Glibc
import Testing

extension Integration {
    /// What a container that may write in its cgroup can make of it. It is deleted all the same.
    @Suite(.serialized, .enabled(if: Runtime.isStasis))
    struct HostileCgroups {
        @Test("cgroups in one another, deeper than a path is long", .timeLimit(.minutes(1)))
        func nested() throws {
            try TestBed.use { bed in
                let container = try bed.container(.workload("hostile/nested_cgroups"), arguments: [])
                // Of whatever layout, its own cgroup of the pids controller.
                let group = Files.exists("/sys/fs/cgroup/pids") ? "/sys/fs/cgroup/pids" : "/sys/fs/cgroup"
                try container.bundle.edit { config in
                    config["process"]["args"] = .strings(["/workload", group, "1500"])
                    config["linux"]["seccomp"] = .null
                }
                try container.bundle.removeMount("/sys/fs/cgroup")
                try container.bundle.addMount("/sys/fs/cgroup", type: "cgroup", source: "cgroup", [])
                try container.run()
                #expect(
                    try container.waitForFile("ready") { _ in Files.exists(container.stateInRootfs + "/ready") } == "")
                #expect(
                    try bed.runtime.run("ps", "--format", "json", container.id).output == "[\(try container.pid())]")
                try bed.runtime.run("kill", "--all", container.id, "0").succeeded()
                try bed.runtime.run("delete", "--force", container.id, seconds: 30).succeeded()
                try bed.expectNoLeaks()
            }
        }

        /// What the v1 freezer holds does not die, whatever it is killed by.
        @Test(
            "a container that freezes itself", .timeLimit(.minutes(1)),
            .enabled(if: Files.exists("/sys/fs/cgroup/freezer")))
        func frozen() throws {
            try TestBed.use { bed in
                let group = "/sys/fs/cgroup/freezer/inner"
                let freeze = "mkdir \(group) && echo $$ >\(group)/cgroup.procs && echo FROZEN >\(group)/freezer.state"
                let container = try bed.container(.busybox, arguments: ["sh", "-c", "\(freeze); sleep 1000"])
                try container.bundle.removeMount("/sys/fs/cgroup")
                try container.bundle.addMount("/sys/fs/cgroup", type: "cgroup", source: "cgroup", [])
                try container.bundle.edit { $0["linux"]["cgroupsPath"] = .string("/\(bed.token)") }
                try container.run()
                let state = "/sys/fs/cgroup/freezer/\(bed.token)/inner/freezer.state"
                #expect(until(seconds: 10) { Files.text(of: state) == "FROZEN\n" })
                try bed.runtime.run("delete", "--force", container.id, seconds: 30).succeeded()
                try bed.expectNoLeaks()
            }
        }

        /// Of a threaded cgroup the kernel does not list processes.
        @Test("a threaded cgroup", .timeLimit(.minutes(1)), .enabled(if: Files.exists("/sys/fs/cgroup/unified")))
        func threaded() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                let group = "/sys/fs/cgroup/unified/\(bed.token)"
                // Without a pid namespace the death of the first process does not end the others.
                try container.bundle.edit { config in
                    let namespaces = config["linux"]["namespaces"].elements.filter { $0["type"].string != "pid" }
                    config["linux"]["namespaces"] = .array(namespaces)
                    config["linux"]["cgroupsPath"] = .string("/\(bed.token)")
                }
                try container.run()
                try bed.runtime.run("exec", "--detach", container.id, "sleep", "1000").succeeded()
                // As the container's root can by a cgroup mount of its own.
                try Files.makeFolder(group + "/threaded")
                try Files.write("threaded", to: group + "/threaded/cgroup.type")
                try Files.write("\(try container.pid())", to: group + "/threaded/cgroup.procs")
                let list = try JSONValue(parsing: try bed.runtime.run("ps", "--format", "json", container.id).output)
                #expect(list.elements.count == 2, "\(list)")
                try bed.runtime.run("delete", "--force", container.id, seconds: 30).succeeded()
                try bed.expectNoLeaks()
            }
        }
    }
}
