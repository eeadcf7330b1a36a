import Synchronization

/// A TCP connection as its own end names it. Addresses of 4 or 16 bytes.
public struct ConnectionName: Hashable, Sendable {
    public var local: [UInt8]
    public var remote: [UInt8]
    public var localPort: UInt16
    public var remotePort: UInt16

    public init(local: [UInt8], _ localPort: UInt16, remote: [UInt8], _ remotePort: UInt16) {
        (self.local, self.localPort, self.remote, self.remotePort) = (local, localPort, remote, remotePort)
    }

    fileprivate var key: [UInt8] {
        func port(_ number: UInt16) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 255), 0, 0] }
        return local + remote + port(localPort) + port(remotePort)
    }

    /// What the own end sends is dropped. `struct fib_rule_hdr`, FR_ACT_BLACKHOLE and attributes: linux/fib_rules.h
    fileprivate var silencingRule: [UInt8] {
        let family = UInt8(local.count == 4 ? AF_INET : AF_INET6), bits = UInt8(local.count * 8)
        let header: [UInt8] = [family, bits, bits, 0, 0, 0, 0, 6, 0, 0, 0, 0]
        func range(_ port: UInt16) -> [UInt8] { [UInt8](integers: [port, port]) }
        // To, from, the interface "lo" for what is sent here, priority, protocol, ports.
        let attributes = [
            NetlinkAttribute(type: 1, value: remote), NetlinkAttribute(type: 2, value: local),
            NetlinkAttribute(type: 3, value: Array("lo\0".utf8)), NetlinkAttribute(type: 6, UInt32(1)),
            NetlinkAttribute(type: 22, UInt8(6)), NetlinkAttribute(type: 23, value: range(localPort)),
            NetlinkAttribute(type: 24, value: range(remotePort)),
        ]
        return header + attributes.flatMap(\.bytes)
    }
}

/// Silence for TCP connections: what comes for them and what they send is dropped, so that a peer waits and tries again.
/// Rules of nftables in their network namespace. linux/netfilter/nf_tables.h
///
/// The kernel takes them away when this socket is closed (NFT_TABLE_F_OWNER, Linux 5.12), so they end with this process,
/// however it ends.
public final class ConnectionLock: Sendable {
    /// What passes through the lock: segments that the engine makes itself (SO_MARK).
    public static let mark: UInt32 = 0x7374_6173

    public let table: String
    private let connections: Set<ConnectionName>
    private let ports: Set<UInt16>
    private let rules = Mutex<Owner?>(nil)

    private final class Owner: Sendable {
        let socket: NetlinkSocket
        init(_ socket: consuming NetlinkSocket) { self.socket = socket }
    }

    /// - Parameters:
    ///   - name: of whom they are.
    ///   - ports: local ones, to which nobody can connect meanwhile.
    public init(_ name: String, _ connections: Set<ConnectionName>, ports: Set<UInt16>) {
        table = "stasis \(name.prefix(150)) \(getpid())"
        (self.connections, self.ports) = (connections, ports)
    }

    public var isEmpty: Bool { connections.isEmpty && ports.isEmpty }
    public var isClosed: Bool { rules.withLock { $0 != nil } }

    /// Closes it, in the caller's network namespace.
    public func close() throws(SystemError) {
        if isEmpty { return }
        let owner = Owner(try Self.open())
        let own = Rules(table: table, flags: 0x2, lifetime: nil)  // NFT_TABLE_F_OWNER
        try Self.explaining { () throws(SystemError) in
            try owner.socket.transact("lock connections by nftables", own.structure(passing: Self.mark))
            try own.add(connections, ports, by: owner.socket)
        }
        rules.withLock { $0 = owner }
    }

    /// Lets all pass again, at once. To take the rules away takes the kernel some milliseconds: ``remove()``.
    public func open() throws(SystemError) {
        guard let owner = rules.withLock({ $0 }) else { return }
        try owner.socket.transact("unlock connections", Rules(table: table, flags: 0, lifetime: nil).emptied)
    }

    public func remove() { rules.withLock { $0 = nil } }

    // MARK: After the container's end

    /// What stays in a network namespace that outlives its container: one table for all, from which connections vanish by
    /// themselves when their peers have given up.
    private static let kept = Rules(table: "stasis", flags: 0, lifetime: 3600)

    /// Keeps the connections silent in the caller's network namespace when this process has ended.
    public func leaveBehind() throws(SystemError) {
        if connections.isEmpty { return }
        do throws(SystemError) {
            try Self.open().transact("make a table of nftables", Self.kept.structure(passing: Self.mark))
        } catch  where error.errno == .fileExists {}
        // Another socket: answers to what failed may still come to the first.
        try Self.kept.add(connections, [], by: try Self.open())
    }

