import LinuxSystem
import TestSupport
import Testing

@testable import Tracee

/// The agent in live processes. All of ptrace(2) must come from one thread, so these tests never suspend.
@Suite(.serialized, .enabled(if: geteuid() == 0, "needs root"), .enabled(if: Victim.canBeBuilt, "needs a C compiler"))
struct SessionTests {
    @Test(arguments: [false, true]) func nothingIsLeftBehind(threaded: Bool) throws {
        let victim = try Victim(threaded: threaded)
        for _ in 0..<5 {
            let threads = try seizeAll(victim.tasks)
            defer { for thread in threads { try? thread.detach() } }
            let before = try victim.picture()
            let states = try threads.map { try $0.ptrace.extendedState() }

            let session = try enter(threads, of: victim.pid)
            #expect(try victim.picture() != before, "the comparison must be able to fail")
            try runBatch(session, victim)
            try session.leave()

            #expect(try victim.picture() == before)
            for (thread, state) in zip(threads, states) {
                #expect(equal(try thread.ptrace.registers(), thread.registers))
                #expect(try thread.ptrace.signalMask() == thread.signalMask)
                #expect(try thread.ptrace.extendedState() == state)
            }
            for thread in threads { try thread.detach() }
            #expect(victim.goesOn(by: 3))
            #expect(victim.failure == 0)
        }
    }

    /// Every thread makes calls of its own, then all go on.
    @Test func eachThreadRunsAProgram() throws {
        let victim = try Victim(threaded: true)
        let tasks = try victim.tasks
        let threads = try seizeAll(tasks)
        let before = try victim.picture()
        let session = try enter(threads, of: victim.pid)
        try runBatch(session, victim)
        let questions = threads.indices.dropFirst().map { index in
            var program = Program(session.area.lane(index))
            return (task: program.call("gettid", Int(SYS_gettid)), program: program)
        }
        let results = try session.runBesides(questions.map(\.program))
        #expect(zip(questions, results).map { $1[$0.task] } == tasks.dropFirst().map { Int($0) })
        try session.leave()
        #expect(try victim.picture() == before)
        for thread in threads {
            #expect(equal(try thread.ptrace.registers(), thread.registers))
            try thread.detach()
        }
        #expect(victim.goesOn(by: 3))
        #expect(victim.failure == 0)
    }

    /// Story 2 and 4 of ``TracedThread``: a signal that comes during the session is there after it.
    @Test func aSignalThatComesMeanwhileIsDelivered() throws {
        let victim = try Victim(threaded: false)
        let threads = try seizeAll(victim.tasks)
        let session = try enter(threads, of: victim.pid)
        kill(victim.pid, SIGTERM)
        try runBatch(session, victim)
        try session.leave()
        for thread in threads { try thread.detach() }
        var status: CInt = 0
        waitpid(victim.pid, &status, 0)
        #expect(Stop(status: status) == .killed(signal: SIGTERM))
    }

    @Test func aTaskThatDiesIsGone() throws {
        let victim = try Victim(threaded: false)
        let threads = try seizeAll(victim.tasks)
        let session = try enter(threads, of: victim.pid)
        kill(victim.pid, SIGKILL)
        var program = Program(session.area.main)
        program.call("getpid", Int(SYS_getpid))
        #expect(throws: TraceeError.self) { try session.run(program) }
        #expect(throws: TraceeError.self) { try session.leave() }
    }

    /// getpid, getppid, and openat → fstat → close with the descriptor passed from call to call.
    private func runBatch(_ session: AgentSession, _ victim: Victim) throws {
        var program = Program(session.area.main)
        let pid = program.call("getpid", Int(SYS_getpid))
        let parent = program.call("getppid", Int(SYS_getppid))
        let path = program.place(path: "/proc/self/exe")
        let status = program.reserve(MemoryLayout<stat>.size)
        // A result lands in one place only, so the file is opened for each of its uses.
        let first = program.call("openat", Int(SYS_openat), [UInt64(bitPattern: Int64(AT_FDCWD)), path.raw, 0])
        let inquiry = program.call("fstat", Int(SYS_fstat), [0, status.raw])
        program.pass(first, to: inquiry, argument: 0)
        let second = program.call("openat", Int(SYS_openat), [UInt64(bitPattern: Int64(AT_FDCWD)), path.raw, 0])
        let closed = program.call("close", Int(SYS_close))
        program.pass(second, to: closed, argument: 0)
        let results = try session.run(program)
        try results.check()
        #expect(results[pid] == Int(victim.pid))
        #expect(results[parent] == Int(getpid()))
        #expect(results[second] > results[first])
        let found = try #require(results.value(status, as: stat.self))
        #expect(found.st_ino == (try LinuxSystem.status(at: AT_FDCWD, victim.scratch.path("victim"))).st_ino)

        var last = Program(session.area.main)
        last.call("close", Int(SYS_close), [UInt64(results[first])])
        try session.run(last).check()
    }

    private func equal(_ a: user_regs_struct, _ b: user_regs_struct) -> Bool {
        withUnsafeBytes(of: a) { a in withUnsafeBytes(of: b) { b in a.elementsEqual(b) } }
    }
}
