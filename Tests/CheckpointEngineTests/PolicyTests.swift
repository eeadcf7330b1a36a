import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages

/// An image is data from anywhere: what it demands beyond config.json is refused.
@Suite
struct PolicyTests {
    private static func policy(
        capabilities: UInt64 = 0, noNewPrivileges: Bool = true, user: UInt32 = 1000, groups: Set<UInt32> = [100]
    ) -> RestorePolicy {
        RestorePolicy(
            capabilities: capabilities, noNewPrivileges: noNewPrivileges, seccomp: nil, user: user, groups: groups,
            limits: .most)
    }

    /// What the policy says to the second process with these credentials in its last thread.
    private func check(_ policy: RestorePolicy, _ change: (inout CredsEntry) -> Void) throws -> String {
        let copy = try ImageCopy()
        for name in [1, 6, 7, 8, 9, 10].map({ "core-\($0).img" }) {
            try copy.edit(name, as: CoreEntry.self) { (core: inout CoreEntry) in
                var creds = core.threadCore.creds
                (creds.uid, creds.euid, creds.suid, creds.fsuid) = (1000, 1000, 1000, 1000)
                (creds.gid, creds.egid, creds.sgid, creds.fsgid) = (100, 100, 100, 100)
                creds.groups = []
                for set in [\CredsEntry.capInh, \.capPrm, \.capEff, \.capBnd, \.capAmb] {
                    creds[keyPath: set] = [0, 0]
                }
                if name == "core-10.img" { change(&creds) }
                core.threadCore.creds = creds
            }
        }
        try copy.edit("inventory.img", as: InventoryEntry.self) { $0.lsmtype = .apparmor }
        let images = try copy.images()
        let plan = try ProcessPlan.tree(from: images)
        return failure { for process in plan.all { try policy.check(process, images) } }
    }

    /// What is said of a process whose root directory is there.
    private func root(_ name: String, capabilities: UInt64) throws -> String {
        let copy = try ImageCopy()
        try copy.edit("files.img", as: FileEntry.self) { (files: inout [FileEntry]) in
            files.append(
                .with {
                    ($0.type, $0.id) = (.reg, 900)
                    $0.reg = .with { ($0.id, $0.flags, $0.pos, $0.fown, $0.name) = (900, 0, 0, .none, name) }
                })
        }
        try copy.edit("fs-1.img", as: FsEntry.self) { $0.rootID = 900 }
        let policy = RestorePolicy(
            capabilities: capabilities, noNewPrivileges: false, seccomp: nil, user: 0, groups: [], limits: .most)
        return failure {
            let images = try copy.images()
            try policy.check(ProcessPlan.tree(from: images), images)
        }
    }

