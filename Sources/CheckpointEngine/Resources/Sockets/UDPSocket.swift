import CheckpointImages
import LinuxSystem

/// UDP and UDP-lite sockets over IPv4 and IPv6. udp(7), udplite(7)
enum UDPSocket: FileKind {
    static let protocols: Set<CInt> = [17, 136]
    /// Of enum in net/tcp_states.h, as CRIU's entries have them.
    private static let connected: UInt32 = 1
    private static let unconnected: UInt32 = 7

    // MARK: Checkpoint

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard let proto = try InternetSocket.proto(of: file, type: SOCK_DGRAM), protocols.contains(proto) else {
            return nil
        }
        let local = try InternetSocket.local(of: file)
        let what = "\(file.link): a UDP socket, local port \(local.port)"
        try Datagrams.refuse(file, what, keepsQueue: true)
        let told = local.port == 0 ? nil : try diagnosis(of: file, proto, in: dump)
        let isConnected = told?.state == UInt8(connected)
        var entry = try InternetSocket.entry(
            file, id: id, local: local, remote: isConnected ? told?.remote : nil, wasConnected: isConnected, into: dump)
        entry.state = isConnected ? connected : unconnected
        let shutdown = try told?.shutdown ?? Datagrams.shutdown(of: file)
        if shutdown != 0 { entry.shutdown = SkShutdown(rawValue: Int(shutdown)) ?? .none }
        try UDPQueue.capture(file, entry, what, into: dump)
        try MulticastMembership.capture(file, id: id, family: local.family, into: dump)
        return .with {
            ($0.type, $0.id) = (.inetsk, id)
            $0.isk = entry
        }
    }

    /// Of a socket with a port: others the kernel does not list.
    private static func diagnosis(
        of file: borrowing OpenFile, _ proto: CInt, in dump: Dump
    ) throws -> InternetDiagnosis {
        guard
            let told = try InternetSocket.told(of: proto, in: dump)[UInt32(truncatingIfNeeded: file.status.st_ino)]
        else {
            try InternetSocket.checkNetwork(of: file, in: dump)
            throw CheckpointError("\(file.link): sock_diag does not know this UDP socket")
        }
        return told
    }

    // MARK: Restore

    static func plan(_ restore: RestorePlan) throws {
        for file in restore.images.files.all(.inetsk) where isOne(file.isk) {
            let (id, wanted) = (file.id, file.isk)
            try about("socket \(id)") {
                let (local, remote) = (try wanted.local(interface: 0), try wanted.remote(interface: 0))
                guard [connected, unconnected].contains(wanted.state), wanted.type == UInt32(SOCK_DGRAM.rawValue),
                    wanted.state == unconnected || local.port != 0
                else {
                    let what = "type \(wanted.type), state \(wanted.state), from \(local) to \(remote)"
                    throw CheckpointError("a UDP socket of \(what) is none")
                }
            }
        }
    }

    private static func isOne(_ wanted: InetSkEntry) -> Bool {
        !RawSocket.isOne(wanted) && protocols.contains(CInt(truncatingIfNeeded: wanted.proto))
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasIsk, isOne(entry.isk) else { return nil }
        let wanted = entry.isk
        let made = try InternetSocket.make(wanted, in: workshop)
        let socket = made.raw
        let interface = try InternetSocket.interface(of: wanted, in: workshop)
        let local = try wanted.local(interface: interface)
        if local.port != 0 {
            try InternetSocket.bind(wanted, to: local, in: workshop)
        } else if local.words.contains(where: { $0 != 0 }) {
            // It has lost its port by a disconnect, or never had one: IP_BIND_ADDRESS_NO_PORT.
            let before = try SocketOptions.number(socket, 0, 24)
            try SocketOptions.set(socket, 0, 24, 1)
            try InternetSocket.bind(wanted, to: local, in: workshop)
            try SocketOptions.set(socket, 0, 24, before)
        }
        try UDPQueue.recreate(wanted, socket, in: workshop)
        try SocketFilter.recreate(wanted.opts, of: wanted.id, made.raw, by: workshop.opener, in: workshop)
        if wanted.state == connected {
            try InternetSocket.connect(wanted, to: try wanted.remote(interface: interface), in: workshop)
        }
        try MulticastMembership.recreate(of: wanted.id, socket, in: workshop)
        try Datagrams.shutDown(wanted, socket)
        return made
    }
}
