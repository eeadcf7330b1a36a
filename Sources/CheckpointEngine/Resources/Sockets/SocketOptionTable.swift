import CheckpointImages
import LinuxSystem

/// The options that are kept byte for byte, as getsockopt(2) gives them, where they differ from those of a fresh socket.
/// socket(7), tcp(7), ip(7), ipv6(7). What CRIU has fields for, ``SocketOptions`` and ``InternetSocket`` keep.
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
    private static let ip: [CInt: String] = [
        1: "IP_TOS", 2: "IP_TTL", 4: "IP_OPTIONS", 6: "IP_RECVOPTS", 7: "IP_RETOPTS", 8: "IP_PKTINFO",
        10: "IP_MTU_DISCOVER", 11: "IP_RECVERR", 12: "IP_RECVTTL", 13: "IP_RECVTOS", 15: "IP_FREEBIND",
        18: "IP_PASSSEC", 19: "IP_TRANSPARENT", 20: "IP_RECVORIGDSTADDR", 21: "IP_MINTTL", 23: "IP_CHECKSUM",
        24: "IP_BIND_ADDRESS_NO_PORT", 25: "IP_RECVFRAGSIZE", 26: "IP_RECVERR_RFC4884", 34: "IP_MULTICAST_LOOP",
        49: "IP_MULTICAST_ALL", 51: "IP_LOCAL_PORT_RANGE",
    ]
    private static let ipv6: [CInt: String] = [
        2: "IPV6_2292PKTINFO", 3: "IPV6_2292HOPOPTS", 4: "IPV6_2292DSTOPTS", 5: "IPV6_2292RTHDR",
        8: "IPV6_2292HOPLIMIT", 11: "IPV6_FLOWINFO", 16: "IPV6_UNICAST_HOPS", 18: "IPV6_MULTICAST_HOPS",
        19: "IPV6_MULTICAST_LOOP", 23: "IPV6_MTU_DISCOVER", 25: "IPV6_RECVERR", 29: "IPV6_MULTICAST_ALL",
        31: "IPV6_RECVERR_RFC4884", 33: "IPV6_FLOWINFO_SEND", 49: "IPV6_RECVPKTINFO", 51: "IPV6_RECVHOPLIMIT",
        53: "IPV6_RECVHOPOPTS", 56: "IPV6_RECVRTHDR", 58: "IPV6_RECVDSTOPTS", 60: "IPV6_RECVPATHMTU",
        62: "IPV6_DONTFRAG", 66: "IPV6_RECVTCLASS", 67: "IPV6_TCLASS", 70: "IPV6_AUTOFLOWLABEL",
        72: "IPV6_ADDR_PREFERENCES", 73: "IPV6_MINHOPCOUNT", 74: "IPV6_RECVORIGDSTADDR", 75: "IPV6_TRANSPARENT",
        77: "IPV6_RECVFRAGSIZE", 78: "IPV6_FREEBIND",
    ]
    private static let kept = [SOL_SOCKET: general, CInt(6): tcp, CInt(0): ip, CInt(41): ipv6]

    /// What can be read but not made again: it belongs to another state, or names an interface by its number.
    private static let refused: [CInt: [CInt: String]] = [
        6: [19: "TCP_REPAIR", 31: "TCP_ULP", 41: "TCP_AO_INFO"],
        0: [32: "IP_MULTICAST_IF", 50: "IP_UNICAST_IF"],
        41: [
            17: "IPV6_MULTICAST_IF", 54: "IPV6_HOPOPTS", 55: "IPV6_RTHDRDSTOPTS", 57: "IPV6_RTHDR", 59: "IPV6_DSTOPTS",
            76: "IPV6_UNICAST_IF",
        ],
    ]

    private static let longest = 64

    static func name(_ entry: SocketOptionEntry) -> String {
        kept[entry.level]?[entry.name] ?? "option \(entry.level)/\(entry.name)"
    }

    // MARK: Checkpoint

    /// Adds what differs, and fails if something does that cannot be kept.
    @discardableResult
    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> [SocketOptionEntry] {
        let socket = file.descriptor.raw
        let family = try SocketOptions.number(socket, SOL_SOCKET, SO_DOMAIN)
        let fresh = try freshOptions(like: socket, family: family, in: dump)
        func changed(_ table: [CInt: [CInt: String]]) -> [SocketOptionEntry] {
            options(table, family).compactMap { option in
                guard let value = value(socket, option), value != fresh[option] else { return nil }
                return SocketOptionEntry(file: id, level: option.level, name: option.name, value: value)
            }
        }
        if let other = changed(refused).first {
            throw CheckpointError(
                "\(file.link): a socket with \(refused[other.level]?[other.name] ?? "") set cannot be checkpointed yet")
        }
        let entries = changed(kept)
        for entry in entries { try dump.stream(raw: SocketOptionEntry.fileName).append(raw: entry.bytes) }
        return entries
    }

    private static func freshOptions(like socket: CInt, family: CInt, in dump: Dump) throws -> [Option: [UInt8]] {
        let kind = SIMD3(
            family, try SocketOptions.number(socket, SOL_SOCKET, SO_TYPE),
            try SocketOptions.number(socket, SOL_SOCKET, SO_PROTOCOL))
        if let known = dump[Self.self].fresh[kind] { return known }
        let made = try inNamespace(.network, of: dump.first.hostPid) {
            OwnedDescriptor(
                CInt(try systemCall("socket", Int(SYS_socket), Int(kind[0]), Int(kind[1] | O_CLOEXEC), Int(kind[2]))))
        }
        var fresh: [Option: [UInt8]] = [:]
        for table in [kept, refused] {
            for option in options(table, family) { fresh[option] = value(made.raw, option) }
        }
        dump[Self.self].fresh[kind] = fresh
        return fresh
    }

    /// In an order in which they can be set: SO_TIMESTAMP_NEW after SO_TIMESTAMP, IPV6_TCLASS after IP_TOS.
    private static func options(_ table: [CInt: [CInt: String]], _ family: CInt) -> [Option] {
        var levels = [SOL_SOCKET]
        if family != AF_UNIX { levels += [6, 0] }
        if family == AF_INET6 { levels.append(41) }
        return levels.flatMap { level in (table[level] ?? [:]).keys.sorted().map { Option(level: level, name: $0) } }
    }

    /// `nil` for an option that this kernel or this kind of socket does not have.
    private static func value(_ socket: CInt, _ option: Option) -> [UInt8]? {
        try? SocketOptions.bytes(socket, option.level, option.name, limit: longest)
    }

    // MARK: Restore

    /// Those that are set as they are.
    static func entries(_ all: [SocketOptionEntry]) -> [SocketOptionEntry] {
        all.filter { kept[$0.level]?[$0.name] != nil }
    }

    /// Fails if there is another one than a checkpoint writes.
    static func check(_ entries: [SocketOptionEntry], isUnix: Bool) throws {
        for entry in entries where !PeerCredentials.keeps(entry) && !MessageSender.keeps(entry) {
            guard kept[entry.level]?[entry.name] != nil, entry.value.count <= longest,
                !isUnix || entry.level == SOL_SOCKET
            else { throw CheckpointError("option \(entry.level)/\(entry.name) is none that can be restored") }
        }
    }
}
