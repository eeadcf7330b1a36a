import LinuxSystem

/// What the kernel tells of the sockets of a protocol in a network namespace that getsockopt(2) does not. sock_diag(7), INET_DIAG.
struct InternetDiagnosis {
    let inode: UInt32
    let state: UInt8
    let local: InternetAddress
    let remote: InternetAddress
    /// Whether it demands signed segments (TCP_MD5SIG).
    let isSigned: Bool
    /// What was shut down: 1 for receiving, 2 for sending.
    let shutdown: UInt8
    /// Of a connection, the bytes that nobody has read; a FIN counts as one.
    let waiting: UInt32
    /// Of a TCP connection: what both ends agreed upon (tcpi_options), and the scale of the own window.
    let options: (mask: UInt32, receiveScale: UInt32)?

    var name: ConnectionName {
        ConnectionName(local: local.bytes, local.port, remote: remote.bytes, remote.port)
    }

    /// All that somebody has open, in the caller's network namespace, by their inodes.
    static func sockets(of proto: CInt) throws -> [UInt32: InternetDiagnosis] {
        let open = try all(of: proto).filter { $0.inode != 0 }
        return Dictionary(open.map { ($0.inode, $0) }, uniquingKeysWith: { _, last in last })
    }

    /// All, also those that nobody has open, whose inode is 0.
    static func all(of proto: CInt) throws -> [InternetDiagnosis] {
        let socket = try NetlinkSocket(CInt(NETLINK_SOCK_DIAG), name: "sock_diag")
        var found: [InternetDiagnosis] = []
        for family in [AF_INET, AF_INET6] {
            // struct inet_diag_req_v2 {family 1, protocol 1, extensions 1, pad 1, states 4, id 48}. INET_DIAG_INFO brings
            // the keys, too. All states but TIME_WAIT and NEW_SYN_RECV, in which sockets are nobody's.
            let states: UInt32 = 0xfff & ~(1 << 6)
            let head = [UInt8(family), UInt8(proto), 1 << 1, 0]
            let request = head + [UInt8](integers: [states]) + [UInt8](repeating: 0, count: 48)
            // SOCK_DIAG_BY_FAMILY
            let what = "ask sock_diag for sockets of protocol \(proto)"
            for message in try socket.ask(what, type: 20, isDump: true, request) {
                if let told = try InternetDiagnosis(family, message) { found.append(told) }
            }
        }
        return found
    }

    /// struct inet_diag_msg: state, then ports, addresses and interface of the connection; the bytes that wait; the inode
    /// last of 72 bytes.
    private init?(_ family: CInt, _ message: NetlinkMessage) throws {
        let body = message.body
        guard let inode = body.integer(UInt32.self, at: 68), let interface = body.integer(UInt32.self, at: 40) else {
            return nil
        }
        func address(_ place: Int, port: Int) throws -> InternetAddress {
            let words = (0..<(family == AF_INET ? 1 : 4)).compactMap { body.integer(UInt32.self, at: place + 4 * $0) }
            let number = UInt16(bigEndian: body.integer(UInt16.self, at: port) ?? 0)
            return try InternetAddress(family, words, port: UInt32(number), interface: interface)
        }
        self.inode = inode
        waiting = body.integer(UInt32.self, at: 56) ?? 0
        state = body[1]
        local = try address(8, port: 4)
        remote = try address(24, port: 6)
        // INET_DIAG_MD5SIG, INET_DIAG_SHUTDOWN, INET_DIAG_INFO: struct tcp_info, both scales in one byte.
        let attributes = message.attributes(after: 72)
        let info = attributes.first { $0.type == 2 && $0.value.count > 6 }?.value
        options = info.map { (UInt32($0[5]), UInt32($0[6] >> 4)) }
        isSigned = attributes.contains { $0.type == 18 }
        shutdown = attributes.first { $0.type == 8 }?.value.first ?? 0
    }
}
