import Glibc
import Testing

extension Integration {
    /// What is not supported stops the checkpoint before anything is lost, and the message says what and where.
    @Suite(.serialized)
    struct Refusals {
        @Test("runs and says PASS", .timeLimit(.minutes(1)), arguments: Workload.unsupported)
        func uninterrupted(name: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: name)
                try container.run()
                try container.waitUntilReady()
                try container.expectPass("first question")
                try container.expectPass("second question")
            }
        }

        @Test(
            "is refused by name, and the program goes on", .enabled(if: Runtime.canCheckpoint),
            .timeLimit(.minutes(1)), arguments: Workload.unsupported)
        func refused(name: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: name)
                let names = try #require(Workload.remark("refused", in: name)?.split(separator: " ")).filter {
                    $0 != "or"
                }
                try container.run()
                let notes = try container.waitUntilReady().split(separator: "\n")
                let kinds = ["descriptor ", "task ", "queue "]
                let place = try #require(notes.first { note in kinds.contains { note.hasPrefix($0) } })
                for leaveRunning in [true, false] {
                    let outcome = try container.checkpointCommand(to: "image", leaveRunning: leaveRunning).run()
                    #expect(outcome.status == 1, "\(outcome)")
                    let complaint = outcome.errors.lowercased()
                    #expect(names.contains { complaint.contains($0) }, "\(names): \(outcome)")
                    let places = [String(place), "mapping 0x"]  // a ring is mapped, too
                    #expect(places.contains { complaint.contains($0) }, "\(outcome)")
                    #expect(!complaint.contains("\n"), "one line: \(outcome)")
                    #expect(!Files.exists(container.imageFolder("image") + "/inventory.img"), "it looks like an image")
                    let log = Files.text(of: container.bundle.folder + "/dump.log") ?? ""
                    #expect(log.contains(" MemoryMapping") || !place.hasPrefix("descriptor "), "\(log)")
                    #expect(try container.status() == "running")
                    try container.expectPass("after a refused checkpoint")
                }
            }
        }
    }
}
