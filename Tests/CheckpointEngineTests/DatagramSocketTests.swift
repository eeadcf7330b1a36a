import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages

/// What an image says of UDP, raw, packet and netlink sockets is looked over before anything is made.
@Suite struct DatagramSocketTests {
    private static let options = SkOptsEntry.with {
        ($0.soSndbuf, $0.soRcvbuf) = (1 << 16, 1 << 16)
        ($0.soSndTmoSec, $0.soSndTmoUsec, $0.soRcvTmoSec, $0.soRcvTmoUsec) = (0, 0, 0, 0)
    }

    /// The error of a plan with one more file.
    private func plan(_ file: FileEntry, _ entries: [SocketOptionEntry] = []) throws -> String {
        let copy = try ImageCopy()
        try copy.edit("files.img", as: FileEntry.self) { (files: inout [FileEntry]) in files.append(file) }
        if !entries.isEmpty { try copy.put(SocketOptionEntry.fileName, entries.flatMap(\.bytes)) }
        return failure { try Rehearsal(copy).run() }
    }

    private func udp(
        _ entries: [SocketOptionEntry] = [], _ change: (inout InetSkEntry) -> Void = { _ in }
    ) throws -> String {
        var socket = InetSkEntry.with {
            ($0.id, $0.ino, $0.family, $0.type, $0.proto, $0.state) = (900, 0xabc, 2, 2, 17, 1)
            ($0.srcPort, $0.dstPort, $0.flags, $0.backlog) = (80, 4000, 2, 0)
            ($0.srcAddr, $0.dstAddr, $0.fown, $0.opts) = ([1], [2], .none, Self.options)
        }
        change(&socket)
        return try plan(
            .with {
                ($0.type, $0.id) = (.inetsk, 900)
                $0.isk = socket
            }, entries)
    }

    @Test func udpSocketsOfImages() throws {
        #expect(try udp() == "no error")
        #expect(try udp { $0.proto = 136 } == "no error")
        #expect(try udp { $0.srcAddr = [] }.contains("an address of 0 words"))
        #expect(try udp { $0.dstAddr = [1, 2, 3, 4] }.contains("an address of 4 words"))
        #expect(try udp { $0.srcPort = 70_000 }.contains("port 70000"))
        // A stream; one that listens; one that is connected without a port.
        #expect(try udp { $0.type = 1 }.contains("type 1, state 1, from 1.0.0.0:80 to 2.0.0.0:4000 is none"))
        #expect(try udp { $0.state = 10 }.contains("state 10"))
        #expect(try udp { $0.srcPort = 0 }.contains("is none"))
    }

    @Test func groupsOfUDPSockets() throws {
        let member = MulticastMembership(
            level: 0, interface: "eth0", mode: 1, group: [224, 1, 1, 5], sources: [[1, 2, 3, 4], [5, 6, 7, 8]])
        let entry = member.entry(of: 900)
        #expect(try MulticastMembership(entry) == member)
        #expect(try udp([entry]) == "no error")
        func changed(_ change: (inout SocketOptionEntry) -> Void) throws -> String {
            var entry = entry
            change(&entry)
            return try udp([entry])
        }
        for count in 0..<entry.value.count where ![16, 20].contains(count) {
            let cut = try changed { $0.value = Array($0.value.prefix(count)) }
            #expect(cut.contains("a multicast group of \(count) bytes is none"))
        }
        #expect(try changed { $0.value[0] = 2 }.contains("is none"))
        #expect(try changed { $0.value[4] = 16 }.contains("is none"))
        #expect(try changed { $0.value[7] = 255 }.contains("is none"))
        #expect(try changed { $0.value += [UInt8](repeating: 0, count: 4 * 1023) }.contains("is none"))
        // Options of another protocol's, and of its own.
        let cork = SocketOptionEntry(file: 900, level: 17, name: 1, value: [1, 0, 0, 0])
        #expect(try udp([cork]) == "no error")
        for (level, name) in [(6, 10), (17, 100), (270, 3), (SOL_SOCKET, 3)] as [(CInt, CInt)] {
            let other = SocketOptionEntry(file: 900, level: level, name: name, value: [1, 0, 0, 0])
            #expect(try udp([other]).contains("option \(level)/\(name) is none that can be restored"))
        }
    }

