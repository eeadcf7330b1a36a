import TestSupport
import Testing

@testable import CheckpointEngine

/// `tunables.stasis`, which may come from anybody.
struct TunablesTests {
    private static let nodes = Array(repeating: "1", count: 16).joined(separator: ",")

    @Test func travel() throws {
        var tunables = Tunables()
        tunables.cpus = "0,2-3"
        tunables.ioPriority = 3 << 13 | 7
        tunables.timerSlack = 1
        tunables.coreFilter = 0x7f
        tunables.locking = 6
        tunables.memoryPolicy = .init(mode: 2, nodes: SIMD16<UInt64>(repeating: 5))
        tunables.speculation = [0: 4, 2: 2]
        tunables.stampsFault = true
        tunables.faultPolicy = 0
        tunables.isMerged = true
        tunables.hugePages = 2
        tunables.deadline = DeadlineScheduling("1024:2048:4096:7")
        tunables.places = [.init(range: 0x1000..<0x3000, policy: .init(mode: 3, nodes: SIMD16<UInt64>(repeating: 1)))]
        #expect(tunables.words.count == 14)
        #expect(try Tunables.decode("12 \(tunables.words.joined(separator: " "))\n") == [12: tunables])
        #expect(Tunables().words.isEmpty)
    }

    @Test(arguments: [
        "x cpus=0", "1 cpus", "1 cpus=", "1 cpus=3-1", "1 io=32768", "1 io=-1", "1 slack=0", "1 core=512", "1 lock=1",
        "1 memory=0:0", "1 memory=2:1,1", "1 nice=5", "1 io=1\n1 io=1", "1 guess0=3", "1 guess3=4", "1 stamps=1",
        "1 deadline=1023:2048:4096:0", "1 deadline=4096:2048:4096:0", "1 deadline=1024:4097:4096:0",
        "1 deadline=1024:2048:9223372036854775808:0", "1 deadline=1024:2048:4096:8", "1 deadline=1024:2048:4096",
        "1 faults=2", "1 merge=2", "1 huge=1", "1 place=1000-3000", "1 place=3000-1000:2:\(nodes)",
        "1 place=1000-3001:2:\(nodes)", "1 place=0-8000000000000000:2:\(nodes)", "1 place=1000-3000:0:\(nodes)",
    ])
    func damaged(text: String) {
        #expect(throws: CheckpointError.self) { try Tunables.decode(text) }
    }

    @Test func deadlinesWantTheRight() throws {
        var tunables = Tunables()
        tunables.deadline = DeadlineScheduling("1024:2048:4096:0")
        for (capabilities, userNamespace, message) in [
            (1 << 23, .own, "no error"), (0, .own, "has deadline scheduling"),
            (1 << 23, nil, "has deadline scheduling"),
        ] as [(UInt64, UserNamespace?, String)] {
            let policy = RestorePolicy(
                capabilities: capabilities, noNewPrivileges: true, seccomp: nil, user: 0, groups: [], limits: .most,
                userNamespace: userNamespace)
            #expect(failure { try tunables.check(policy) }.hasPrefix(message))
        }
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
