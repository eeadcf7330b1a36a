import Testing

extension Integration {
    /// Each kernel object's program, before and after.
    @Suite(.serialized)
    struct Workloads {
        @Test("runs and says PASS twice", .timeLimit(.minutes(2)), arguments: Workload.supported)
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
            "survives two checkpoints", .enabled(if: Runtime.canCheckpoint), .timeLimit(.minutes(2)),
            arguments: Workload.supported, Workload.Library.allCases)
        func checkpointAndRestore(name: String, library: Workload.Library) throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: name, on: library)
                try container.run()
                try container.waitUntilReady()
                try container.expectPass("before the checkpoint")
                for cycle in 1...2 {
                    try container.checkpoint(to: "image\(cycle)")
                    let left = bed.leakCheck.leaks()
                    guard left.isEmpty else { throw Failure("the checkpoint left: \(left)") }
                    if Workload.remark("dormant", in: name) != nil { _ = until(seconds: 2) { false } }
                    try container.restore(from: "image\(cycle)")
                    try container.expectPass("after restore \(cycle)")
                }
            }
        }

        @Test(
            "survives a checkpoint while it is paused", .enabled(if: Runtime.canCheckpoint), .timeLimit(.minutes(1)),
            arguments: ["threads", "vfork"])
        func paused(name: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: name)
                try container.run()
                try container.waitUntilReady()
                try container.expectPass("before the checkpoint")
                try bed.runtime.run("pause", container.id).succeeded()
                try container.checkpointCommand(to: "first", leaveRunning: true).run().succeeded()
                #expect(try container.status() == "paused")
                try container.checkpoint(to: "image")
                try container.restore(from: "image")
                try container.expectPass("after the restore")
            }
        }

        @Test(
            "goes on after a checkpoint that leaves it running", .enabled(if: Runtime.canCheckpoint),
            .timeLimit(.minutes(2)), arguments: Workload.supported, Workload.Library.allCases)
        func leaveRunning(name: String, library: Workload.Library) throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: name, on: library)
                try container.run()
                try container.waitUntilReady()
                for cycle in 1...2 {
                    try container.checkpoint(to: "image\(cycle)", leaveRunning: true)
                    try container.expectPass("after checkpoint \(cycle)")
                }
            }
        }

        @Test(
            "is refused without the flags that it needs", .enabled(if: Runtime.canCheckpoint), .timeLimit(.minutes(1)),
            arguments: Workload.supported.filter { Workload.remark("checkpoint", in: $0) != nil })
        func withoutFlags(name: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: name)
                let flags = container.checkpointFlags
                container.checkpointFlags = []
                try container.run()
                try container.waitUntilReady()
                let outcome = try container.checkpointCommand(to: "image").run()
                #expect(outcome.status == 1 && flags.contains { outcome.errors.contains($0) }, "\(flags): \(outcome)")
                #expect(outcome.errors.contains("descriptor "), "\(outcome)")
                try container.expectPass("after a refused checkpoint")
            }
        }
    }
}