    /// Keeps them silent in the caller's network namespace, which is about to end. The kernel takes away the rules of nftables
    /// some milliseconds before the interfaces, and a peer that is heard between would be answered by a reset; routing rules
    /// last longer. Kernels 6.1 to 6.18: the former end in `pre_exit` of `struct pernet_operations`, the latter in `exit_batch`.
    public func keepSilentToTheEnd() throws(SystemError) {
        let netlink = try NetlinkSocket(CInt(NETLINK_ROUTE), name: "rtnetlink")
        for connection in connections {
            try netlink.ask(
                "silence a connection by a routing rule", type: UInt16(RTM_NEWRULE), flags: 0x400,  // NLM_F_CREATE
                connection.silencingRule)
        }
    }

    /// Takes them back. Where there is none, there is none to be taken.
    public func forgetLeftBehind() throws(SystemError) {
        if connections.isEmpty { return }
        let socket = try Self.open()
        do throws(SystemError) {
            let table = Self.kept.lookup
            try socket.ask("look for a table of nftables", type: table.type, table.body)
        } catch  where error.errno == .noSuchFileOrDirectory { return }
        let requests = connections.map { Self.kept.removal(of: $0) }
        if (try? socket.transact("forget connections", requests)) != nil { return }
        // Some have vanished.
        for request in requests {
            do throws(SystemError) {
                try Self.open().transact("forget a connection", [request])
            } catch  where error.errno == .noSuchFileOrDirectory {}
        }
    }

    private static func open() throws(SystemError) -> NetlinkSocket {
        try explaining { () throws(SystemError) in try NetlinkSocket(12, name: "nftables") }  // NETLINK_NETFILTER
    }

    private static func explaining<R: ~Copyable>(_ body: () throws(SystemError) -> R) throws(SystemError) -> R {
        do throws(SystemError) { return try body() } catch {
            let missing: [Errno] = [.protocolNotSupported, .notSupportedOnSocket, .invalidArgument]
            guard missing.contains(error.errno) else { throw error }
            throw SystemError(
                error.errno,
                "\(error.attempt) (TCP connections are kept only where the kernel has nftables of Linux 5.12)")
        }
    }
}

/// A table with a set of connections for each family, one of ports, and the rules that look them up.
private struct Rules {
    let table: String
    let flags: UInt32
    /// Seconds after which an element vanishes.
    let lifetime: UInt64?

    private static let connections4 = "connections4", connections6 = "connections6", ports = "ports"
    private static let sets: [(name: String, number: UInt32, length: UInt32)] = [
        (connections4, 1, 16), (connections6, 2, 40), (ports, 3, 2),
    ]

    /// Fails if the table is there.
    func structure(passing mark: UInt32) -> [NetlinkMessage] {
        var messages = [request(0, flags: 0x600, [number(2, flags)])]  // NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL
        for set in Self.sets {
            var attributes = [
                text(2, set.name), number(3, lifetime == nil ? 0 : 0x10), number(4, 0), number(5, set.length),
                number(10, set.number),
            ]
            if let lifetime { attributes.append(NetlinkAttribute(type: 11, (lifetime * 1000).bigEndian)) }
            messages.append(request(9, flags: 0x400, attributes))  // NFT_MSG_NEWSET
        }
        // NF_INET_LOCAL_IN and NF_INET_LOCAL_OUT, before connections are tracked on the way out.
        for (chain, hook) in [("input", UInt32(1)), ("output", 3)] {
            messages.append(
                request(
                    3, flags: 0x400,  // NFT_MSG_NEWCHAIN
                    [
                        text(3, chain), nested(4, [number(1, hook), number(2, UInt32(bitPattern: -400))]), number(5, 1),
                        text(7, "filter"),
                    ]))
            let rules = rules(incoming: hook == 1, mark)
            for rule in rules {
                messages.append(request(6, flags: 0xc00, [text(2, chain), nested(4, rule)]))  // NFT_MSG_NEWRULE
            }
        }
        return messages
    }

    func add(
        _ connections: Set<ConnectionName>, _ ports: Set<UInt16>, by socket: borrowing NetlinkSocket
    ) throws(SystemError) {
        let keys: [(String, [[UInt8]])] = [
            (Self.connections4, connections.filter { $0.local.count == 4 }.map(\.key)),
            (Self.connections6, connections.filter { $0.local.count == 16 }.map(\.key)),
            (Self.ports, ports.map { [UInt8($0 >> 8), UInt8($0 & 255)] }),
        ]
        for (set, keys) in keys {
            // An attribute holds less than 64 KiB.
            for start in stride(from: 0, to: keys.count, by: 500) {
                let part = Array(keys[start..<min(start + 500, keys.count)])
                try socket.transact("lock connections by nftables", [elements(12, of: set, part)])
            }
        }
    }

