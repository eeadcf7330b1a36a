import LinuxSystem
import Testing

@testable import Tracee

/// How a stub's programs end.
@Suite(.enabled(if: Victim.canBeBuilt)) struct StubTests {
    /// Makes a victim a stub that takes itself for `process`, and runs a program of one call in it.
    ///
    /// - Returns: what the call returned.
    private static func run(in victim: Victim, as process: pid_t) throws -> Int {
        let (base, code) = try kernelCode(in: victim.pid)
        let instruction = try #require((1..<code.count).first { code[$0 - 1] == 0x0f && code[$0] == 0x05 }) - 1
        let stub = try Stub.first(victim.pid, process: process)
        let protection = UInt64(PROT_READ | PROT_WRITE | PROT_EXEC)
        let mapped = try stub.call(
            Int(SYS_mmap), [0, 0x3000, protection, UInt64(MAP_PRIVATE | MAP_ANONYMOUS), UInt64.max, 0],
            at: base + instruction)
        try #require(mapped > 0)
        let area = RemoteAddress(UInt64(mapped))
        try TaskMemory(victim.pid).write(area, Agent.code)
        var program = Program(
            Program.Space(table: area + 0x1000, callLimit: 16, data: area + 0x2000, dataLimit: 0x1000))
        let call = program.call("getpid", Int(SYS_getpid))
        return try stub.run(program, agent: area).results[call]
    }

    @Test func aProgramEndsWithAStop() throws {
        let victim = try Victim(threaded: false)
        #expect(try Self.run(in: victim, as: victim.pid) == victim.pid)
    }

    /// SELinux denies it with EACCES. Here the kernel has no process of that number.
    @Test func aStubThatMayNotStopItselfSaysSo() throws {
        let victim = try Victim(threaded: false)
        let error = #expect(throws: TraceeError.self) { try Self.run(in: victim, as: 0) }
        guard case .refused(victim.pid, let call, errno: .invalidArgument) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(call.contains("process sigstop"))
    }
}
