import Glibc
import Testing

extension Integration {
    /// A checkpoint that leaves the container running leaves it the memory that it had.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct MemoryCost {
        private static let size = 200 << 20

        /// What the container's memory cgroup counts.
        private func usage(of container: Container) throws -> Int {
            let told = try container.runtime.run("events", "--stats", container.id).succeeded().output
            return try #require(try JSONValue(parsing: told)["data"]["memory"]["usage"]["usage"].integer)
        }

        private func hugeMemory(of container: Container) throws -> Int {
            let text = Files.text(of: "/proc/\(try container.pid())/smaps_rollup") ?? ""
            let line = text.split(separator: "\n").first { $0.hasPrefix("AnonHugePages:") }
            return (line?.split(separator: " ").dropFirst().first).flatMap { Int($0) } ?? 0
        }

        private func expectSameCost(_ kind: String, resident: Bool = true) throws {
            try TestBed.use { bed in
                let container = try bed.container(.workload("cost/memory"), arguments: ["/workload", kind])
                // Six copies would not fit.
                try container.bundle.edit { $0["linux"]["resources"]["memory"]["limit"] = .integer(512 << 20) }
                try container.run()
                try container.waitUntilReady()
                let before = try usage(of: container)
                let hugeBefore = try hugeMemory(of: container)
                #expect(resident == (before > Self.size / 2), "\(before) bytes are in memory")
                try container.checkpoint(to: "image", leaveRunning: true)
                let after = try usage(of: container)
                print("memory of a container, \(kind): \(before >> 10) KiB, after a checkpoint \(after >> 10) KiB")
                #expect(abs(after - before) < Self.size / 100, "\(before) bytes before, \(after) after")
                #expect(try hugeMemory(of: container) == hugeBefore)
                if kind == "huge" { #expect(hugeBefore > Self.size / 2048) }
            }
        }

        @Test(
            "200 MiB, also shared by six processes", .timeLimit(.minutes(2)),
            arguments: ["private", "forked", "shared"])
        func ordinary(kind: String) throws { try expectSameCost(kind) }

        @Test(
            "200 MiB of huge pages", .timeLimit(.minutes(2)),
            .enabled(if: Files.text(of: "/sys/kernel/mm/transparent_hugepage/enabled")?.contains("[never]") == false))
        func huge() throws { try expectSameCost("huge") }

        /// The engine writes what it restores, and the container pays for it.
        @Test(
            "200 MiB come back, in pages of the same size", .timeLimit(.minutes(2)),
            arguments: ["private", "forked", "shared", "huge"])
        func restored(kind: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(.workload("cost/memory"), arguments: ["/workload", kind])
                try container.run()
                try container.waitUntilReady()
                let before = try usage(of: container)
                let hugeBefore = try hugeMemory(of: container)
                try container.checkpoint(to: "image")
                try container.restore(from: "image")
                let after = try usage(of: container)
                print("memory of a container, \(kind): \(before >> 10) KiB, after a restore \(after >> 10) KiB")
                #expect(abs(after - before) < Self.size / 50, "\(before) bytes before, \(after) after")
                #expect(try hugeMemory(of: container) == hugeBefore)
            }
        }

        @Test("200 MiB that were swapped out", .timeLimit(.minutes(2)))
        func swapped() throws {
            let file = "/var/tmp/stasis-test-swap-\(getpid())"
            defer { unlink(file) }
            // Less than half full: above that, the kernel gives up a page's place in the file when it comes in.
            try Command("fallocate", "-l", "1G", file).run().succeeded()
            try check(chmod(file, 0o600), "chmod")
            try Command("mkswap", file).run().succeeded()
            let swapping = try Command("swapon", file).run()
            guard swapping.status == 0 else { try Test.cancel("no swap can be had here: \(swapping)") }
            defer { _ = try? Command("swapoff", file).run() }
            try expectSameCost("swapped", resident: false)
        }
    }
}