    var lookup: NetlinkMessage { request(1, flags: 0, []) }  // NFT_MSG_GETTABLE

    var emptied: [NetlinkMessage] {
        Self.sets.map { request(14, flags: 0, [text(2, $0.name)]) }  // NFT_MSG_DELSETELEM of all
    }

    func removal(of connection: ConnectionName) -> NetlinkMessage {
        elements(
            14, of: connection.local.count == 4 ? Self.connections4 : Self.connections6, [connection.key], flags: 0)
    }

    private func elements(
        _ message: UInt16, of set: String, _ keys: [[UInt8]], flags: UInt16 = 0x400
    ) -> NetlinkMessage {
        let list = keys.map { nested(1, [nested(1, [NetlinkAttribute(type: 1, value: $0)])]) }
        return request(message, flags: flags, [text(2, set), nested(3, list)])
    }

    private func rules(incoming: Bool, _ mark: UInt32) -> [[NetlinkAttribute]] {
        let (accept, drop) = (UInt32(1), UInt32(0))
        let register: UInt32 = 8
        // NFT_META_MARK, NFT_META_NFPROTO, NFT_META_L4PROTO
        let tcp = [meta(16, register), equal(register, [6])]
        var rules = [[meta(3, register), equal(register, [UInt8](integers: [mark])), verdict(accept)]]
        // Offsets of the own and the other address in the header, and how long they are.
        for (set, family, source, target, length) in [
            (Self.connections4, UInt8(2), UInt32(12), UInt32(16), UInt32(4)), (Self.connections6, 10, 8, 24, 16),
        ] {
            let (own, other) = incoming ? (target, source) : (source, target)
            let (ownPort, otherPort): (UInt32, UInt32) = incoming ? (2, 0) : (0, 2)
            let words = length / 4
            rules.append(
                [meta(15, register), equal(register, [family])] + tcp + [
                    payload(1, own, length, register), payload(1, other, length, register + words),
                    payload(2, ownPort, 2, register + 2 * words), payload(2, otherPort, 2, register + 2 * words + 1),
                    lookup(set, register), verdict(drop),
                ])
        }
        if incoming {
            rules.append(tcp + [payload(2, 2, 2, register), lookup(Self.ports, register), verdict(drop)])
        }
        return rules
    }

    // MARK: Expressions

    private func meta(_ key: UInt32, _ register: UInt32) -> NetlinkAttribute {
        expression("meta", [number(2, key), number(1, register)])
    }

    private func equal(_ register: UInt32, _ value: [UInt8]) -> NetlinkAttribute {
        expression("cmp", [number(1, register), number(2, 0), nested(3, [NetlinkAttribute(type: 1, value: value)])])
    }

    /// A part of the network's (1) or the transport's (2) header.
    private func payload(_ base: UInt32, _ offset: UInt32, _ length: UInt32, _ register: UInt32) -> NetlinkAttribute {
        expression("payload", [number(1, register), number(2, base), number(3, offset), number(4, length)])
    }

    private func lookup(_ set: String, _ register: UInt32) -> NetlinkAttribute {
        expression("lookup", [text(1, set), number(2, register)])
    }

    private func verdict(_ code: UInt32) -> NetlinkAttribute {
        expression("immediate", [number(1, 0), nested(2, [nested(2, [number(1, code)])])])
    }

    private func expression(_ name: String, _ attributes: [NetlinkAttribute]) -> NetlinkAttribute {
        nested(1, [text(1, name), nested(2, attributes)])
    }

    // MARK: Messages

    /// Numbers are in the network's order.
    private func number(_ type: UInt16, _ value: UInt32) -> NetlinkAttribute {
        NetlinkAttribute(type: type, value.bigEndian)
    }

    private func text(_ type: UInt16, _ value: String) -> NetlinkAttribute {
        NetlinkAttribute(type: type, value: Array(value.utf8) + [0])
    }

    private func nested(_ type: UInt16, _ attributes: [NetlinkAttribute]) -> NetlinkAttribute {
        NetlinkAttribute(type: type | 0x8000, value: attributes.flatMap(\.bytes))
    }

    /// struct nfgenmsg of the family inet; the first attribute of every message is the table's name.
    private func request(_ message: UInt16, flags: UInt16, _ attributes: [NetlinkAttribute]) -> NetlinkMessage {
        var request = NetlinkMessage(
            type: 10 << 8 | message, body: [1, 0, 0, 0] + ([text(1, table)] + attributes).flatMap(\.bytes))
        request.flags = flags
        return request
    }
}
