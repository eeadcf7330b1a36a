import Glibc
import Testing

extension Integration {
    /// `events`, where this machine has v1 hierarchies.
    @Suite(.serialized, .enabled(if: Files.exists("/sys/fs/cgroup/memory/memory.limit_in_bytes")))
    struct Events {
        @Test(
            "figures have the members that runc's have", .timeLimit(.minutes(1)),
            .enabled(if: Files.exists("/usr/sbin/runc")))
        func fields() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.bundle.edit { $0["linux"]["resources"]["memory"] = ["limit": 67_108_864] }
                try container.run()
                let ours = try JSONValue(parsing: bed.runtime.run("events", "--stats", container.id).succeeded().output)
                #expect(ours["type"] == "stats")
                #expect(ours["data"]["memory"]["usage"]["limit"] == 67_108_864)
                #expect(ours["data"]["pids"]["current"] == 1)

                let runc = Runtime(executable: "/usr/sbin/runc", stateFolder: bed.folder + "/runc")
                let other = Container(id: container.id + "-runc", bundle: container.bundle, runtime: runc)
                try other.run()
                defer { try? other.delete() }
                let theirs = try JSONValue(parsing: runc.run("events", "--stats", other.id).succeeded().output)
                // Left out when it is 0, which depends on the moment.
                let fickle = ["periods", "throttledPeriods", "throttledTime", "cache"]
                #expect(members(ours, without: fickle) == members(theirs, without: fickle))
            }
        }

        @Test("a kill for want of memory is told, and the container's end ends it", .timeLimit(.minutes(1)))
        func outOfMemory() throws {
            try TestBed.use { bed in
                let script = "while ! [ -e /state/go ]; do sleep 0.05; done; (tail /dev/zero); sleep 0.5"
                let container = try bed.container(.busybox, arguments: ["sh", "-c", script])
                try container.bundle.edit {
                    $0["linux"]["resources"]["memory"] = ["limit": 16_777_216, "swap": 16_777_216]
                }
                try container.run()
                var events = bed.runtime.command(["events", "--interval", "100ms", container.id])
                events.output = bed.folder + "/events"
                var running = try events.start()
                // It watches before its first figures.
                #expect(until(seconds: 20) { (Files.text(of: bed.folder + "/events") ?? "").contains("\n") })
                try Files.write("", to: container.stateInRootfs + "/go")
                let ended = running.wait(seconds: 30)
                if !ended { running.kill() }
                #expect(ended)
                let lines = (Files.text(of: bed.folder + "/events") ?? "").split(separator: "\n")
                #expect(lines.contains("{\"type\":\"oom\",\"id\":\"\(container.id)\"}"), "\(lines)")
                #expect(lines.contains { $0.hasPrefix("{\"type\":\"stats\",\"id\":\"\(container.id)\",\"data\":{") })
                let over = try bed.runtime.run("events", "--stats", container.id)
                #expect(over.status == 1 && over.errors.contains("is not running"), "\(over)")
            }
        }

        /// Names of all members, each with its way from the root.
        private func members(_ value: JSONValue, at path: String = "", without: [String]) -> Set<String> {
            guard case .object(let object) = value else { return [] }
            return object.reduce(into: []) { found, member in
                if without.contains(member.key) { return }
                found.insert("\(path)/\(member.key)")
                found.formUnion(members(member.value, at: "\(path)/\(member.key)", without: without))
            }
        }
    }
}
