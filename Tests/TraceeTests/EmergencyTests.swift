import LinuxSystem
import TestSupport
import Testing

@testable import Tracee

/// The engine dies by SIGKILL while its agent is in a process: the process goes on as if nothing had happened.
@Suite(.serialized, .enabled(if: geteuid() == 0, "needs root"), .enabled(if: Victim.canBeBuilt, "needs a C compiler"))
struct EmergencyTests {
    /// When the engine dies.
    enum Moment: Int, Codable, CaseIterable {
        case agentWaits, batchIsDone, batchRuns
    }

    @Test(arguments: Moment.allCases) func singleThread(moment: Moment) async throws {
        try await killTheEngine(threaded: false, at: moment)
    }

    @Test(arguments: Moment.allCases) func threads(moment: Moment) async throws {
        try await killTheEngine(threaded: true, at: moment)
    }

    private func killTheEngine(threaded: Bool, at moment: Moment) async throws {
        let victim = try Victim(threaded: threaded)
        let before = try victim.picture()
        let pid = victim.pid
        for round in 1...10 {
            let tasks = try victim.tasks
            let engine = await #expect(processExitsWith: .signal(SIGKILL)) {
                [pid = pid as Int32, tasks = tasks as [Int32], moment = moment as Moment] in
                let threads = try seizeAll(tasks)
                let session = try enter(threads, of: pid)
                var program = Program(session.area.main)
                program.call("getpid", Int(SYS_getpid))
                if moment == .batchRuns {
                    // Somebody else ends this process in the midst of a batch of ten milliseconds.
                    let engine = getpid()
                    let pause = program.place(value: SIMD2<UInt64>(0, 10_000_000))
                    program.call("nanosleep", Int(SYS_nanosleep), [pause.raw, 0])
                    _ = try Scratch.start(["/bin/sh", "-c", "sleep 0.005; kill -9 \(engine)"])
                }
                if moment != .agentWaits { try session.run(program).check() }
                if moment == .batchRuns { sleep(5) }
                kill(getpid(), SIGKILL)
            }
            guard engine != nil else { return }
            try #require(victim.goesOn(by: 5), "round \(round): \(victim.whereabouts)")
            #expect(victim.failure == 0, "round \(round)")
        }
        let after = try victim.picture()
        #expect(after.status == before.status)
        // With several threads nobody can tell whose number the agent's socket would be by then: it stays.
        if !threaded { #expect(after.descriptors == before.descriptors) }
    }
}
