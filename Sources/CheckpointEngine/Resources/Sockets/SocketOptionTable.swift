import CheckpointImages
import LinuxSystem

/// The options that are kept byte for byte, as getsockopt(2) gives them, where they differ from those of a fresh socket.
/// socket(7), tcp(7), udp(7), raw(7), ip(7), ipv6(7),
/// packet(7), netlink(7). What CRIU has fields for, ``SocketOptions`` and ``TCPSocket`` keep.
enum SocketOptionTable: Kind {
    final class DumpState: KindState {
        /// What sockets have that nobody has changed, by family, type and protocol.
        fileprivate var fresh: [SIMD3<CInt>: [Option: [UInt8]]] = [:]
    }

    struct Option: Hashable {
        let level: CInt
        let name: CInt
    }

    private static let general: [CInt: String] = [
        1: "SO_DEBUG", 29: "SO_TIMESTAMP", 34: "SO_PASSSEC", 35: "SO_TIMESTAMPNS", 37: "SO_TIMESTAMPING",
        40: "SO_RXQ_OVFL", 41: "SO_WIFI_STATUS", 42: "SO_PEEK_OFF", 43: "SO_NOFCS", 44: "SO_LOCK_FILTER",
        45: "SO_SELECT_ERR_QUEUE", 46: "SO_BUSY_POLL", 47: "SO_MAX_PACING_RATE", 49: "SO_INCOMING_CPU",
        60: "SO_ZEROCOPY", 61: "SO_TXTIME", 63: "SO_TIMESTAMP_NEW", 64: "SO_TIMESTAMPNS_NEW",
        65: "SO_TIMESTAMPING_NEW", 69: "SO_PREFER_BUSY_POLL", 73: "SO_RESERVE_MEM", 74: "SO_TXREHASH",
        75: "SO_RCVMARK", 76: "SO_PASSPIDFD", 82: "SO_RCVPRIORITY", 83: "SO_PASSRIGHTS",
    ]
    private static let tcp: [CInt: String] = [
        2: "TCP_MAXSEG", 3: "TCP_CORK", 7: "TCP_SYNCNT", 8: "TCP_LINGER2", 9: "TCP_DEFER_ACCEPT",
        10: "TCP_WINDOW_CLAMP", 12: "TCP_QUICKACK", 13: "TCP_CONGESTION", 16: "TCP_THIN_LINEAR_TIMEOUTS",
        18: "TCP_USER_TIMEOUT", 23: "TCP_FASTOPEN", 25: "TCP_NOTSENT_LOWAT", 27: "TCP_SAVE_SYN",
        30: "TCP_FASTOPEN_CONNECT", 33: "TCP_FASTOPEN_KEY", 34: "TCP_FASTOPEN_NO_COOKIE", 36: "TCP_INQ",
        37: "TCP_TX_DELAY", 44: "TCP_RTO_MAX_MS", 45: "TCP_RTO_MIN_US", 46: "TCP_DELACK_MAX_US",
    ]
    private static let udp: [CInt: String] = [
        1: "UDP_CORK", 10: "UDPLITE_SEND_CSCOV", 11: "UDPLITE_RECV_CSCOV", 101: "UDP_NO_CHECK6_TX",
        102: "UDP_NO_CHECK6_RX", 103: "UDP_SEGMENT", 104: "UDP_GRO",
    ]
    private static let netlink: [CInt: String] = [
        3: "NETLINK_PKTINFO", 4: "NETLINK_BROADCAST_ERROR", 5: "NETLINK_NO_ENOBUFS", 8: "NETLINK_LISTEN_ALL_NSID",
        10: "NETLINK_CAP_ACK", 11: "NETLINK_EXT_ACK", 12: "NETLINK_GET_STRICT_CHK",
    ]
    private static let ip: [CInt: String] = [
        1: "IP_TOS", 2: "IP_TTL", 3: "IP_HDRINCL", 4: "IP_OPTIONS", 5: "IP_ROUTER_ALERT", 6: "IP_RECVOPTS",
        7: "IP_RETOPTS", 8: "IP_PKTINFO",
        10: "IP_MTU_DISCOVER", 11: "IP_RECVERR", 12: "IP_RECVTTL", 13: "IP_RECVTOS", 15: "IP_FREEBIND",
        18: "IP_PASSSEC", 19: "IP_TRANSPARENT", 20: "IP_RECVORIGDSTADDR", 21: "IP_MINTTL", 22: "IP_NODEFRAG",
        23: "IP_CHECKSUM",
        24: "IP_BIND_ADDRESS_NO_PORT", 25: "IP_RECVFRAGSIZE", 26: "IP_RECVERR_RFC4884", 32: "IP_MULTICAST_IF",
        33: "IP_MULTICAST_TTL", 34: "IP_MULTICAST_LOOP", 49: "IP_MULTICAST_ALL", 50: "IP_UNICAST_IF",
        51: "IP_LOCAL_PORT_RANGE",
    ]
    private static let ipv6: [CInt: String] = [
        2: "IPV6_2292PKTINFO", 3: "IPV6_2292HOPOPTS", 4: "IPV6_2292DSTOPTS", 5: "IPV6_2292RTHDR",
        8: "IPV6_2292HOPLIMIT", 11: "IPV6_FLOWINFO", 16: "IPV6_UNICAST_HOPS", 17: "IPV6_MULTICAST_IF",
        18: "IPV6_MULTICAST_HOPS", 19: "IPV6_MULTICAST_LOOP", 23: "IPV6_MTU_DISCOVER", 25: "IPV6_RECVERR",
        29: "IPV6_MULTICAST_ALL", 31: "IPV6_RECVERR_RFC4884", 33: "IPV6_FLOWINFO_SEND", 49: "IPV6_RECVPKTINFO",
        51: "IPV6_RECVHOPLIMIT", 53: "IPV6_RECVHOPOPTS", 56: "IPV6_RECVRTHDR", 58: "IPV6_RECVDSTOPTS",
        60: "IPV6_RECVPATHMTU", 62: "IPV6_DONTFRAG", 66: "IPV6_RECVTCLASS", 67: "IPV6_TCLASS", 70: "IPV6_AUTOFLOWLABEL",
        72: "IPV6_ADDR_PREFERENCES", 73: "IPV6_MINHOPCOUNT", 74: "IPV6_RECVORIGDSTADDR", 75: "IPV6_TRANSPARENT",
        76: "IPV6_UNICAST_IF", 77: "IPV6_RECVFRAGSIZE", 78: "IPV6_FREEBIND",
    ]
    private static let raw: [CInt: String] = [1: "ICMP_FILTER", 7: "IPV6_CHECKSUM", 36: "IPV6_HDRINCL"]
    private static let packet: [CInt: String] = [
        19: "PACKET_TX_HAS_OFF", 20: "PACKET_QDISC_BYPASS", 23: "PACKET_IGNORE_OUTGOING", 24: "PACKET_VNET_HDR_SZ",
    ]
    private static let kept = [
        SOL_SOCKET: general, CInt(6): tcp, CInt(17): udp, CInt(255): raw, CInt(58): [1: "ICMPV6_FILTER"], CInt(0): ip,
        CInt(41): ipv6, CInt(263): packet, CInt(270): netlink,
    ]

