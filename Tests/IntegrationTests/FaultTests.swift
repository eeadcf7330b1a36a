import Glibc
import Testing

extension Integration {
    /// A checkpoint that fails leaves the container as it was, and says in one line what is wrong.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct CheckpointFaults {
        /// - Parameter mayKeepPage: the memory of an engine that was killed may stay mapped in the program (a descriptor
        ///   may not).
        private func running(
            _ workload: String, in bed: TestBed, mayKeepPage: Bool = false
        ) throws(Failure) -> Container {
            let container = try bed.container(workload: workload)
            if mayKeepPage {
                try container.bundle.edit { config in
                    config["process"]["env"] = .array(config["process"]["env"].elements + ["LAYOUT=free"])
                }
            }
            try container.run()
            try container.waitUntilReady()
            return container
        }

        /// The checkpoint fails with one line that holds `words`, and the program inside does not notice.
        private func expectRefusal(_ container: Container, to image: String, words: String) throws {
            for leaveRunning in [true, false] {
                let outcome = try container.checkpointCommand(to: image, leaveRunning: leaveRunning).run()
                #expect(outcome.status == 1 && outcome.isOneComplaint, "\(outcome)")
                #expect(outcome.errors.lowercased().contains(words), "\(outcome)")
                #expect(try container.status() == "running")
                try container.expectPass("after the failed checkpoint")
            }
        }

        @Test("the image folder is full", .timeLimit(.minutes(1)))
        func full() throws {
            try TestBed.use { bed in
                let container = try running("memory", in: bed)
                try bed.withTmpfs(at: container.imageFolder("image"), options: "size=1m") {
                    try expectRefusal(container, to: "image", words: "no space left")
                    #expect(!Files.exists(container.imageFolder("image") + "/inventory.img"))
                }
                try container.checkpoint(to: "elsewhere")
                try container.restore(from: "elsewhere")
                try container.expectPass("after a checkpoint elsewhere")
            }
        }

        @Test("the image folder is read-only", .timeLimit(.minutes(1)))
        func readOnly() throws {
            try TestBed.use { bed in
                let container = try running("counter", in: bed)
                try bed.withTmpfs(at: container.imageFolder("image"), options: "ro") {
                    try expectRefusal(container, to: "image", words: "read-only")
                }
            }
        }

        @Test("a new checkpoint replaces the older one, and one that fails does not touch it", .timeLimit(.minutes(1)))
        func occupied() throws {
            try TestBed.use { bed in
                let container = try running("counter", in: bed)
                try container.checkpoint(to: "image", leaveRunning: true)
                let folder = container.imageFolder("image")
                func content() throws -> [[UInt8]] {
                    try Files.names(in: folder).map { try Files.bytes(of: folder + "/" + $0) }
                }
                let before = (names: Files.names(in: folder), content: try content())
                let refused = try running("unsupported/pty", in: bed)
                let attempt = ["checkpoint", "--image-path", folder, "--work-path", refused.bundle.folder, refused.id]
                let outcome = try bed.runtime.command(attempt).run()
                #expect(outcome.status == 1 && outcome.isOneComplaint, "\(outcome)")
                #expect(Files.names(in: folder) == before.names)
                #expect(try content() == before.content, "the older checkpoint was touched")
                try container.checkpoint(to: "image")
                #expect(Files.names(in: folder) == before.names)
                #expect(try content() != before.content)
                try container.restore(from: "image")
                try container.expectPass("after the restore from the newer checkpoint")
            }
        }

        @Test("the container dies during the dump", .timeLimit(.minutes(3)), arguments: ["memory", "process_tree"])
        func containerDies(workload: String) throws {
            try TestBed.use { bed in
                for round in 0..<10 {
                    let container = try running(workload, in: bed)
                    let pid = try container.pid()
                    var checkpoint = try container.checkpointCommand(to: "image").start()
                    usleep(UInt32(round) * 4000)
                    kill(pid, SIGKILL)
                    guard checkpoint.wait(seconds: 20) else {
                        checkpoint.kill()
                        throw Failure("round \(round): the checkpoint of a dead container hangs")
                    }
                    let outcome = checkpoint.outcome()
                    #expect(outcome.status == 0 || (outcome.status == 1 && outcome.isOneComplaint), "\(outcome)")
                    #expect(until(seconds: 5) { !LeakCheck.lives(pid) })
                    if outcome.status == 1 {
                        #expect(!Files.exists(container.imageFolder("image") + "/inventory.img"), "round \(round)")
                        let reasons = ["being checkpointed", "in stopped state"]
                        #expect(reasons.contains { outcome.errors.contains($0) }, "\(outcome)")
                    }
                    try bed.runtime.run("delete", "--force", container.id).succeeded()
                    try bed.expectNoLeaks()
                }
            }
        }

        @Test(
            "the checkpoint is killed: the container goes on", .timeLimit(.minutes(3)),
            arguments: ["counter", "memory", "threads", "process_tree"])
        func killed(workload: String) throws {
            try TestBed.use { bed in
                let container = try running(workload, in: bed, mayKeepPage: true)
                let start = monotonicSeconds()
                try container.checkpoint(to: "whole", leaveRunning: true)
                let duration = monotonicSeconds() - start
                let rounds = 20
                for round in 0..<rounds {
                    var checkpoint = try container.checkpointCommand(to: "image\(round)", leaveRunning: true).start()
                    // Random moments, spread over the whole of it.
                    let moment = (Double(round) + Double.random(in: 0..<1)) / Double(rounds)
                    usleep(UInt32(duration * moment * 1e6))
                    checkpoint.kill()
                    _ = checkpoint.outcome()
                    guard until(seconds: 10, { (try? container.status()) == "running" }) else {
                        throw Failure("killed after \(duration * moment) s: the container is not running")
                    }
                    try container.expectPass("killed after \(duration * moment) of \(duration) s")
                }
                try container.checkpoint(to: "last")
                try container.restore(from: "last")
                try container.expectPass("after a whole checkpoint")
            }
        }

        @Test(
            "the checkpoint that ends the container is killed: it lives, or its image is whole",
            .timeLimit(.minutes(3)))
        func killedWhileEnding() throws {
            try TestBed.use { bed in
                var container = try running("memory", in: bed, mayKeepPage: true)
                let start = monotonicSeconds()
                try container.checkpoint(to: "whole")
                let duration = monotonicSeconds() - start
                for round in 0..<10 {
                    container = try running("memory", in: bed, mayKeepPage: true)
                    let pid = try container.pid()
                    var checkpoint = try container.checkpointCommand(to: "image").start()
                    usleep(UInt32(duration * Double.random(in: 0..<1.1) * 1e6))
                    checkpoint.kill()
                    _ = checkpoint.outcome()
                    usleep(100_000)  // what a guardian sets right, it sets right at once
                    if LeakCheck.lives(pid) {
                        try container.expectPass("round \(round)")
                        try container.delete()
                    } else {
                        try bed.runtime.run("delete", "--force", container.id).succeeded()
                        try container.restore(from: "image")
                        try container.expectPass("round \(round), restored")
                        try container.delete()
                    }
                }
            }
        }
    }
}
