import CheckpointImages
import LinuxSystem

/// Raw IP sockets, and those of ICMP that anybody may have for pings. raw(7), icmp(7)
enum RawSocket: FileKind {
    final class DumpState: KindState {
        /// What /proc/net tells of the container's network; sock_diag knows raw sockets on few kernels.
        fileprivate var told: [Place: Told]?
    }

    /// In the list of each family, for some have sockets of the other, too (findings/icmp6-lists-ipv4.sh).
    fileprivate struct Place: Hashable {
        let family: CInt
        let inode: UInt32
    }

    fileprivate struct Told {
        let isConnected: Bool
        let remote: [UInt32]
        let port: UInt16
    }

    private static let raw = UInt32(SOCK_RAW.rawValue)
    /// Of SOCK_DGRAM: ICMP, and that of IPv6. In place of a port they have the identifier of their echo requests.
    static let pings: Set<CInt> = [1, 58]
    private static let connected: UInt32 = 1
    private static let unconnected: UInt32 = 7

    // MARK: Checkpoint

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard let proto = try proto(of: file) else { return nil }
        let what = "\(file.link): a raw or ICMP socket of protocol \(proto)"
        try InternetSocket.checkNetwork(of: file, in: dump)
        try Datagrams.refuse(file, what)
        try refuseRouting(proto, what, in: dump)
        let local = try InternetSocket.local(of: file)
        let all = try dump[Self.self].told ?? told(in: dump)
        dump[Self.self].told = all
        // Not there: it has no identifier yet, or was disconnected.
        let told = all[Place(family: local.family, inode: UInt32(truncatingIfNeeded: file.status.st_ino))]
        var remote: InternetAddress?
        if let told, told.isConnected {
            // Of a raw socket only getpeername(2) tells the port, and that only if it is not 0.
            let port = SocketOptions.peerAddress(file.descriptor.raw)?.integer(UInt16.self, at: 2)?.byteSwapped
            remote = try InternetAddress(local.family, told.remote, port: UInt32(port ?? told.port))
        }
        var entry = try InternetSocket.entry(
            file, id: id, local: local, remote: remote, wasConnected: remote != nil, into: dump)
        entry.state = remote == nil ? unconnected : connected
        let shutdown = try Datagrams.shutdown(of: file)
        if shutdown != 0 { entry.shutdown = SkShutdown(rawValue: Int(shutdown)) ?? .none }
        try MulticastMembership.capture(file, id: id, family: local.family, into: dump)
        return .with {
            ($0.type, $0.id) = (.inetsk, id)
            $0.isk = entry
        }
    }

    private static func proto(of file: borrowing OpenFile) throws -> CInt? {
        if let proto = try InternetSocket.proto(of: file, type: SOCK_RAW) { return proto }
        guard let proto = try InternetSocket.proto(of: file, type: SOCK_DGRAM), pings.contains(proto) else {
            return nil
        }
        return proto
    }

    /// A multicast router's tables (MRT_INIT) go with its socket of IGMP, or ICMP of IPv6, and no call tells whose they are.
    private static func refuseRouting(_ proto: CInt, _ what: String, in dump: Dump) throws {
        guard proto == 2 || proto == 58 else { return }
        let file = "/proc/sys/net/\(proto == 2 ? "ipv4" : "ipv6")/conf/all/mc_forwarding"
        // A kernel without IPv6 or without multicast routing has none.
        let routes = try inNamespace(.network, of: dump.first.hostPid) { (try? readText(file)) ?? "0" }
        guard Int(routes.prefix { $0.isNumber }) == 0 else {
            throw CheckpointError(
                "\(what), which may route multicast packets (MRT_INIT), cannot be checkpointed; end the router first")
        }
    }

    /// Lines of number, local address, remote address, state, …, inode.
    private static func told(in dump: Dump) throws -> [Place: Told] {
        var found: [Place: Told] = [:]
        for (name, family) in [("raw", AF_INET), ("raw6", AF_INET6), ("icmp", AF_INET), ("icmp6", AF_INET6)] {
            // A kernel without IPv6 has half of them.
            let text = (try? readText("/proc/\(dump.first.hostPid)/net/\(name)")) ?? ""
            for line in text.split(separator: "\n") {
                let words = line.split(separator: " ")
                guard words.count > 9, let inode = UInt32(words[9]), let state = UInt32(words[3], radix: 16) else {
                    continue
                }
                let remote = words[2].split(separator: ":")
                guard remote.count == 2, let port = UInt16(remote[1], radix: 16) else { continue }
                let digits = Array(remote[0])
                let address = stride(from: 0, to: digits.count - 7, by: 8).compactMap {
                    UInt32(String(digits[$0..<$0 + 8]), radix: 16)
                }
                found[Place(family: family, inode: inode)] = Told(
                    isConnected: state == connected, remote: address, port: port)
            }
        }
        return found
    }

    // MARK: Restore

    static func plan(_ restore: RestorePlan) throws {
        for file in restore.images.files.all(.inetsk) where isOne(file.isk) {
            let (id, wanted) = (file.id, file.isk)
            try about("socket \(id)") {
                let (local, remote) = (try wanted.local(interface: 0), try wanted.remote(interface: 0))
                guard [connected, unconnected].contains(wanted.state), 1...255 ~= wanted.proto,
                    wanted.state == unconnected || local.port != 0
                else {
                    let what = "protocol \(wanted.proto), state \(wanted.state), from \(local) to \(remote)"
                    throw CheckpointError("a raw or ICMP socket of \(what) is none")
                }
            }
        }
    }

    /// Raw sockets can be of other kinds' protocols.
    static func isOne(_ wanted: InetSkEntry) -> Bool {
        wanted.type == raw
            || wanted.type == UInt32(SOCK_DGRAM.rawValue) && pings.contains(CInt(truncatingIfNeeded: wanted.proto))
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasIsk, isOne(entry.isk) else { return nil }
        let wanted = entry.isk
        let made = try InternetSocket.make(wanted, in: workshop)
        try SocketFilter.recreate(wanted.opts, of: wanted.id, made.raw, by: workshop.opener, in: workshop)
        let interface = try InternetSocket.interface(of: wanted, in: workshop)
        let local = try wanted.local(interface: interface)
        let hasAddress = local.words.contains { $0 != 0 }
        // A raw socket's port is its protocol.
        if hasAddress || wanted.type != raw && local.port != 0 {
            try InternetSocket.bind(wanted, to: local, in: workshop)
        }
        if wanted.state == connected {
            try InternetSocket.connect(wanted, to: try wanted.remote(interface: interface), in: workshop)
        } else if local.port == 0, hasAddress || wanted.type == raw {
            // It has lost its port by a disconnect, and receives nothing.
            try InternetSocket.disconnect(wanted, in: workshop)
        }
        try drop(queueOf: made.raw)
        try MulticastMembership.recreate(of: wanted.id, made.raw, in: workshop)
        try Datagrams.shutDown(wanted, made.raw)
        return made
    }

    /// A raw socket receives from its first moment, also what its filter, address or peer keeps out once they are set.
    private static func drop(queueOf socket: CInt) throws {
        // No packet counts for less than 256 bytes. EAGAIN also stands for one whose checksum is wrong.
        let most = try SocketOptions.memory(socket).received / 256
        for _ in 0...most {
            let count = recv(socket, nil, 0, CInt(MSG_DONTWAIT))
            if count < 0, try SocketOptions.memory(socket).received == 0 { return }
        }
    }
}
