import Testing

extension Integration {
    /// What a program is about to read is no reason to refuse its checkpoint.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct Attempts {
        @Test("a checkpoint is tried until the program has read what waits", .timeLimit(.minutes(1)))
        func late() throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: "hostile/late_reader")
                try container.run()
                try container.waitUntilReady()
                var checkpoint = try container.checkpointCommand(to: "image1", leaveRunning: true).start()
                let log = container.bundle.folder + "/dump.log"
                defer { checkpoint.kill() }
                let isTried = until(seconds: 10) { Files.text(of: log)?.contains("attempt 2 of") == true }
                #expect(isTried, "\(Files.text(of: log) ?? "")")
                try container.expectPass("between two attempts")
                #expect(checkpoint.wait(seconds: 20) && checkpoint.status == 0, "\(checkpoint.outcome())")
                #expect(Files.exists(container.imageFolder("image1") + "/inventory.img"))

                try container.checkpoint(to: "image2")
                try container.restore(from: "image2")
                try container.expectPass("after the restore")
            }
        }

        @Test("it is refused in the end, and at once where the container is paused", .timeLimit(.minutes(1)))
        func refused() throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: "hostile/late_reader")
                try container.run()
                try container.waitUntilReady()
                let given = try container.checkpointCommand(to: "refused").run()
                #expect(given.status == 1 && given.errors.contains("; tried "), "\(given)")
                try bed.runtime.run("pause", container.id).succeeded()
                let refused = try container.checkpointCommand(to: "refused").run()
                #expect(refused.status == 1 && !refused.errors.contains("tried"), "\(refused)")
                try bed.runtime.run("resume", container.id).succeeded()
                try container.expectPass("after all")
            }
        }
    }
}
