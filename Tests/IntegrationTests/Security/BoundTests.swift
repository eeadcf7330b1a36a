import Glibc
import Testing

extension Integration {
    /// Neither a container nor an image decides how much memory and time the engine needs.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct Bounds {
        /// What the engine may have, whatever it meets.
        private static let mostMemory = 64 << 10

        private func crowd(
            _ kind: String, _ count: Int, in bed: TestBed, _ edit: (inout JSONValue) -> Void = { _ in }
        ) throws -> Container {
            let container = try bed.container(
                .workload("hostile/crowd"), arguments: ["/workload", kind, String(count)])
            try container.bundle.edit { config in
                let limit: JSONValue = ["type": "RLIMIT_NOFILE", "hard": 20_000, "soft": 20_000]
                config["process"]["rlimits"] = .array([limit])
                edit(&config)
            }
            try container.run()
            try container.waitUntilReady()
            return container
        }

        /// Runs a command of the engine's.
        ///
        /// - Returns: how it ended, how many KiB it had at most, and how many seconds a processor was at work for it.
        private func measured(
            _ command: Command, in bed: TestBed
        ) throws(Failure) -> (outcome: Outcome, peak: Int, seconds: Double) {
            var command = command
            let file = bed.folder + "/cost"
            command.words = [try Workload.compiled("hostile/cost"), file] + command.words
            command.output = nil
            let outcome = try command.run(seconds: 200)
            let numbers = (Files.text(of: file) ?? "").split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
            guard numbers.count == 2 else { throw Failure("nothing measured: \(outcome)") }
            return (outcome, numbers[0], Double(numbers[1]) / 1e6)
        }

        private func expectBounded(_ container: Container, in bed: TestBed) throws {
            let dump = try measured(container.checkpointCommand(to: "image"), in: bed)
            try dump.outcome.succeeded()
            #expect(dump.peak < Self.mostMemory, "checkpoint: \(dump.peak) KiB")
            let made = try measured(container.restoreCommand(from: "image"), in: bed)
            try made.outcome.succeeded()
            #expect(made.peak < Self.mostMemory, "restore: \(made.peak) KiB")
            try container.expectPass("after the restore")
        }

        /// A container that was checkpointed into a folder, whose files may be changed.
        private func checkpointed(in bed: TestBed) throws -> (container: Container, image: String) {
            let container = try crowd("eventfd", 1, in: bed)
            try container.checkpoint(to: "image")
            let image = container.imageFolder("image")
            try check(unlink(image + "/checksums.stasis"), "remove the checksums")
            return (container, image)
        }

        @Test("many messages in unix sockets, short or long", .timeLimit(.minutes(2)), arguments: ["queue", "bulk"])
        func messages(kind: String) throws {
            try TestBed.use { bed in try expectBounded(try crowd(kind, kind == "queue" ? 200 : 600, in: bed), in: bed) }
        }

        @Test(
            "directories deep in each other, beyond the longest path", .timeLimit(.minutes(2)), arguments: [300, 4500])
        func depth(count: Int) throws {
            try TestBed.use { bed in
                let container = try crowd("deep", count, in: bed) { config in
                    let mount: JSONValue = [
                        "destination": "/deep", "type": "tmpfs", "source": "tmpfs", "options": ["mode=0755"],
                    ]
                    config["mounts"] = .array(config["mounts"].elements + [mount])
                }
                try expectBounded(container, in: bed)
            }
        }

        @Test(
            "an image that is large and has nothing in it", .timeLimit(.minutes(2)),
            arguments: ["tmpfs-0.stasis", "seccomp.img", "options.stasis", "files.img", "sk-queues.img", "core-1.img"])
        func sparse(name: String) throws {
            try TestBed.use { bed in
                let (container, image) = try checkpointed(in: bed)
                for size in [200 << 20, 1 << 40] {
                    let file = try check(open("\(image)/\(name)", O_WRONLY | O_CREAT, 0o600), "open \(name)")
                    try check(ftruncate(file, size), "lengthen \(name)")
                    close(file)
                    let (outcome, peak, seconds) = try measured(container.restoreCommand(from: "image"), in: bed)
                    #expect(outcome.status == 1 && outcome.errors.contains(name), "\(outcome)")
                    #expect(peak < Self.mostMemory, "\(size) bytes: \(peak) KiB")
                    #expect(seconds < 5)
                    try bed.expectNoLeaks()
                }
            }
        }

