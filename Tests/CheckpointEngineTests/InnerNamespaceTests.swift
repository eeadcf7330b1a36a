import CheckpointImages
import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine

/// Namespaces of single processes in an image: only of kinds and with contents that a process could have had by what
/// config.json gives, and none but those which the images themselves have.
@Suite
struct InnerNamespaceTests {
    private static let administrator: UInt64 = 1 << UInt64(CAP_SYS_ADMIN)

    private static func policy(_ capabilities: UInt64 = administrator, seccomp: SeccompPolicy? = nil) -> RestorePolicy {
        RestorePolicy(
            capabilities: capabilities, noNewPrivileges: true, seccomp: seccomp, user: 1000, groups: [100],
            limits: .most)
    }

    /// What the plan says to an image whose second process is in a namespace of its own, number 99.
    private func plan(
        _ kind: Namespaces = .uts, _ policy: RestorePolicy = policy(), names: (String, String)? = ("a", "b"),
        _ change: (ImageCopy, pid_t) throws -> Void = { _, _ in }
    ) throws -> String {
        let copy = try ImageCopy()
        let all = try copy.tree().all
        let process = try #require(all.dropFirst().first { !$0.isZombie }).pid
        try copy.edit("ids-\(process).img", as: TaskKobjIdsEntry.self) { $0[kind] = 99 }
        if let names {
            var image = ImageWriter(.utsns, 99)
            try image.append(UtsnsEntry.with { ($0.nodename, $0.domainname) = names })
            try copy.put(image.name, image.bytes)
        }
        try change(copy, process)
        return copy.plan([InnerNamespace.self, InnerMounts.self, NamespaceFile.self], policy)
    }

    @Test func whoMayHaveThem() throws {
        for kind in [Namespaces.uts, .ipc, .cgroup] {
            #expect(try plan(kind) == "no error")
            #expect(try plan(kind, Self.policy(~Self.administrator)).contains("does not grant CAP_SYS_ADMIN"))
        }
        for kind in [Namespaces.user, .pid] {
            #expect(try plan(kind).contains("cannot be restored"), "\(kind)")
        }
    }

    /// Mounts of the container's namespace, and of another one. A line is a whole one of mountinfo.
    private func mounts(
        outer: String? = outer, inner: String? = outer, _ policy: RestorePolicy = mounter,
        _ change: (ImageCopy, pid_t) throws -> Void = { _, _ in }
    ) throws -> String {
        try plan(.mount, policy) { copy, process in
            for (number, text) in [(try copy.images().inventory.rootIds.mntNsID, outer), (99, inner)] {
                guard let text else { continue }
                var image = ImageWriter(.mounts, number)
                for line in MountLine.all(in: text) {
                    var entry = line.entry(isOutside: false)
                    if number == 99, inner == Self.outer { entry.mntID += 100 }
                    if number == 99, inner == Self.outer, entry.parentMntID > 10 { entry.parentMntID += 100 }
                    try image.append(entry)
                }
                try copy.put(image.name, image.bytes)
            }
            try change(copy, process)
        }
    }

    private static let outer = "20 1 0:50 / / rw - overlay o rw\n21 20 0:51 / /tmp rw - tmpfs t rw\n"
    private static let inner = "120 1 0:50 / / rw - overlay o rw\n121 120 0:51 / /tmp rw - tmpfs t rw\n"
    private static var mounter: RestorePolicy {
        var policy = policy()
        policy.makesMounts = true
        return policy
    }

    @Test func mountsOfTheirOwn() throws {
        #expect(try mounts() == "no error")
        #expect(try mounts(outer: nil).contains("mountpoints-"))
        #expect(try mounts(inner: nil).contains("mountpoints-99.img"))
        let new = "122 120 0:60 / /new rw - tmpfs t rw\n"
        #expect(try mounts(inner: Self.inner + new).contains("tmpfs-mount-122.stasis is not there"))
        #expect(try mounts(inner: Self.inner + "122 120 0:60 / /new rw - ext4 /dev/sda rw\n").contains("ext4 at /new"))
        #expect(try mounts(inner: Self.inner + new, Self.policy()).contains("no mount namespace"))
        #expect(try mounts(inner: Self.inner + "21 120 0:51 / /new rw - tmpfs t rw\n").contains("of another namespace"))
        #expect(try mounts(inner: "120 1 0:61 / / rw - tmpfs t rw\n").contains("is not any more"), "pivot_root")
        let shared = try mounts { copy, process in
            let first = try copy.tree()
            let (id, directories) = (first.ids.fsID, first.directories)
            try copy.edit("ids-\(process).img", as: TaskKobjIdsEntry.self) { $0.fsID = id }
            try copy.edit("fs-\(process).img", as: FsEntry.self) { (entry: inout FsEntry) in entry = directories }
        }
        #expect(shared.contains("shares its directories"), "\(shared)")
    }

