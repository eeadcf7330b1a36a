import Testing

extension Integration {
    /// What a restored program draws is nobody else's.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct RandomNumbers {
        /// With forky's library also the program's getrandom(3) draws in the vdso.
        @Test(
            "two restores of one image draw different ones", .timeLimit(.minutes(1)),
            arguments: Workload.Library.allCases)
        func differ(library: Workload.Library) throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: "droppable_memory", on: library)
                try container.run()
                guard try container.waitUntilReady().contains("generator yes") else {
                    try Test.cancel("this kernel's vdso draws no random numbers")
                }
                try container.expectPass("before the checkpoint")
                try container.checkpoint(to: "image")
                for _ in 1...2 {
                    try container.restore(from: "image")
                    try container.expectPass("after the restore")
                    try container.delete()
                }
                let drawn = try #require(Files.text(of: container.stateInRootfs + "/drawn"))
                let numbers = drawn.split(separator: "\n").flatMap { $0.split(separator: " ").dropFirst() }
                #expect(numbers.count == 8 && Set(numbers).count == 8, "\(drawn)")
            }
        }
    }
}