    @Test func rawSocketsOfImages() throws {
        func raw(_ entries: [SocketOptionEntry] = [], _ change: (inout InetSkEntry) -> Void = { _ in }) throws -> String
        {
            try udp(entries) {
                ($0.type, $0.proto, $0.srcPort) = (3, 200, 200)
                change(&$0)
            }
        }
        #expect(try raw() == "no error")
        // The protocols of TCP, MPTCP and UDP are no other kinds'.
        #expect(try raw { $0.proto = 6 } == "no error")
        #expect(try raw { $0.proto = 17 } == "no error")
        #expect(try raw { $0.proto = 262 }.contains("a raw or ICMP socket of protocol 262"))
        #expect(try raw { $0.proto = 0 }.contains("is none"))
        #expect(try raw { $0.state = 10 }.contains("state 10"))
        #expect(try raw { $0.srcPort = 0 }.contains("is none"))
        #expect(try raw { ($0.srcPort, $0.state) = (0, 7) } == "no error")
        #expect(try raw { ($0.type, $0.proto) = (2, 1) } == "no error")
        let filter = SocketOptionEntry(file: 900, level: 255, name: 1, value: [1, 0, 0, 0])
        #expect(try raw([filter]) == "no error")
        #expect(try udp([filter]).contains("option 255/1 is none that can be restored"))
        let cork = SocketOptionEntry(file: 900, level: 17, name: 1, value: [1, 0, 0, 0])
        #expect(try raw([cork]) { $0.proto = 17 }.contains("option 17/1 is none that can be restored"))
    }

    private func packet(
        _ entries: [SocketOptionEntry] = [], _ change: (inout PacketSockEntry) -> Void = { _ in }
    ) throws -> String {
        var socket = PacketSockEntry.with {
            ($0.id, $0.type, $0.protocol, $0.flags, $0.ifindex, $0.fown) = (900, 3, 0x300, 2, 1, .none)
            ($0.opts, $0.version, $0.reserve, $0.auxData, $0.origDev) = (Self.options, 0, 0, false, false)
            ($0.vnetHdr, $0.loss, $0.timestamp, $0.copyThresh) = (false, false, 0, 0)
        }
        change(&socket)
        return try plan(
            .with {
                ($0.type, $0.id) = (.packetsk, 900)
                $0.psk = socket
            }, entries)
    }

    @Test func packetSocketsOfImages() throws {
        func member(_ size: Int) -> PacketMclist {
            .with { ($0.index, $0.type, $0.addr) = (1, 0, .init([UInt8](repeating: 1, count: size))) }
        }
        let ring = PacketRing.with {
            ($0.blockSize, $0.blockNr, $0.frameSize, $0.frameNr) = (4096, 1, 2048, 2)
            ($0.retireTmo, $0.sizeofPriv, $0.features) = (0, 0, 0)
        }
        #expect(try packet() == "no error")
        #expect(try packet { $0.mclist = [member(32)] } == "no error")
        #expect(try packet { $0.mclist = [member(33)] }.contains("with 1 memberships"))
        #expect(try packet { $0.mclist = Array(repeating: member(6), count: 1025) }.contains("with 1025 memberships"))
        #expect(try packet { $0.type = 10 }.contains("of type 10"))
        #expect(try packet { $0.protocol = 1 << 16 }.contains("cannot be restored"))
        #expect(try packet { $0.fanout = 5 << 16 } == "no error")
        #expect(try packet { $0.fanout = 6 << 16 }.contains("fanout \(6 << 16)"))
        #expect(try packet { $0.rxRing = ring }.contains("and a ring"))
        #expect(try packet { $0.txRing = ring }.contains("and a ring"))
        // What an interface is called; options of its own and of others.
        func option(_ level: CInt, _ name: CInt, _ size: Int = 4) -> SocketOptionEntry {
            SocketOptionEntry(file: 900, level: level, name: name, value: [UInt8](repeating: 65, count: size))
        }
        #expect(try packet([option(263, -1, 19), option(263, 20)]) == "no error")
        #expect(try packet([option(263, -1, 20)]).contains("option 263/-1 is none"))
        #expect(try packet([option(263, 5)]).contains("option 263/5 is none"))
        #expect(try udp([option(263, 20)]).contains("option 263/20 is none"))
    }

