import LinuxSystem

/// What the kernel tells of the TCP sockets in a network namespace that getsockopt(2) does not. sock_diag(7), INET_DIAG.
enum InternetDiagnosis {
    /// The inodes of the listening sockets that demand signed segments (TCP_MD5SIG), in the caller's network namespace.
    static func signedListeners() throws -> Set<UInt32> {
        let socket = try NetlinkSocket(CInt(NETLINK_SOCK_DIAG), name: "sock_diag")
        var found: Set<UInt32> = []
        for family in [AF_INET, AF_INET6] {
            // struct inet_diag_req_v2 {family 1, protocol 1, extensions 1, pad 1, states 4, id 48}. INET_DIAG_INFO brings
            // the keys, too; TCP_LISTEN is state 10.
            let request = [UInt8(family), 6, 1 << 1, 0, 0, 1 << (10 - 8), 0, 0] + [UInt8](repeating: 0, count: 48)
            // SOCK_DIAG_BY_FAMILY
            for message in try socket.ask("ask sock_diag for TCP sockets", type: 20, isDump: true, request) {
                // struct inet_diag_msg: 72 bytes, the inode last. INET_DIAG_MD5SIG
                guard let inode = message.body.integer(UInt32.self, at: 68) else { continue }
                if message.attributes(after: 72).contains(where: { $0.type == 18 }) { found.insert(inode) }
            }
        }
        return found
    }
}
