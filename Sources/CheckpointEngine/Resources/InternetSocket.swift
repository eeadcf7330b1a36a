import CheckpointImages
import LinuxSystem

/// TCP sockets that listen, or that nobody has connected yet, over IPv4 and IPv6.
enum InternetSocket: FileKind {
    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.status.isSocket else { return nil }
        let socket = file.descriptor.raw
        let family = try SocketOptions.number(socket, SOL_SOCKET, SO_DOMAIN)
        guard family == AF_INET || family == AF_INET6 else {
            throw CheckpointError("\(file.link): sockets of family \(family) cannot be checkpointed yet")
        }
        let type = try SocketOptions.number(socket, SOL_SOCKET, SO_TYPE)
        let proto = try SocketOptions.number(socket, SOL_SOCKET, SO_PROTOCOL)
        guard proto == 6 else {
            let name = proto == 17 ? "a UDP socket" : "an IP socket of protocol \(proto)"
            throw CheckpointError("\(file.link): \(name) cannot be checkpointed yet")
        }
        try SignalOwner.refuseSignals(file)
        let state = try tcpInformation(socket)
        let local = try address(of: socket, family)
        guard state.isListening || state.isClosed else {
            throw CheckpointError(
                "\(file.link): a TCP connection (local port \(local.port)) cannot be checkpointed yet; "
                    + "(nor with --tcp-established); close it first")
        }
        guard !state.isListening || state.waiting == 0 else {
            throw CheckpointError(
                "\(file.link): \(state.waiting) connection(s) to port \(local.port) wait to be accepted; "
                    + "connections cannot be checkpointed yet")
        }
        let options = try SocketOptions.capture(socket)
        let onlyV6 = family == AF_INET6 ? try SocketOptions.number(socket, 41, 26) != 0 : false
        return try FileEntry.with {
            $0.type = .inetsk
            $0.id = id
            $0.isk = try .with {
                $0.id = id
                $0.ino = UInt32(truncatingIfNeeded: file.status.st_ino)
                $0.family = UInt32(family)
                $0.type = UInt32(type)
                $0.proto = UInt32(proto)
                $0.state = state.isListening ? 10 : 7
                $0.srcPort = UInt32(local.port)
                $0.dstPort = 0
                $0.flags = file.info.flags
                $0.backlog = state.isListening ? state.backlog : 0
                $0.srcAddr = local.words
                $0.dstAddr = local.words.map { _ in 0 }
                $0.fown = .none
                $0.opts = options
                if family == AF_INET6 { $0.v6Only = onlyV6 }
                $0.tcpOpts = try .with {
                    $0.nodelay = try SocketOptions.number(socket, 6, TCP_NODELAY) != 0
                    $0.keepcnt = UInt32(bitPattern: try SocketOptions.number(socket, 6, TCP_KEEPCNT))
                    $0.keepidle = UInt32(bitPattern: try SocketOptions.number(socket, 6, TCP_KEEPIDLE))
                    $0.keepintvl = UInt32(bitPattern: try SocketOptions.number(socket, 6, TCP_KEEPINTVL))
                }
            }
        }
    }

    /// The part of struct tcp_info that says what a socket does: tcp(7).
    private static func tcpInformation(
        _ socket: CInt
    ) throws -> (isListening: Bool, isClosed: Bool, waiting: UInt32, backlog: UInt32) {
        var bytes = [UInt8](repeating: 0, count: 104)
        var length = socklen_t(bytes.count)
        try system("state of TCP socket") {
            bytes.withUnsafeMutableBytes { getsockopt(socket, 6, TCP_INFO, $0.baseAddress, &length) }
        }
        return bytes.withUnsafeBytes {
            // Of a listening socket: tcpi_unacked connections wait, tcpi_sacked may.
            (
                $0[0] == 10, $0[0] == 7, $0.loadUnaligned(fromByteOffset: 24, as: UInt32.self),
                $0.loadUnaligned(fromByteOffset: 28, as: UInt32.self)
            )
        }
    }

    private static func address(of socket: CInt, _ family: CInt) throws -> (port: UInt16, words: [UInt32]) {
        var bytes = [UInt8](repeating: 0, count: 28)
        var length = socklen_t(bytes.count)
        try system("address of socket") {
            bytes.withUnsafeMutableBytes { raw in
                CInt(
                    clinux_syscall(
                        Int(SYS_getsockname), Int(socket), Int(bitPattern: raw.baseAddress),
                        withUnsafeMutablePointer(to: &length) { Int(bitPattern: $0) }, 0, 0, 0))
            }
        }
        return bytes.withUnsafeBytes { raw in
            let port = UInt16(raw[2]) << 8 | UInt16(raw[3])
            let words = family == AF_INET ? 4..<8 : 8..<24
            return (
                port,
                stride(from: words.lowerBound, to: words.upperBound, by: 4).map {
                    raw.loadUnaligned(fromByteOffset: $0, as: UInt32.self)
                }
            )
        }
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasIsk else { return nil }
        let wanted = entry.isk
        let family = CInt(truncatingIfNeeded: wanted.family)
        guard family == AF_INET || family == AF_INET6, wanted.proto == 6, wanted.state == 10 || wanted.state == 7 else {
            throw CheckpointError(
                "socket \(wanted.id): family \(wanted.family), protocol \(wanted.proto), state \(wanted.state) "
                    + "cannot be restored yet")
        }
        guard let opener = workshop.opener else { throw CheckpointError("socket \(wanted.id): is no task's") }
        let type = CInt(truncatingIfNeeded: wanted.type) | CInt(bitPattern: wanted.flags) & O_NONBLOCK
        try opener.run(as: opener.own) { program in
            let arguments = [UInt64(family), UInt64(UInt32(bitPattern: type)), 6]
            program.call("socket", Int(SYS_socket), arguments, expecting: 0)
        }
        let made = try opener.take(0)
        try SocketOptions.apply(wanted.opts, to: made.raw)
        if family == AF_INET6 { try SocketOptions.set(made.raw, 41, 26, wanted.v6Only ? 1 : 0) }
        if wanted.hasTcpOpts {
            let tcp = wanted.tcpOpts
            if tcp.nodelay { try SocketOptions.set(made.raw, 6, TCP_NODELAY, 1) }
            if tcp.hasKeepcnt { try SocketOptions.set(made.raw, 6, TCP_KEEPCNT, CInt(clamping: tcp.keepcnt)) }
            if tcp.hasKeepidle { try SocketOptions.set(made.raw, 6, TCP_KEEPIDLE, CInt(clamping: tcp.keepidle)) }
            if tcp.hasKeepintvl { try SocketOptions.set(made.raw, 6, TCP_KEEPINTVL, CInt(clamping: tcp.keepintvl)) }
        }
        guard wanted.srcPort != 0 else { return made }
        let address = try address(family, wanted)
        // Lower ports ask for CAP_NET_BIND_SERVICE.
        try opener.runAsEither { identity in
            try opener.run(as: identity, keeping: 1) { program in
                let place = program.place(address)
                program.call(
                    "bind to port \(wanted.srcPort) in the container's network", Int(SYS_bind),
                    [0, place.raw, UInt64(address.count)])
            }
        }
        if wanted.state == 10 {
            let backlog = CInt(clamping: wanted.backlog)
            try system("listen on port \(wanted.srcPort)") { listen(made.raw, backlog) }
        }
        return made
    }

    /// struct sockaddr_in or sockaddr_in6.
    private static func address(_ family: CInt, _ wanted: InetSkEntry) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: family == AF_INET ? 16 : 28)
        bytes[0] = UInt8(truncatingIfNeeded: family)
        bytes[2] = UInt8(truncatingIfNeeded: wanted.srcPort >> 8)
        bytes[3] = UInt8(truncatingIfNeeded: wanted.srcPort)
        let start = family == AF_INET ? 4 : 8
        guard wanted.srcAddr.count == (family == AF_INET ? 1 : 4) else {
            throw CheckpointError("socket \(wanted.id): an address of \(wanted.srcAddr.count) words")
        }
        for (index, word) in wanted.srcAddr.enumerated() {
            for byte in 0..<4 { bytes[start + index * 4 + byte] = UInt8(truncatingIfNeeded: word >> (8 * byte)) }
        }
        return bytes
    }
}
