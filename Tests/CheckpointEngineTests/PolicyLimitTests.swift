import LinuxSystem
import Logging
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages

/// What an image counts beyond config.json and this machine is refused, unless config.json grants the capability for it.
@Suite
struct PolicyLimitTests {
    private static func policy(_ capability: UInt64? = nil) -> RestorePolicy {
        // The samples' own sets.
        let sample: UInt64 = .max & ~(1 << 8 | 1 << 12 | 1 << 13 | 1 << 17 | 1 << 21 | 1 << 23 | 1 << 24)
        return RestorePolicy(
            capabilities: sample | (capability.map { 1 << $0 } ?? 0), noNewPrivileges: false, seccomp: nil, user: 0,
            groups: [], limits: .most)
    }

    private func check(_ policy: RestorePolicy, _ copy: ImageCopy) throws -> String {
        let images = try copy.images()
        let first = try ProcessPlan.tree(from: images)
        return failure {
            for plan in first.all { try policy.checkLimits(of: plan) }
            try policy.checkFiles(images, of: first)
        }
    }

    /// An error with these words without the capability; none with it, unless that is of a user namespace.
    private func expect(
        _ words: String, unless capability: UInt64, onlyOutside: Bool = true, _ copy: ImageCopy,
        _ change: (inout RestorePolicy) -> Void = { _ in }
    ) throws {
        var policy = Self.policy()
        change(&policy)
        let said = try check(policy, copy)
        #expect(said.contains(words), "\(said)")
        policy.capabilities |= 1 << capability
        #expect(try check(policy, copy) == "no error")
        let extent = UserNamespace.Extent(inner: 0, outer: 1_000_000, count: 65_536)
        policy.userNamespace = UserNamespace(users: [extent], groups: [extent])
        #expect(try check(policy, copy).contains(words) == onlyOutside)
    }

    private func core(_ change: (inout CoreEntry) -> Void) throws -> ImageCopy {
        let copy = try ImageCopy()
        try copy.edit("core-6.img", as: CoreEntry.self, change)
        return copy
    }

    @Test func samplesPass() throws {
        #expect(try check(Self.policy(), ImageCopy()) == "no error")
    }

    @Test func memoryAtZero() throws {
        let copy = try ImageCopy()
        try copy.edit("mm-6.img", as: MmEntry.self) { (mm: inout MmEntry) in
            mm.vmas[0].start = 0
            mm.vmas[0].end = 4096
        }
        try expect("has memory at 0x0, below vm.mmap_min_addr (65536)", unless: 17, copy) {
            $0.limits.lowestAddress = 65_536
        }
    }

    @Test(arguments: Array(0..<16)) func hardLimits(resource: Int) throws {
        let copy = try core {
            $0.tc.rlimits.rlimits = (0..<16).map { index in
                .with {
                    $0.cur = 5
                    $0.max = index == resource ? 1001 : 1000
                }
            }
        }
        try copy.edit("core-1.img", as: CoreEntry.self) { $0.tc.rlimits.rlimits = [] }
        try expect("is 1001, but config.json gives 1000; raise it", unless: 24, copy) {
            $0.limits.hard = Array(repeating: 1000, count: 16)
        }
    }

    @Test func memoryPressure() throws {
        let copy = try core { $0.tc.oomScoreAdj = -1 }
        try expect("its oom_score_adj is -1, but config.json gives 0", unless: 24, copy) {
            $0.limits.memoryPressure = 0
        }
    }

    @Test func niceValues() throws {
        let copy = try core { $0.threadCore.schedNice = -5 }
        func limit(_ nice: Int32, _ hard: UInt64) -> (inout RestorePolicy) -> Void {
            { policy in
                policy.limits.nice = nice
                policy.limits.hard[13] = hard
            }
        }
        try expect("its nice value is -5, but config.json gives 0", unless: 23, copy, limit(0, 0))
        try expect("its nice value is -5, but config.json gives -4", unless: 23, copy, limit(0, 24))
        for (nice, hard) in [(-5, 0), (0, 25), (0, .max)] as [(Int32, UInt64)] {
            var policy = Self.policy()
            limit(nice, hard)(&policy)
            #expect(try check(policy, copy) == "no error")
        }
    }

    @Test(arguments: [1, 2, 0x4000_0001] as [UInt32]) func realTime(scheduling: UInt32) throws {
        let copy = try core {
            $0.threadCore.schedPolicy = scheduling
            $0.threadCore.schedPrio = 10
        }
        func limit(_ priority: UInt32, _ hard: UInt64) -> (inout RestorePolicy) -> Void {
            { policy in
                policy.limits.realTime = priority
                policy.limits.hard[14] = hard
            }
        }
        try expect("its real-time priority is 10, but config.json gives 9", unless: 23, copy, limit(9, 0))
        for (priority, hard) in [(10, 0), (0, 10)] as [(UInt32, UInt64)] {
            var policy = Self.policy()
            limit(priority, hard)(&policy)
            #expect(try check(policy, copy) == "no error")
        }
    }

    @Test func otherScheduling() throws {
        for policy in [4, 6, 7, 99] as [UInt32] {
            let copy = try core { $0.threadCore.schedPolicy = policy }
            #expect(try check(Self.policy(23), copy).contains("scheduling policy \(policy) cannot be restored"))
        }
    }

    @Test func secureBits() throws {
        try expect("has securebits 0x4", unless: 8, onlyOutside: false, core { $0.threadCore.creds.secbits = 0x4 })
        #expect(try check(Self.policy(), core { $0.threadCore.creds.secbits = 0x10 }) == "no error")
    }

    private func files(_ change: (inout FileEntry) -> Void) throws -> ImageCopy {
        let copy = try ImageCopy()
        try copy.edit("files.img", as: FileEntry.self) { (files: inout [FileEntry]) in
            guard let index = files.firstIndex(where: \.hasReg) else { return }
            change(&files[index])
        }
        return copy
    }