    /// Those that are an interface's number, for which its name stands in an image; true where the network's order is used.
    private static let interfaces: [Option: Bool] = [
        Option(level: 0, name: 50): true, Option(level: 41, name: 17): false, Option(level: 41, name: 76): true,
    ]

    /// What can be read but not made again: it belongs to another state.
    private static let refused: [CInt: [CInt: String]] = [
        6: [19: "TCP_REPAIR", 31: "TCP_ULP", 41: "TCP_AO_INFO"],
        17: [100: "UDP_ENCAP"],
        41: [
            22: "IPV6_ROUTER_ALERT", 54: "IPV6_HOPOPTS", 55: "IPV6_RTHDRDSTOPTS", 57: "IPV6_RTHDR", 59: "IPV6_DSTOPTS",
        ],
    ]

    /// What the kernel sets by itself when two TCP sockets meet: the segment's size, whether it acknowledges at once, which
    /// CPU and interface, how far.
    private static let momentary: [CInt: Set<CInt>] = [SOL_SOCKET: [49], 6: [2, 12], 0: [33], 41: [17, 18]]

    /// The same of others that are connected.
    private static let momentaryOfDatagrams: [CInt: Set<CInt>] = [SOL_SOCKET: [49]]

    private static let longest = 64

    static func name(_ entry: SocketOptionEntry) -> String {
        kept[entry.level]?[entry.name] ?? "option \(entry.level)/\(entry.name)"
    }