        /// A few bytes each that become many in memory.
        private static let entries: [(name: String, magic: [UInt8], entry: [UInt8])] = [
            ("pstree.img", [0x30, 0x30, 0x27, 0x50], framed([8, 1, 16, 0, 24, 1, 32, 1, 40, 1])),
            ("fdinfo-N.img", [0x32, 0x37, 0x21, 0x56], framed([8, 1, 16, 0, 24, 6, 32, 3])),
            // An entry of empty mappings, one of small ones, one of messages in each other.
            ("mm-1.img", [0x20, 0x28, 0x49, 0x57], [0x72, 0]),
            ("mm-1.img", [0x20, 0x28, 0x49, 0x57], [0x72, 16] + (1...8).flatMap { [$0 << 3, 0] }),
            (
                "core-1.img", [0x47, 0x38, 0x05, 0x55],
                [0x1a, 100] + [UInt8](repeating: 0, count: 50).flatMap { _ in [0x52, 0] }
            ),
        ]

        private static func framed(_ entry: [UInt8]) -> [UInt8] { [UInt8(entry.count), 0, 0, 0] + entry }

        @Test("an image of very many small entries", .timeLimit(.minutes(2)), arguments: entries.indices)
        func smallEntries(index: Int) throws {
            try TestBed.use { bed in
                let (container, image) = try checkpointed(in: bed)
                let (pattern, magic, entry) = Self.entries[index]
                let names = Files.names(in: image)
                let prefix = String(pattern.prefix { $0 != "N" })
                let name = try #require(names.first { $0 == pattern || pattern.contains("N") && $0.hasPrefix(prefix) })
                var body = entry
                while body.count < 8 << 20 { body += body }
                var bytes = [0x19, 0x43, 0x56, 0x54] + magic
                if !(entry.count > 3 && entry[1...3] == [0, 0, 0]) {
                    bytes += withUnsafeBytes(of: UInt32(body.count).littleEndian) { Array($0) }
                }
                try Files.write(bytes + body, to: "\(image)/\(name)")
                let (outcome, peak, seconds) = try measured(container.restoreCommand(from: "image"), in: bed)
                #expect(outcome.status == 1 && outcome.errors.contains("\(name): "), "\(outcome)")
                #expect(outcome.errors.contains("more memory than a restore may have"), "\(outcome)")
                #expect(peak < Self.mostMemory, "\(peak) KiB")
                #expect(seconds < 10)
                try bed.expectNoLeaks()
            }
        }

        @Test("a kill that is interrupted reaches all, without a pid namespace too", .timeLimit(.minutes(1)))
        func interruptedKill() throws {
            try TestBed.use { bed in
                let container = try crowd("process", 20, in: bed) { config in
                    let namespaces = config["linux"]["namespaces"].elements
                    config["linux"]["namespaces"] = .array(namespaces.filter { $0["type"].string != "pid" })
                }
                #expect(bed.leakCheck.processes().count >= 21)
                var command = bed.runtime.command(["kill", "--all", container.id, "HUP"])
                command.words = [try Workload.compiled("hostile/at_call"), "3", "stop"] + command.words
                _ = try command.run()
                #expect(until(seconds: 10) { bed.leakCheck.processes().isEmpty })
            }
        }

        @Test(
            "the work for a container grows as it does", .timeLimit(.minutes(5)),
            arguments: [("eventfd", 16_000), ("socket", 4000), ("mapping", 2000), ("process", 400)])
        func time(kind: String, count: Int) throws {
            try TestBed.use { bed in
                var times: [Double] = []
                for part in [4, 1] {
                    let container = try crowd(kind, count / part, in: bed) { config in
                        config["linux"]["resources"]["pids"] = ["limit": 2000]
                    }
                    for command in [
                        container.checkpointCommand(to: "image"), container.restoreCommand(from: "image"),
                    ] {
                        let (outcome, _, seconds) = try measured(command, in: bed)
                        try outcome.succeeded()
                        times.append(seconds)
                    }
                    try container.expectPass("after the restore")
                    try container.delete()
                }
                // Four times as many: four times the time, and not sixteen times.
                #expect(times[2] < times[0] * 8, "checkpoints of \(kind)s: \(times)")
                #expect(times[3] < times[1] * 8, "restores of \(kind)s: \(times)")
            }
        }
    }
}