    @Test func signalOwners() throws {
        func owned(_ pid: UInt32, _ kind: UInt32, user: UInt32 = 0) throws -> ImageCopy {
            try files {
                $0.reg.fown = .with {
                    $0.uid = user
                    $0.euid = user
                    $0.signum = 0
                    $0.pidType = kind
                    $0.pid = pid
                }
            }
        }
        let stranger = "which is none of the checkpoint's processes"
        for kind in [0, 1, 2] as [UInt32] { #expect(try check(Self.policy(), owned(4242, kind)).contains(stranger)) }
        #expect(try check(Self.policy(), owned(1, 3)).contains(stranger))
        // Threads of process 6.
        #expect(try check(Self.policy(), owned(7, 1)).contains(stranger))
        #expect(try check(Self.policy(), owned(7, 0)) == "no error")
        #expect(try check(Self.policy(), owned(6, 1)) == "no error")
        #expect(try check(Self.policy(), owned(1, 2)) == "no error")
        var policy = Self.policy()
        policy.noNewPrivileges = true
        policy.capabilities &= ~(1 << 7)
        policy.user = 1000
        #expect(try check(policy, owned(6, 1)).contains("its signals are those of user id 0"))
        #expect(try check(policy, owned(6, 1, user: 1000)) == "no error")
    }

    private static func unixSocket(
        _ id: UInt32, state: UInt32 = 7, name: String = "", _ change: (inout SkOptsEntry) -> Void = { _ in }
    ) -> FileEntry {
        .with {
            $0.type = .unixsk
            $0.id = id
            $0.usk = .with {
                $0.id = id
                $0.ino = id
                $0.type = 1
                $0.state = state
                $0.flags = 0
                $0.uflags = 0
                $0.backlog = 0
                $0.peer = 0
                $0.fown = .none
                $0.name = .init(Array(name.utf8))
                $0.opts.soSndbuf = 0
                $0.opts.soRcvbuf = 0
                $0.opts.soSndTmoSec = 0
                $0.opts.soSndTmoUsec = 0
                $0.opts.soRcvTmoSec = 0
                $0.opts.soRcvTmoUsec = 0
                change(&$0.opts)
            }
        }
    }

    private func socket(_ change: (inout SkOptsEntry) -> Void) throws -> ImageCopy {
        try files { $0 = Self.unixSocket($0.id, change) }
    }

    @Test func socketOptions() throws {
        try expect("a socket with mark 5", unless: 12, onlyOutside: false, socket { $0.soMark = 5 })
        try expect("and priority 7", unless: 13, onlyOutside: false, socket { $0.soPriority = 7 })
        #expect(try check(Self.policy(), socket { $0.soPriority = 6 }) == "no error")
        let small = { (policy: inout RestorePolicy) in
            policy.limits.sendBuffer = 1000
            policy.limits.receiveBuffer = 2000
        }
        try expect("buffers of 1001 and 0", unless: 12, onlyOutside: false, socket { $0.soSndbuf = 1001 }, small)
        try expect("buffers of 0 and 2001", unless: 12, onlyOutside: false, socket { $0.soRcvbuf = 2001 }, small)
    }

    @Test func pipes() throws {
        let copy = try ImageCopy()
        let images = try copy.images()
        try #require(!images.pipeData.isEmpty)
        func sized(_ size: UInt32) throws -> ImageCopy {
            let copy = try ImageCopy()
            // Magic numbers 8, length of the entry 4; the content follows each.
            var bytes = Array(try copy.bytes("pipes-data.img")[..<8])
            for id in [1, 2] as [UInt32] {
                let entry: [UInt8] = try PipeDataEntry.with {
                    $0.pipeID = id
                    $0.bytes = 0
                    $0.size = size
                }.serializedBytes()
                bytes += [UInt8(entry.count), 0, 0, 0] + entry
            }
            try copy.put("pipes-data.img", bytes)
            return copy
        }
        try expect("a pipe of 2097152 bytes, but fs.pipe-max-size gives 1048576", unless: 24, sized(2 << 20)) {
            $0.limits.pipe = 1 << 20
        }
        try expect("pipes of 2097152 bytes, but fs.pipe-user-pages-soft", unless: 21, sized(1 << 20)) {
            $0.limits.pipes = 1 << 20
        }
        var policy = Self.policy()
        policy.limits.pipes = 1000
        #expect(try check(policy, sized(65_536)) == "no error")
    }

    @Test func twoSocketsWithOneName() throws {
        func named(_ states: [UInt32], areUnlinked: Bool = false) throws -> String {
            let copy = try ImageCopy()
            try copy.edit("files.img", as: FileEntry.self) { (files: inout [FileEntry]) in
                for (index, state) in states.enumerated() {
                    files.append(Self.unixSocket(900 + UInt32(index), state: state, name: "/run/socket"))
                    if areUnlinked { files[files.count - 1].usk.deleted = true }
                }
            }
            return copy.plan([NamedUnixSocket.self], Self.policy())
        }
        #expect(try named([10, 1, 1]) == "no error")
        for second in [10, 7] as [UInt32] {
            #expect(try named([10, second]).contains("another one has the same name"))
        }
        #expect(try named([10, 7], areUnlinked: true) == "no error")
    }

    /// The machine's own, as far as they are known.
    @Test func inherited() throws {
        let limits = try ProcessLimits.inherited()
        #expect(limits.hard.count == 16 && limits.nice <= 0 && limits.memoryPressure <= 0)
        #expect(limits.pipe >= 65_536 && limits.sendBuffer >= 65_536 && limits.receiveBuffer >= 65_536)
    }
}
