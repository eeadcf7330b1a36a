import CheckpointImages
import LinuxSystem

/// TCP sockets over IPv4 and IPv6, and MPTCP sockets that listen or do nothing yet. What connections need besides is ``TCPConnection``'s.
enum TCPSocket: FileKind {
    private static let multipath: CInt = 262
    static let protocols: Set<CInt> = [6, multipath]

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard let proto = try InternetSocket.proto(of: file, type: SOCK_STREAM), protocols.contains(proto) else {
            return nil
        }
        let socket = file.descriptor.raw
        let state = try tcpInformation(socket)
        let local = try InternetSocket.local(of: file)
        let inode = UInt32(truncatingIfNeeded: file.status.st_ino)
        let told = state.isClosed ? nil : try TCPConnection.told(inode, of: dump)
        guard state.isListening || state.isClosed || TCPConnection.states.contains(state.number), told?.isSigned != true
        else {
            let what = told?.isSigned == true ? "with keys for signatures (TCP_MD5SIG)" : "in state \(state.number)"
            throw CheckpointError(
                "\(file.link): a TCP socket \(what), local port \(local.port), cannot be checkpointed yet")
        }
        if state.isListening, state.waiting > 0 {
            try QueuedConnection.capture(file, id: id, local: local, count: state.waiting, into: dump)
        }
        let isConnection = !state.isListening && !state.isClosed
        let hasEnded = try state.isClosed && isOver(file, port: local.port)
        guard proto != multipath || !isConnection && !hasEnded else {
            throw CheckpointError(
                "\(file.link): an MPTCP connection, local port \(local.port), cannot be checkpointed yet, also not one that "
                    + "speaks plain TCP or has ended; close it first")
        }
        if isConnection {
            guard let told else { throw CheckpointError("\(file.link): sock_diag does not know this TCP connection") }
            guard !file.isUnderWay else {
                throw CheckpointError(
                    "\(file.link): a TCP connection that is under way in a unix socket cannot be checkpointed yet")
            }
            try TCPConnection.capture(file, told, into: dump)
        }
        if hasEnded { try TCPConnection.captureEnd(socket, inode: inode, into: dump) }
        var entry = try InternetSocket.entry(
            file, id: id, local: local, remote: told?.remote, wasConnected: isConnection || hasEnded, into: dump)
        entry.state = state.number
        entry.backlog = state.isListening ? state.backlog : 0
        if isConnection, let shutdown = told?.shutdown, shutdown != 0 {
            entry.shutdown = SkShutdown(rawValue: Int(shutdown)) ?? .none
        }
        if hasEnded { entry.shutdown = .both }
        entry.tcpOpts.nodelay = try SocketOptions.number(socket, 6, TCP_NODELAY) != 0
        entry.tcpOpts.keepcnt = UInt32(bitPattern: try SocketOptions.number(socket, 6, TCP_KEEPCNT))
        entry.tcpOpts.keepidle = UInt32(bitPattern: try SocketOptions.number(socket, 6, TCP_KEEPIDLE))
        entry.tcpOpts.keepintvl = UInt32(bitPattern: try SocketOptions.number(socket, 6, TCP_KEEPINTVL))
        return .with {
            ($0.type, $0.id) = (.inetsk, id)
            $0.isk = entry
        }
    }

    /// A connection that is over leaves a socket that looks like a new one but for this: it may have bytes and an error to
    /// tell, and it does not connect again. To ask for the error would take it away.
    ///
    /// - Returns: whether this is one.
    private static func isOver(_ file: borrowing OpenFile, port: UInt16) throws -> Bool {
        // POLLRDHUP
        var state = pollfd(fd: file.descriptor.raw, events: 0x2000, revents: 0)
        try system("poll TCP socket") { poll(&state, 1, 0) }
        guard state.revents & Int16(POLLERR) == 0 else {
            throw CheckpointError(
                passing: "\(file.link): a TCP connection that has failed (local port \(port)) has an error that its "
                    + "program is yet to read, which cannot be checkpointed; let it read that, or close the socket")
        }
        return state.revents & 0x2000 != 0
    }

    /// The part of struct tcp_info that says what a socket does: tcp(7).
    private static func tcpInformation(
        _ socket: CInt
    ) throws -> (number: UInt32, isListening: Bool, isClosed: Bool, waiting: UInt32, backlog: UInt32) {
        let bytes = try SocketOptions.bytes(socket, 6, TCP_INFO, limit: 104)
        // Of a listening socket: tcpi_unacked connections wait, tcpi_sacked may.
        return (
            UInt32(bytes[0]), bytes[0] == 10, bytes[0] == 7, bytes.integer(UInt32.self, at: 24) ?? 0,
            bytes.integer(UInt32.self, at: 28) ?? 0
        )
    }

    static func isOne(_ wanted: InetSkEntry) -> Bool {
        !RawSocket.isOne(wanted) && protocols.contains(CInt(truncatingIfNeeded: wanted.proto))
    }

    /// Whether it listens, or was never connected.
    static func isWithoutPeer(_ wanted: InetSkEntry) -> Bool {
        wanted.state == 10 || wanted.state == 7 && (!wanted.hasShutdown || wanted.shutdown == .none)
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasIsk, isOne(entry.isk) else { return nil }
        let wanted = entry.isk
        let family = CInt(truncatingIfNeeded: wanted.family)
        let isConnection = TCPConnection.states.contains(wanted.state)
        guard family == AF_INET || family == AF_INET6, wanted.state == 10 || wanted.state == 7 || isConnection else {
            throw CheckpointError(
                "socket \(wanted.id): family \(wanted.family), state \(wanted.state) cannot be restored yet")
        }
        func isLate(_ option: SocketOptionEntry) -> Bool {
            isConnection && option.level == 6 && ofConnections.contains(option.name)
        }
        let made = try InternetSocket.make(wanted, in: workshop, isLate: isLate)
        let socket = made.raw
        if wanted.hasTcpOpts {
            let tcp = wanted.tcpOpts
            if tcp.nodelay { try SocketOptions.set(socket, 6, TCP_NODELAY, 1) }
            if tcp.hasKeepcnt { try SocketOptions.set(socket, 6, TCP_KEEPCNT, CInt(clamping: tcp.keepcnt)) }
            if tcp.hasKeepidle { try SocketOptions.set(socket, 6, TCP_KEEPIDLE, CInt(clamping: tcp.keepidle)) }
            if tcp.hasKeepintvl { try SocketOptions.set(socket, 6, TCP_KEEPINTVL, CInt(clamping: tcp.keepintvl)) }
        }
        if isConnection, workshop[TCPConnection.self].closes {
            try workshop.inNetworkNamespace { try EndedConnection.end(socket, wanted, received: [], tells: true) }
            try SocketFilter.recreate(wanted.opts, of: wanted.id, socket, by: workshop.opener, in: workshop)
            return made
        }
        let interface = try InternetSocket.interface(of: wanted, in: workshop)
        let address = try wanted.local(interface: interface)
        if isConnection {
            try RebuiltConnection.begin(socket, wanted, TCPConnection.stream(of: wanted, in: workshop.images).entry)
        }
        if wanted.state == 10 {
            // Connections have its port already, or had it a moment ago.
            try SocketOptions.set(socket, SOL_SOCKET, SO_REUSEADDR, 1)
        }
        if wanted.srcPort != 0 { try InternetSocket.bind(wanted, to: address, in: workshop) }
        if wanted.state == 10 {
            let backlog = CInt(clamping: wanted.backlog)
            try system("listen on \(address)") { listen(socket, backlog) }
            try QueuedConnection.recreate(at: wanted, socket, in: workshop)
            try SocketOptions.set(socket, SOL_SOCKET, SO_REUSEADDR, wanted.opts.reuseaddr ? 1 : 0)
        }
        if isConnection {
            let remote = try wanted.remote(interface: interface)
            let rebuilt = try RebuiltConnection(socket, wanted, to: remote, from: address, in: workshop)
            for option in try InternetSocket.options(wanted, differingFrom: socket, in: workshop) where isLate(option) {
                try SocketOptions.set(socket, option)
            }
            TCPConnection.finish(rebuilt, in: workshop)
        }
        if wanted.state == 7, wanted.hasShutdown, wanted.shutdown != .none {
            let received = try TCPConnection.unread(of: wanted, in: workshop.images)
            try workshop.inNetworkNamespace {
                try EndedConnection.end(socket, wanted, received: received, tells: false)
            }
        }
        try SocketFilter.recreate(wanted.opts, of: wanted.id, socket, by: workshop.opener, in: workshop)
        return made
    }

    /// TCP_WINDOW_CLAMP: the kernel sets it for each connection.
    private static let ofConnections: Set<CInt> = [10]
}
