import Glibc
import Testing

extension Integration {
    /// Programs that use signals, timers and the moment against whoever checkpoints or restores them.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct SignalStorms {
        /// A container without any right: of the engine's, every single one would be seen.
        private func container(_ workload: String, _ words: [String] = [], in bed: TestBed) throws -> Container {
            let container = try bed.container(workload: "hostile/" + workload)
            try container.bundle.edit { config in
                config["process"]["args"] = .strings(["/workload"] + words)
                config["process"]["user"] = ["uid": 1000, "gid": 1000]
                config["process"]["noNewPrivileges"] = true
                config["process"]["capabilities"] = .null
            }
            try container.run()
            try container.waitUntilReady()
            return container
        }

        /// Checkpoints without an end of the container; a frozen one would be found by its silence.
        private func checkpoint(_ container: Container, rounds: Int) throws {
            for round in 1...rounds {
                // Each begins at another moment of what the program does.
                usleep(UInt32(round * 37 % 13) * 700)
                let command = container.checkpointCommand(to: "running\(round)", leaveRunning: true)
                try command.run(seconds: 20).succeeded()
                try container.expectPass("after checkpoint \(round)")
            }
        }

        private func restoreOnce(_ container: Container) throws {
            try container.checkpoint(to: "image")
            try container.restore(from: "image")
            try container.expectPass("after the restore")
        }

        /// Arms every timer of the first process so that it sends SIGSTOP as soon as and as often as it can.
        private func armTimers(of container: Container) throws {
            let image = container.imageFolder("image")
            var command = Command("/usr/bin/python3", Workload.folder + "/hostile/arm_timers.py", image + "/core-1.img")
            command.environment += ["PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=\(Images.critModules)"]
            #expect(try command.run().succeeded().output == "16 timers")
            try check(unlink(image + "/checksums.stasis"), "remove the checksums")
        }

        @Test("a SIGSTOP from a timer of the image does not end what takes rights away", .timeLimit(.minutes(2)))
        func rights() throws {
            try TestBed.use { bed in
                let container = try container("stop_timer", in: bed)
                let before = TaskRights.ofThreads(of: try container.pid())
                #expect(before.count == 4 && before.allSatisfy { $0["CapEff"] == "0000000000000000" })
                try container.checkpoint(to: "image")
                try armTimers(of: container)
                for round in 1...5 {
                    try container.restore(from: "image")
                    let now = TaskRights.ofThreads(of: try container.pid())
                    #expect(now == before, "restore \(round)")
                    try container.delete()
                }
            }
        }

        @Test("a timer that sends SIGSTOP holds no checkpoint up", .timeLimit(.minutes(3)), arguments: ["1", "40"])
        func stopTimer(count: String) throws {
            try TestBed.use { bed in
                let container = try container("stop_timer", [count, "1000"], in: bed)
                let before = TaskRights.ofThreads(of: try container.pid())
                try checkpoint(container, rounds: 12)
                for round in 1...5 {
                    try restoreOnce(container)
                    let now = TaskRights.ofThreads(of: try container.pid())
                    #expect(now == before, "restore \(round)")
                }
            }
        }

        @Test("no filter is off while a program runs", .timeLimit(.minutes(2)))
        func filters() throws {
            try TestBed.use { bed in
                let container = try container("vfork_filtered", in: bed)
                try container.expectPass("before the checkpoint")
                try checkpoint(container, rounds: 10)
                try restoreOnce(container)
            }
        }

        @Test("a process of many threads that job control has stopped", .timeLimit(.minutes(1)))
        func stoppedThreads() throws {
            try TestBed.use { bed in
                let container = try container("stopped_threads", in: bed)
                try container.expectPass("before the checkpoint")
                try checkpoint(container, rounds: 5)
                for _ in 1...2 { try restoreOnce(container) }
            }
        }

        @Test("the last signal that came from the container's side counts", .timeLimit(.minutes(3)))
        func stopAndContinue() throws {
            try TestBed.use { bed in
                let container = try container("stop_and_continue", in: bed)
                try container.expectPass("before the checkpoint")
                try checkpoint(container, rounds: 25)
                for _ in 1...5 { try restoreOnce(container) }
            }
        }

        @Test("thousands of POSIX timers", .timeLimit(.minutes(1)))
        func manyTimers() throws {
            try TestBed.use { bed in
                let container = try container("many_timers", in: bed)
                try container.expectPass("before the checkpoint")
                try checkpoint(container, rounds: 1)
                try restoreOnce(container)
            }
        }

        @Test("a stop is asked for again where another trap took it", .timeLimit(.minutes(4)))
        func forkTree() throws {
            try TestBed.use { bed in
                let container = try container("fork_tree", in: bed)
                try container.expectPass("before the checkpoint")
                // The rare miss froze the container for ten seconds.
                for round in 1...25 {
                    let command = container.checkpointCommand(to: "running\(round)", leaveRunning: true)
                    try command.run(seconds: 8).succeeded()
                    try Command("rm", "-r", container.imageFolder("running\(round)")).run().succeeded()
                }
                try container.expectPass("after the checkpoints")
                try restoreOnce(container)
            }
        }
    }
}