    /// setns(2) asks for CAP_SYS_CHROOT.
    @Test func whoJoinsAMountNamespace() throws {
        #expect(throws: CheckpointError.self) { try Self.policy().checkJoiningMounts() }
        #expect(throws: Never.self) { try Self.policy(1 << 18).checkJoiningMounts() }
    }

    @Test func whichMountNamespaceIsCopied() throws {
        let (outer, inner) = (MountLine.all(in: Self.outer), MountLine.all(in: Self.inner))
        let more = MountLine.all(in: "122 120 0:60 / /new rw - tmpfs t rw\n")
        let again = MountLine.all(
            in:
                "220 1 0:50 / / rw - overlay o rw\n221 220 0:51 / /tmp rw - tmpfs t rw\n222 220 0:60 / /new rw - tmpfs t rw\n"
        )
        let found = try MountChanges.nearest([outer, inner + more], now: again)
        #expect(found.index == 1 && found.changes.isEmpty)
        #expect(try MountChanges.nearest([outer, inner + more], now: inner).index == 0)
        // One file system is not made twice.
        let moved = MountLine.all(
            in:
                "220 1 0:50 / / rw - overlay o rw\n221 220 0:60 / /other rw - tmpfs t rw\n222 220 0:51 / /tmp rw - tmpfs t rw\n"
        )
        #expect(throws: CheckpointError.self) { try MountChanges.nearest([outer, inner + more], now: moved) }
    }

    @Test func filtersThatForbidThem() throws {
        /// struct sock_filter: a load of the word at `offset`; a jump if equal; a return
        func code(_ code: UInt16, _ yes: UInt8, _ no: UInt8, _ operand: UInt32) -> [UInt8] {
            [UInt8](integers: [code]) + [yes, no] + [UInt8](integers: [operand])
        }
        func filter(_ instructions: [[UInt8]]) -> SeccompPolicy {
            .init(program: instructions.flatMap { $0 }, flags: 0)
        }
        let (allow, refuse) = (code(6, 0, 0, 0x7fff_0000), code(6, 0, 0, 0x5_0001))
        #expect(try plan(.uts, Self.policy(seccomp: filter([refuse]))).contains("seccomp"))
        #expect(try plan(.uts, Self.policy(seccomp: filter([allow]))) == "no error")
        // Neither unshare nor clone with CLONE_NEWUTS; both with other flags.
        let masked = filter([
            code(0x20, 0, 0, 16), code(0x54, 0, 0, UInt32(CLONE_NEWUTS)), code(0x15, 0, 1, 0), allow, refuse,
        ])
        #expect(try plan(.uts, Self.policy(seccomp: masked)).contains("seccomp"))
        #expect(try plan(.ipc, Self.policy(seccomp: masked)) == "no error")
    }

    @Test func namesThatNoHostHas() throws {
        #expect(try plan(names: nil).contains("utsns-99.img"))
        for name in [String(repeating: "x", count: 65), "a\0b"] {
            #expect(try plan(names: (name, "")).contains("no host"))
            #expect(try plan(names: ("", name)).contains("no host"))
        }
    }

    @Test func clocksThatNobodySets() throws {
        func say(_ seconds: UInt64?, _ rest: UInt64 = 0, _ policy: RestorePolicy = Self.policy()) throws -> String {
            try plan(.time, policy) { copy, _ in
                var entry = try #require(try copy.images().clocks)
                if let seconds { (entry.monotonic.tvSec, entry.monotonic.tvNsec) = (seconds, rest) }
                var image = ImageWriter(.timens, 99)
                try image.append(entry)
                try copy.put(image.name, image.bytes)
            }
        }
        #expect(try say(nil) == "no error")
        #expect(try say(77).contains("CAP_SYS_TIME"))
        let setter = Self.policy(Self.administrator | 1 << UInt64(CAP_SYS_TIME))
        #expect(try say(77, 0, setter) == "no error")
        #expect(try say(1 << 32, 0, setter).contains("timens-99.img"))
        #expect(try say(77, 1_000_000_000, setter).contains("timens-99.img"))
        #expect(try plan(.time, setter).contains("timens-99.img"))
    }

    private func devices(_ copy: ImageCopy, _ devices: [NetDeviceEntry]) throws {
        var image = ImageWriter(.netdev, 99)
        for device in devices { try image.append(device) }
        try copy.put(image.name, image.bytes)
    }

    private func device(_ name: String = "lo", _ type: NdType = .loopback, flags: UInt32 = 8) -> NetDeviceEntry {
        .with { ($0.type, $0.ifindex, $0.mtu, $0.flags, $0.name) = (type, 1, 65_536, flags, name) }
    }