    /// A thread in strict mode takes no filter, and config.json's binds every thread.
    @Test func strictModeOrFilters() throws {
        func plan(_ filter: SeccompPolicy?, hasOwn: Bool = false) throws -> String {
            let copy = try ImageCopy()
            try copy.edit("core-7.img", as: CoreEntry.self) { (core: inout CoreEntry) in
                core.threadCore.seccompMode = .strict
                core.threadCore.clearSeccompFilter()
                if hasOwn { core.threadCore.seccompFilter = 0 }
            }
            return copy.plan(
                [Seccomp.self],
                RestorePolicy(
                    capabilities: .max, noNewPrivileges: false, seccomp: filter, user: 0, groups: [], limits: .most))
        }
        #expect(try plan(nil) == "no error")
        #expect(
            try plan(SeccompPolicy(program: [6, 0, 0, 0, 0, 0, 0xff, 0x7f], flags: 0)).contains("strict seccomp mode"))
        #expect(try plan(nil, hasOwn: true).contains("strict seccomp mode"))
    }

    @Test func otherRootsWantTheRightToGoThere() throws {
        let sysChroot: UInt64 = 1 << 18
        #expect(try root("/state/root", capabilities: .max) == "no error")
        #expect(try root("/", capabilities: .max & ~sysChroot).contains("CAP_SYS_CHROOT") == false)
        #expect(try root("/state/root", capabilities: .max & ~sysChroot).contains("does not grant CAP_SYS_CHROOT"))
        for name in ["state", "", "/a\0b", "/" + String(repeating: "x", count: 5000)] {
            #expect(try root(name, capabilities: .max).contains("is not called by an absolute path"))
        }
    }

    @Test func whatTheConfigurationGivesPasses() throws {
        #expect(try check(Self.policy()) { _ in } == "no error")
        #expect(
            try check(Self.policy(capabilities: 0xa804_25fb)) {
                $0.capBnd = [0xa804_25fb, 0]
                $0.capPrm = [0x400, 0]
            } == "no error")
        #expect(try check(Self.policy(capabilities: 1 << 40)) { $0.capEff = [0, 1 << 8] } == "no error")
    }

    @Test(arguments: [\CredsEntry.capInh, \.capPrm, \.capEff, \.capBnd, \.capAmb])
    func moreCapabilitiesAreRefused(set: any WritableKeyPath<CredsEntry, [UInt32]> & Sendable) throws {
        let low = try check(Self.policy(capabilities: 0xff)) { $0[keyPath: set] = [0x1ff, 0] }
        #expect(low.contains("0x100, which config.json does not grant"))
        let high = try check(Self.policy(capabilities: 0xffff_ffff)) { $0[keyPath: set] = [0, 1] }
        #expect(high.contains("0x100000000, which config.json does not grant"))
    }

    @Test func othersIdsAreRefused() throws {
        for id in [\CredsEntry.uid, \.euid, \.suid, \.fsuid] {
            #expect(try check(Self.policy()) { $0[keyPath: id] = 0 }.contains("has user id 0, which config.json"))
        }
        for id in [\CredsEntry.gid, \.egid, \.sgid, \.fsgid] {
            #expect(try check(Self.policy()) { $0[keyPath: id] = 0 }.contains("has group id 0, which config.json"))
        }
        #expect(try check(Self.policy()) { $0.groups = [100, 4] }.contains("has group id 4, which config.json"))
        #expect(try check(Self.policy(groups: [100, 4])) { $0.groups = [100, 4] } == "no error")
    }

    /// CAP_SETUID is 7, CAP_SETGID is 6.
    @Test func whoMayChangeIdsMayHaveOthers() throws {
        #expect(try check(Self.policy(noNewPrivileges: false)) { $0.uid = 0 } == "no error")
        #expect(try check(Self.policy(capabilities: 1 << 7)) { $0.uid = 0 } == "no error")
        #expect(try check(Self.policy(capabilities: 1 << 7)) { $0.gid = 0 }.contains("group id 0"))
        #expect(try check(Self.policy(capabilities: 1 << 6)) { $0.gid = 0 } == "no error")
        #expect(try check(Self.policy(capabilities: 1 << 6)) { $0.uid = 0 }.contains("user id 0"))
    }

    @Test(
        "a thread keeps the profile that it had beneath the configured one, and gets no other",
        arguments: [
            ("box", "box", true), ("box", "", true), ("box", "box//hat", true), ("box", "box//&more", true),
            ("box", "more//&box", true), (nil, "any", true), ("unconfined", "any", true), ("box", "boxer", false),
            ("box", "more", false), ("box", "more//&boxer", false), ("box", "more//box", false),
            ("box", "box//\nchangeprofile unconfined", false),
            ("box", "box//" + String(repeating: "a", count: 4000), false),
        ] as [(String?, String, Bool)])
    func profiles(configured: String?, recorded: String, isTaken: Bool) throws {
        var policy = Self.policy()
        policy.profile = configured
        policy.hasAppArmor = true
        let said = try check(policy) { $0.lsmProfile = recorded }
        #expect((said == "no error") == isTaken, "\(said)")
        if !isTaken, recorded.utf8.count < 30, !recorded.contains("\n") {
            #expect(said.contains("profile \(recorded), which is not beneath config.json's box; --lsm-profile"))
        }
        policy.overridesProfile = true
        #expect(try check(policy) { $0.lsmProfile = recorded } == "no error")
        policy.overridesProfile = false
        policy.hasAppArmor = false
        let isSame = recorded.isEmpty || recorded == configured
        #expect((try check(policy) { $0.lsmProfile = recorded } == "no error") == isSame)
    }

    @Test func threadsWithoutCredentialsAreRefused() throws {
        let copy = try ImageCopy()
        try copy.edit("core-9.img", as: CoreEntry.self) { (core: inout CoreEntry) in core.threadCore.clearCreds() }
        #expect(failure { _ = try copy.tree() } == "core-9.img: no registers or no credentials in it")
    }
}