    // MARK: Checkpoint

    /// Adds what differs, and fails if something does that cannot be kept.
    @discardableResult
    static func capture(
        _ file: borrowing OpenFile, id: UInt32, wasConnected: Bool = false, into dump: Dump
    ) throws -> [SocketOptionEntry] {
        let socket = file.descriptor.raw
        let kind = try SIMD3(
            SocketOptions.number(socket, SOL_SOCKET, SO_DOMAIN), SocketOptions.number(socket, SOL_SOCKET, SO_TYPE),
            SocketOptions.number(socket, SOL_SOCKET, SO_PROTOCOL))
        let fresh = try freshOptions(of: kind, in: dump)
        let momentary = kind[1] == CInt(SOCK_STREAM.rawValue) ? Self.momentary : momentaryOfDatagrams
        func changed(_ table: [CInt: [CInt: String]]) -> [SocketOptionEntry] {
            options(table, kind).compactMap { option in
                guard !wasConnected || momentary[option.level]?.contains(option.name) != true,
                    let value = value(socket, option), value != fresh[option]
                else { return nil }
                return SocketOptionEntry(file: id, level: option.level, name: option.name, value: value)
            }
        }
        if let other = changed(refused).first {
            throw CheckpointError(
                "\(file.link): a socket with \(refused[other.level]?[other.name] ?? "") set cannot be checkpointed yet")
        }
        let entries = try changed(kept).map { try named($0, in: dump) }
        for entry in entries { try dump.stream(raw: SocketOptionEntry.fileName).append(raw: entry.bytes) }
        return entries
    }

    /// Numbers of interfaces may be others at the restore.
    private static func named(_ entry: SocketOptionEntry, in dump: Dump) throws -> SocketOptionEntry {
        guard let isSwapped = interfaces[Option(level: entry.level, name: entry.name)],
            let number = entry.value.integer(UInt32.self, at: 0)
        else { return entry }
        var entry = entry
        let name = try inNamespace(.network, of: dump.first.hostPid) {
            try interfaceName(isSwapped ? number.byteSwapped : number)
        }
        entry.value = Array(name.utf8)
        return entry
    }

    /// - Parameter kind: family, type and protocol.
    private static func freshOptions(of kind: SIMD3<CInt>, in dump: Dump) throws -> [Option: [UInt8]] {
        if let known = dump[Self.self].fresh[kind] { return known }
        // Those of pings are not for everybody (ping_group_range), but are like UDP's.
        let isPing = kind[1] == CInt(SOCK_DGRAM.rawValue) && RawSocket.pings.contains(kind[2])
        let proto = isPing ? 17 : kind[2]
        let made = try inNamespace(.network, of: dump.first.hostPid) {
            OwnedDescriptor(
                CInt(try systemCall("socket", Int(SYS_socket), Int(kind[0]), Int(kind[1] | O_CLOEXEC), Int(proto))))
        }
        var fresh: [Option: [UInt8]] = [:]
        for table in [kept, refused] {
            for option in options(table, kind) { fresh[option] = value(made.raw, option) }
        }
        dump[Self.self].fresh[kind] = fresh
        return fresh
    }

