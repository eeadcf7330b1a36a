import Glibc
import Testing

extension Integration {
    /// Runtimes that die in the middle of what they do, many at a time. Nothing may stay that `delete --force` does not
    /// take away, and nobody may see a container that was not completely made.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct KillStorm {
        /// To play a storm once more: `STORM_SEED=… swift test --filter KillStorm`.
        private struct Dice: RandomNumberGenerator {
            var state: UInt64

            /// SplitMix64.
            mutating func next() -> UInt64 {
                state &+= 0x9e37_79b9_7f4a_7c15
                var value = state
                value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
                value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
                return value ^ value >> 31
            }
        }

        private static func dice() -> Dice {
            let seed = getenv("STORM_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0..<1 << 32)
            print("STORM_SEED=\(seed)")
            return Dice(state: seed)
        }

        /// Starts all commands at once and kills each at a moment of its own within `duration` (some end before).
        private func storm(_ commands: [Command], within duration: Double, _ dice: inout Dice) throws {
            var running: [(command: RunningCommand, end: Double)] = []
            for command in commands {
                let moment = monotonicSeconds() + Double.random(in: 0..<duration, using: &dice)
                running.append((try command.start(), moment))
            }
            while !running.isEmpty {
                let now = monotonicSeconds()
                for index in running.indices.reversed() {
                    if !running[index].command.hasEnded(), running[index].end > now { continue }
                    running[index].command.kill()
                    _ = running[index].command.outcome()
                    running.remove(at: index)
                }
                usleep(200)
            }
        }

        private func listed(_ bed: TestBed) throws -> [(id: String, status: String)] {
            let list = try JSONValue(parsing: try bed.runtime.run("list", "--format", "json").succeeded().output)
            return list.elements.map { ($0["id"].string ?? "", $0["status"].string ?? "") }
        }

        /// Every container that is listed is whole, and no process lives that belongs to none of them.
        private func expectWhole(_ bed: TestBed, after phase: String) throws {
            let containers = try listed(bed)
            for container in containers {
                #expect(["created", "running", "stopped"].contains(container.status), "\(phase): \(container)")
                #expect(try bed.runtime.run("state", container.id).status == 0, "\(phase): \(container)")
            }
            let groups = containers.filter { $0.status != "stopped" }.map { "/\($0.id)\n" }
            let isAlone = until(seconds: 10) {
                bed.leakCheck.processes().allSatisfy { process in
                    let group = Files.text(of: "/proc/\(process)/cgroup") ?? ""
                    return groups.contains { group.contains($0) } || !LeakCheck.lives(process)
                }
            }
            try #require(isAlone, "\(phase) left \(bed.leakCheck.leaks())")
        }

        private func delete(_ ids: [String], _ bed: TestBed) throws {
            for id in ids {
                let outcome = try bed.runtime.run("delete", "--force", id)
                #expect(outcome.status == 0, "\(outcome)")
            }
        }

        @Test("a hundred containers, whose runtimes are killed at random", .timeLimit(.minutes(3)))
        func hundred() throws {
            var dice = Self.dice()
            try TestBed.use { bed in
                let survivor = try bed.container(.busybox, arguments: ["sleep", "1000"])
                let bundle = survivor.bundle.folder
                try survivor.run()
                let ids = (0..<100).map { "\(bed.token)-s\($0)" }
                let create = ids.map { bed.runtime.command(["create", "--bundle", bundle, $0]) }
                var window = 3.0
                var created: [String] = []
                // Where all were faster than their deaths, death comes earlier.
                repeat {
                    try delete(created, bed)
                    try storm(create, within: window, &dice)
                    try expectWhole(bed, after: "create")
                    created = try listed(bed).filter { $0.status == "created" }.map(\.id)
                    window /= 4
                } while created.count == create.count && window > 0.01
                #expect(created.count > 5 && created.count < 100, "\(created.count) came to be: the storm missed")
                try storm(created.map { bed.runtime.command(["start", $0]) }, within: 0.5, &dice)
                try expectWhole(bed, after: "start")
                for container in try listed(bed) where container.status == "created" {
                    try bed.runtime.run("start", container.id).succeeded()
                }

                let running = try listed(bed).filter { $0.status == "running" && $0.id != survivor.id }.map(\.id)
                try storm(running.map { bed.runtime.command(["exec", $0, "true"]) }, within: 1, &dice)
                try storm(running.map { bed.runtime.command(["pause", $0]) }, within: 0.3, &dice)
                for id in running { _ = try bed.runtime.run("resume", id) }
                try expectWhole(bed, after: "exec and pause")
                try storm(running.map { bed.runtime.command(["delete", "--force", $0]) }, within: 0.5, &dice)
                try expectWhole(bed, after: "delete")

                let detached = ids.map { bed.runtime.command(["run", "--detach", "--bundle", bundle, $0 + "r"]) }
                try storm(detached, within: 3, &dice)
                try expectWhole(bed, after: "run")
                try delete(ids + ids.map { $0 + "r" }, bed)
                #expect(try listed(bed).map(\.id) == [survivor.id])
                #expect(Files.names(in: "/proc/\(try survivor.pid())/fd") == ["0", "1", "2"])
                try survivor.exec("true").succeeded()
                try survivor.delete()
                try bed.expectNoLeaks()
            }
        }

        @Test("restores are killed at random", .timeLimit(.minutes(2)), arguments: ["counter", "process_tree"])
        func restores(workload: String) throws {
            var dice = Self.dice()
            try TestBed.use { bed in
                let container = try bed.container(workload: workload)
                try container.run()
                try container.waitUntilReady()
                try container.checkpoint(to: "image")
                let start = monotonicSeconds()
                try container.restore(from: "image")
                let duration = monotonicSeconds() - start
                try container.delete()
                for _ in 0..<20 {
                    try storm([container.restoreCommand(from: "image")], within: duration, &dice)
                    try expectWhole(bed, after: "restore")
                    try delete([container.id], bed)
                    try bed.expectNoLeaks()
                }
                try container.restore(from: "image")
                try container.expectPass("after all those")
            }
        }

        @Test("a first process that sleeps until it is restored ends with its engine", .timeLimit(.minutes(2)))
        func sleeper() throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: "counter")
                try container.run()
                try container.waitUntilReady()
                try container.checkpoint(to: "image")
                var met = 0
                for _ in 0..<20 {
                    var engine = try container.restoreCommand(from: "image").start()
                    // The moment between its readiness and its being traced is short: whoever looks for it must not rest.
                    var sleeper: pid_t?
                    while sleeper == nil, !engine.hasEnded() {
                        let children = Files.text(of: "/proc/\(engine.pid)/task/\(engine.pid)/children") ?? ""
                        sleeper = children.split(separator: " ").compactMap { pid_t($0) }.first {
                            Files.text(of: "/proc/\($0)/comm") == "stasis:restore\n"
                        }
                    }
                    engine.kill()
                    _ = engine.outcome()
                    if let sleeper {
                        met += 1
                        let hasEnded = until(seconds: 10) { !LeakCheck.lives(sleeper) }
                        try #require(hasEnded, "left \(bed.leakCheck.leaks())")
                    }
                    try delete([container.id], bed)
                }
                #expect(met > 0, "no engine had a sleeper when it was killed")
                try container.restore(from: "image")
                try container.expectPass("after all those")
            }
        }

        @Test("a create that hangs in a hook is deleted", .timeLimit(.minutes(1)))
        func hanging() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                let ready = container.bundle.folder + "/hook"
                try container.bundle.edit { config in
                    let script = "touch \(ready); exec sleep 1000"
                    config["hooks"]["createContainer"] = [["path": "/bin/sh", "args": ["sh", "-c", .string(script)]]]
                }
                var create = try bed.runtime.command(["create", "--bundle", container.bundle.folder, container.id])
                    .start()
                #expect(until(seconds: 10) { Files.exists(ready) })
                create.kill()
                _ = create.outcome()
                #expect(try listed(bed).isEmpty)
                // It waits ten seconds for the lock.
                try bed.runtime.run("delete", "--force", container.id, seconds: 30).succeeded()
                try bed.expectNoLeaks()
            }
        }

        /// Not so that a deletion finds it: nobody may ever come to delete what was never listed.
        @Test(
            "a process that is half made ends with its runtime", .timeLimit(.minutes(2)), arguments: ["create", "exec"])
        func abandoned(command: String) throws {
            var dice = Self.dice()
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                let words = ["create", "--bundle", container.bundle.folder, container.id]
                if command == "exec" { try container.run() }
                let runtime = bed.runtime.command(command == "exec" ? ["exec", container.id, "true"] : words)
                let start = monotonicSeconds()
                try runtime.run().succeeded()
                let duration = monotonicSeconds() - start
                var met = 0
                // The first run may have taken longer than all later ones, and most kills come too late then.
                for round in 0..<400 where round < 40 || met == 0 {
                    if command == "create" { try delete([container.id], bed) }
                    var running = try runtime.start()
                    usleep(UInt32(Double.random(in: 0..<duration * 1e6, using: &dice)))
                    let children = Files.text(of: "/proc/\(running.pid)/task/\(running.pid)/children") ?? ""
                    running.kill()
                    _ = running.outcome()
                    // One that is known by now is whole, and waits for its start.
                    if command == "create", try !listed(bed).isEmpty { continue }
                    let halfMade = children.split(separator: " ").compactMap { pid_t($0) }
                    met += halfMade.count
                    let haveEnded = until(seconds: 10) { !halfMade.contains(where: LeakCheck.lives) }
                    try #require(haveEnded, "left \(bed.leakCheck.leaks())")
                }
                #expect(met > 0, "no runtime had a process when it was killed")
                try container.delete()
                try delete([container.id], bed)
            }
        }

        @Test("create and delete of one id at the same time", .timeLimit(.minutes(1)))
        func contended() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                for round in 0..<15 {
                    let words = ["create", "--bundle", container.bundle.folder, container.id]
                    var create = try bed.runtime.command(words).start()
                    usleep(UInt32(round) * 2000)
                    let deleted = try bed.runtime.run("delete", "--force", container.id)
                    #expect(deleted.status == 0, "\(deleted)")
                    let hasEnded = create.wait(seconds: 20)
                    #expect(hasEnded)
                    let created = create.outcome()
                    #expect(created.status == 0 || created.isOneComplaint, "\(created)")
                    try delete([container.id], bed)
                    try bed.expectNoLeaks()
                }
            }
        }
    }
}
