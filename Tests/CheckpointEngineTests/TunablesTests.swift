import Testing

@testable import CheckpointEngine

/// `tunables.stasis`, which may come from anybody.
struct TunablesTests {
    @Test func travel() throws {
        var tunables = Tunables()
        tunables.cpus = "0,2-3"
        tunables.ioPriority = 3 << 13 | 7
        tunables.timerSlack = 1
        tunables.coreFilter = 0x7f
        tunables.locking = 6
        tunables.memoryPolicy = .init(mode: 2, nodes: SIMD16<UInt64>(repeating: 5))
        let line = try #require(tunables.line(of: 12))
        #expect(try Tunables.decode(line) == [12: tunables])
        #expect(Tunables().line(of: 12) == nil)
    }

    @Test(arguments: [
        "x cpus=0", "1 cpus", "1 cpus=", "1 cpus=3-1", "1 io=32768", "1 io=-1", "1 slack=0", "1 core=512", "1 lock=1",
        "1 memory=0:0", "1 memory=2:1,1", "1 nice=5", "1 io=1\n1 io=1",
    ])
    func damaged(text: String) {
        #expect(throws: CheckpointError.self) { try Tunables.decode(text) }
    }

    @Test func realTimeIOIsConfigured() throws {
        var tunables = Tunables()
        tunables.ioPriority = 1 << 13
        let limits = ProcessLimits.most
        var policy = RestorePolicy(
            capabilities: 0, noNewPrivileges: true, seccomp: nil, user: 0, groups: [], limits: limits)
        #expect(throws: CheckpointError.self) { try tunables.check(policy) }
        policy.givesRealTimeIO = true
        try tunables.check(policy)
        policy.givesRealTimeIO = false
        policy.capabilities = 1 << 23
        try tunables.check(policy)
    }
}