    /// The error of a plan with a UDP socket in which a datagram waits.
    private func waiting(
        _ count: Int = 5, _ origin: [UInt8] = InternetAddress.here, _ change: (inout InetSkEntry) -> Void = { _ in }
    ) throws -> String {
        let copy = try ImageCopy()
        var socket = InetSkEntry.with {
            ($0.id, $0.ino, $0.family, $0.type, $0.proto, $0.state) = (900, 0xabc, 2, 2, 17, 7)
            ($0.srcPort, $0.dstPort, $0.flags, $0.backlog) = (80, 0, 2, 0)
            ($0.srcAddr, $0.dstAddr, $0.fown, $0.opts) = ([1], [0], .none, Self.options)
        }
        change(&socket)
        try copy.edit("files.img", as: FileEntry.self) { (files: inout [FileEntry]) in
            files.append(
                .with {
                    ($0.type, $0.id) = (.inetsk, 900)
                    $0.isk = socket
                })
        }
        var image = ImageWriter(.socketQueues)
        try image.append(SkPacketEntry.with { ($0.idFor, $0.length) = (900, UInt32(count)) })
        try copy.put("sk-queues.img", image.bytes + [UInt8](repeating: 0, count: count))
        try copy.put(SocketOptionEntry.fileName, DatagramOrigin(index: 0, address: origin).entry(of: 900).bytes)
        return failure { try Rehearsal(copy).run() }
    }

    @Test func datagramsThatWait() throws {
        #expect(try waiting() == "no error")
        #expect(try waiting(0) == "no error")
        #expect(try waiting(65_508).contains("datagrams that no UDP socket can have"))
        #expect(try waiting(5, Array(InternetAddress.here.dropLast())).contains("a datagram's origin of 15 bytes"))
        #expect(try waiting { $0.srcPort = 0 }.contains("its port is not its own"))
        #expect(try waiting { $0.opts.reuseaddr = true }.contains("its port is not its own"))
        #expect(try waiting { $0.opts.soReuseport = true }.contains("its port is not its own"))
        #expect(try waiting { $0.opts.soBoundDev = "eth0" }.contains("its port is not its own"))
        #expect(try waiting { $0.proto = 136 }.contains("is no unix socket"))
    }

