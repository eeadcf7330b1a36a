import LinuxSystem

/// What the kernel tells of the unix sockets in a network namespace. sock_diag(7), UNIX_DIAG.
struct UnixDiagnosis {
    var state: UInt8
    var peer: UInt32 = 0
    /// 1 receiving, 2 sending, 3 both are shut down.
    var shutdown: UInt8 = 0
    var name: [UInt8] = []
    /// Connections that wait to be accepted and how many may, or bytes that wait to be read.
    var waiting: UInt32 = 0
    var backlog: UInt32 = 0
    /// Whose connections wait, in their order: inodes, 0 of who is closed.
    var clients: [UInt32] = []

    var printableName: String {
        let text = String(decoding: name.drop { $0 == 0 }.prefix { $0 != 0 }, as: UTF8.self)
        return name.first == 0 ? "@" + text : text
    }

    /// Of a network namespace.
    struct All {
        /// By inode. The ends of connections that nobody has accepted yet are not among them.
        var sockets: [UInt32: UnixDiagnosis] = [:]
        /// Where those wait who have made such connections.
        var listeners: [UInt32: UInt32] = [:]
    }

    /// Asks in the caller's network namespace for all of them.
    static func all() throws -> All {
        let socket = try NetlinkSocket(CInt(NETLINK_SOCK_DIAG), name: "sock_diag")
        // struct unix_diag_req {family 1, protocol 1, pad 2, states 4, inode 4, show 4, cookie 8}. Show name 1, peer 4,
        // who waits 8, queues 16, and the shutdown that always comes.
        var request = [UInt8](repeating: 0xff, count: 24)
        request.replaceSubrange(0..<4, with: [UInt8(AF_UNIX), 0, 0, 0])
        request.replaceSubrange(8..<16, with: [0, 0, 0, 0, 0x1 | 0x4 | 0x8 | 0x10, 0, 0, 0])
        var found = All()
        // SOCK_DIAG_BY_FAMILY
        for message in try socket.ask("ask sock_diag for unix sockets", type: 20, isDump: true, request) {
            // struct unix_diag_msg {family 1, type 1, state 1, pad 1, inode 4, cookie 8}.
            guard message.body.count >= 16, let inode = message.body.integer(UInt32.self, at: 4) else { continue }
            let told = UnixDiagnosis(state: message.body[2], message.attributes(after: 16))
            found.sockets[inode] = told
            for client in told.clients where client != 0 { found.listeners[client] = inode }
        }
        return found
    }

    private init(state: UInt8, _ attributes: [NetlinkAttribute]) {
        self.state = state
        for attribute in attributes {
            let value = attribute.value
            switch attribute.type {
            case 0: name = value
            case 2: peer = value.integer(UInt32.self, at: 0) ?? 0
            case 4:
                waiting = value.integer(UInt32.self, at: 0) ?? 0
                backlog = value.integer(UInt32.self, at: 4) ?? 0
            case 3: clients = stride(from: 0, to: value.count, by: 4).compactMap { value.integer(UInt32.self, at: $0) }
            case 6: shutdown = value.first ?? 0
            default: break
            }
        }
    }
}