    @Test func networksWithMoreThanLo() throws {
        func say(_ found: [NetDeviceEntry], _ policy: RestorePolicy = Self.policy()) throws -> String {
            try plan(.network, policy) { copy, _ in try devices(copy, found) }
        }
        #expect(try say([device()]) == "no error")
        #expect(try say([device(flags: 9)]).contains("CAP_NET_ADMIN"))
        let administrator = Self.policy(Self.administrator | 1 << UInt64(CAP_NET_ADMIN))
        #expect(try say([device(flags: 9)], administrator) == "no error")
        for other in [device("eth0"), device("lo", .veth)] {
            #expect(try say([other], administrator).contains("more than `lo`"))
            #expect(try say([device(), other], administrator).contains("more than `lo`"))
        }
        #expect(try plan(.network).contains("netdev-99.img"))
    }

    /// By whom they would be made, where, and with what in them.
    @Test func socketsThatAreElsewhere() throws {
        func say(heldBy inner: Bool, _ socket: InetSkEntry) throws -> String {
            try plan(.network) { copy, process in
                try devices(copy, [device()])
                let holder = inner ? process : 1
                let ids: TaskKobjIdsEntry = try copy.images().directory.entry(.ids, holder)
                try copy.edit("fdinfo-\(ids.filesID).img", as: FdinfoEntry.self) { (entries: inout [FdinfoEntry]) in
                    entries.append(.with { ($0.id, $0.flags, $0.type, $0.fd) = (4000, 0, .inetsk, 900) })
                }
                try copy.edit("files.img", as: FileEntry.self) { (entries: inout [FileEntry]) in
                    entries.append(.with { ($0.type, $0.id, $0.isk) = (.inetsk, 4000, socket) })
                }
            }
        }
        func socket(_ network: UInt32, state: UInt32 = 10) -> InetSkEntry {
            .with {
                ($0.id, $0.ino, $0.family, $0.type, $0.proto, $0.state) = (4000, 1, 2, 1, 6, state)
                ($0.srcPort, $0.dstPort, $0.flags, $0.backlog, $0.srcAddr, $0.dstAddr) = (80, 0, 2, 1, [0], [0])
                ($0.fown, $0.nsID) = (.none, network)
                $0.opts = .with {
                    ($0.soSndbuf, $0.soRcvbuf) = (1 << 16, 1 << 16)
                    ($0.soSndTmoSec, $0.soSndTmoUsec, $0.soRcvTmoSec, $0.soRcvTmoUsec) = (0, 0, 0, 0)
                }
            }
        }
        #expect(try say(heldBy: true, socket(99)) == "no error")
        #expect(try say(heldBy: false, socket(0)) == "no error")
        #expect(try say(heldBy: true, socket(0)).contains("in another network namespace"))
        #expect(try say(heldBy: false, socket(99)).contains("in another network namespace"))
        #expect(try say(heldBy: true, socket(98)).contains("in another network namespace"))
        #expect(try say(heldBy: true, socket(99, state: 1)).contains("a connection in"))
    }

    @Test func parametersOfOthers() throws {
        func say(_ kind: Namespaces, _ line: String) throws -> String {
            try plan(kind) { copy, _ in try copy.put("sysctls-99.stasis", Array("\(line)\n".utf8)) }
        }
        #expect(try say(.ipc, "kernel/msgmax 5432") == "no error")
        for line in ["kernel/core_pattern |/x", "kernel/../vm/swappiness 1", "net/ipv4/ip_forward 1", "kernel/msgmax"] {
            #expect(try say(.ipc, line).contains("does not let"), "\(line)")
        }
        #expect(try say(.uts, "kernel/hostname x").contains("does not let"))
    }

    @Test func descriptors() throws {
        func say(_ kind: Namespaces, _ number: UInt32) throws -> String {
            try plan(.uts) { copy, _ in
                try copy.edit("files.img", as: FileEntry.self) { (entries: inout [FileEntry]) in
                    entries.append(
                        .with {
                            ($0.type, $0.id) = (.ns, 4000)
                            $0.nsf = .with { ($0.id, $0.nsID, $0.nsCflag, $0.flags) = (4000, number, kind.rawValue, 0) }
                        })
                }
            }
        }
        #expect(try say(.uts, 99) == "no error")
        for kind in [Namespaces.ipc, .network, .mount, .user] {
            #expect(try say(kind, 99).contains("in which no process is"), "\(kind)")
        }
        #expect(try say(.uts, 98).contains("in which no process is"))
        #expect(try say(Namespaces(rawValue: 1), 99).contains("not known"))
    }
}