    /// In an order in which they can be set: SO_TIMESTAMP_NEW after SO_TIMESTAMP, IPV6_TCLASS after IP_TOS.
    private static func options(_ table: [CInt: [CInt: String]], _ kind: SIMD3<CInt>) -> [Option] {
        levels(kind).flatMap { level in
            (table[level] ?? [:]).keys.sorted().map { Option(level: level, name: $0) }
        }
    }

    private static func levels(_ kind: SIMD3<CInt>) -> [CInt] {
        let family = kind[0]
        guard family == AF_INET || family == AF_INET6 else {
            return [SOL_SOCKET] + (family == NetlinkPort.family ? [270] : family == PacketSocket.family ? [263] : [])
        }
        let own: [CInt] =
            kind[1] == CInt(SOCK_RAW.rawValue) ? [255, 58] : [UDPSocket.protocols.contains(kind[2]) ? 17 : 6]
        return [SOL_SOCKET] + own + (family == AF_INET6 ? [0, 41] : [0])
    }

    /// `nil` for an option that this kernel or this kind of socket does not have.
    private static func value(_ socket: CInt, _ option: Option) -> [UInt8]? {
        try? SocketOptions.bytes(socket, option.level, option.name, limit: longest)
    }

    // MARK: Restore

    /// Those that are set at once.
    static func entries(of id: UInt32, in workshop: Workshop) throws -> [SocketOptionEntry] {
        let all = workshop.images.socketOptions[id] ?? []
        return try all.filter { kept[$0.level]?[$0.name] != nil && !SocketFilter.isLock($0) }.map { entry in
            guard let isSwapped = interfaces[Option(level: entry.level, name: entry.name)] else { return entry }
            var entry = entry
            let number = try workshop.inNetworkNamespace {
                try interfaceNumber(String(decoding: entry.value, as: UTF8.self))
            }
            entry.value = [UInt8](integers: [isSwapped ? number.byteSwapped : number])
            return entry
        }
    }

    /// With the rights of the task in whose hands the socket is descriptor 0.
    static func set(_ entries: [SocketOptionEntry], by opener: Opener) throws {
        if entries.isEmpty { return }
        _ = try opener.runAsEither { identity in
            try opener.run(as: identity, keeping: 1) { program in
                for entry in entries {
                    let place = program.place(entry.value)
                    let (level, name) = (UInt32(bitPattern: entry.level), UInt32(bitPattern: entry.name))
                    program.call(
                        "set \(Self.name(entry)) of a socket", Int(SYS_setsockopt),
                        [0, UInt64(level), UInt64(name), place.raw, UInt64(entry.value.count)])
                }
            }
        }
    }

    /// Fails if there is another one than a checkpoint writes.
    static func check(_ entries: [SocketOptionEntry], of file: FileEntry) throws {
        let family: CInt =
            file.hasUsk
            ? AF_UNIX
            : file.hasNlsk
                ? NetlinkPort.family
                : file.hasPsk ? PacketSocket.family : CInt(truncatingIfNeeded: file.isk.family)
        let (type, proto) = (CInt(truncatingIfNeeded: file.isk.type), CInt(truncatingIfNeeded: file.isk.proto))
        let levels = levels(SIMD3(family, type, proto))
        for entry in entries {
            if PeerCredentials.keeps(entry) || MessageSender.keeps(entry) || MessageOrigin.keeps(entry) { continue }
            if MulticastMembership.keeps(entry), file.hasIsk {
                _ = try MulticastMembership(entry)
                continue
            }
            if NetlinkPort.keepsType(entry), file.hasNlsk { continue }
            if WaitingConnection.keeps(entry), file.hasUsk { continue }
            if QueuedConnection.keeps(entry), file.hasIsk { continue }
            if DatagramOrigin.keeps(entry), file.hasIsk { continue }
            if PacketSocket.keepsName(entry), file.hasPsk { continue }
            guard kept[entry.level]?[entry.name] != nil, entry.value.count <= longest, levels.contains(entry.level)
            else { throw CheckpointError("option \(entry.level)/\(entry.name) is none that can be restored") }
        }
    }
}