    /// Nobody but the socket itself may get what is sent in a sender's name.
    @Test func sendersOfDatagramsThatWait() throws {
        // struct sockaddr_in6
        let head: [UInt8] = [10, 0, 0x10, 0xe1, 0, 0, 0, 0]
        let interface: [UInt8] = [0, 0, 0, 0]
        func six(_ address: [UInt8]) -> [UInt8] { head + address + interface }
        func atSix(_ origin: [UInt8], _ address: [UInt32] = [0, 0, 0, 0], v6Only: Bool = false) throws -> String {
            try waiting(5, origin) {
                ($0.family, $0.srcAddr, $0.dstAddr, $0.v6Only) = (10, address, [0, 0, 0, 0], v6Only)
            }
        }
        let zeros = [UInt8](repeating: 0, count: 10)
        let own = six(zeros + [0, 0, 0, 0, 0, 1])
        let mapped = six(zeros + [255, 255, 127, 0, 0, 1])
        let loopback: [UInt32] = [0, 0, 0, UInt32(1).bigEndian]
        let mappedLoopback: [UInt32] = [0, 0, UInt32(0xffff).bigEndian, UInt32(0x7f00_0001).bigEndian]
        #expect(try atSix(own) == "no error")
        #expect(try atSix(mapped) == "no error")
        #expect(try atSix(own, loopback, v6Only: true) == "no error")
        #expect(try atSix(mapped, mappedLoopback) == "no error")
        let refusal = "does not reach a socket at"
        #expect(try waiting(5, own).contains(refusal))
        #expect(try waiting(5, mapped).contains(refusal))
        #expect(try atSix(InternetAddress.here).contains(refusal))
        #expect(try atSix(mapped, v6Only: true).contains(refusal))
        #expect(try atSix(mapped, loopback).contains(refusal))
        #expect(try atSix(own, mappedLoopback).contains(refusal))
        // No address, a group's, one whose interface nobody knows.
        let nobody = "nobody's address"
        #expect(try waiting(5, [2, 0, 0x10, 0xe1] + [UInt8](repeating: 0, count: 12)).contains(nobody))
        #expect(try waiting(5, [2, 0, 0x10, 0xe1, 224] + [UInt8](repeating: 1, count: 11)).contains(nobody))
        #expect(try atSix(six(zeros + [0, 0, 0, 0, 0, 0])).contains(nobody))
        #expect(try atSix(six(zeros + [255, 255, 0, 0, 0, 0])).contains(nobody))
        let linkLocal: [UInt8] = [0xfe, 0x80, 0, 0, 0, 0] + zeros
        #expect(try atSix(six(linkLocal)).contains("a link-local address"))
    }

    @Test func localAddresses() throws {
        #expect(try isLocalAddress([127, 0, 0, 1]))
        #expect(try isLocalAddress([127, 0, 0, 9], mark: 5))
        // A group; RFC 5737 has this one for nobody.
        #expect(try !isLocalAddress([224, 0, 0, 1]))
        #expect(try !isLocalAddress([192, 0, 2, 1]))
    }

    @Test func filtersOfAnyLength() throws {
        func filtered(_ count: Int) throws -> String {
            try udp { $0.opts.soFilter = [UInt64](repeating: 6, count: count) }
        }
        #expect(try filtered(4096) == "no error")
        #expect(try filtered(4097).contains("a filter of 4097 instructions is none"))
    }

    private func netlink(_ proto: UInt32, _ groups: [UInt32], _ change: (inout SkOptsEntry) -> Void = { _ in }) throws
        -> String
    {
        var options = Self.options
        change(&options)
        return try plan(
            .with {
                ($0.type, $0.id) = (.netlinksk, 900)
                $0.nlsk = .with {
                    ($0.id, $0.ino, $0.protocol, $0.state, $0.flags, $0.portid) = (900, 1, proto, 0, 2, 7)
                    ($0.groups, $0.dstPortid, $0.dstGroup, $0.fown, $0.opts) = (groups, 0, 0, .none, options)
                }
            })
    }

    @Test func netlinkSocketsOfImages() throws {
        #expect(try netlink(0, [0x11, 1]) == "no error")
        #expect(try netlink(16, [0, 0]) == "no error")
        #expect(try netlink(16, [0, 1]).contains("netlink's protocol 16 with 2 words of groups"))
        #expect(try netlink(12, []).contains("netlink's protocol 12"))
        #expect(try netlink(0, [UInt32](repeating: 1, count: 1025)).contains("1025 words"))
    }
}

extension InternetAddress {
    /// struct sockaddr_in
    fileprivate static let here: [UInt8] = [2, 0, 0x10, 0xe1, 127, 0, 0, 1] + [UInt8](repeating: 0, count: 8)
}
