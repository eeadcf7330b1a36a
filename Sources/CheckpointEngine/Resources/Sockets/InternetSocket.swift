import CheckpointImages
import LinuxSystem

/// TCP sockets that listen, or that nobody has connected yet, over IPv4 and IPv6.
enum InternetSocket: FileKind {
    final class DumpState: KindState {
        private var signed: Set<UInt32>?

        /// Listening TCP sockets with keys for signatures; asked for once.
        fileprivate func signedListeners(of dump: Dump) throws -> Set<UInt32> {
            if let signed { return signed }
            let told = try inNamespace(.network, of: dump.first.hostPid) { try InternetDiagnosis.signedListeners() }
            signed = told
            return told
        }
    }

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
        let local = try address(of: socket, family, in: dump)
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
        if state.isClosed { try refuseEnded(file, port: local.port) }
        let inode = UInt32(truncatingIfNeeded: file.status.st_ino)
        if state.isListening, try dump[InternetSocket.self].signedListeners(of: dump).contains(inode) {
            throw CheckpointError(
                "\(file.link): a TCP socket with keys for signatures (TCP_MD5SIG, port \(local.port)) cannot be checkpointed yet"
            )
        }
        let options = try SocketOptions.capture(socket)
        let others = try SocketOptionTable.capture(file, id: id, into: dump)
        let onlyV6 = family == AF_INET6 ? try SocketOptions.number(socket, 41, 26) != 0 : false
        return try FileEntry.with {
            $0.type = .inetsk
            $0.id = id
            $0.isk = try .with {
                $0.id = id
                $0.ino = inode
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
                if let device = local.device { $0.ifname = device }
                $0.ipOpts = ipOptions(others)
                $0.tcpOpts = try .with {
                    $0.cork = others.contains { $0.level == 6 && $0.name == TCP_CORK }
                    $0.nodelay = try SocketOptions.number(socket, 6, TCP_NODELAY) != 0
                    $0.keepcnt = UInt32(bitPattern: try SocketOptions.number(socket, 6, TCP_KEEPCNT))
                    $0.keepidle = UInt32(bitPattern: try SocketOptions.number(socket, 6, TCP_KEEPIDLE))
                    $0.keepintvl = UInt32(bitPattern: try SocketOptions.number(socket, 6, TCP_KEEPINTVL))
                }
            }
        }
    }

    /// A connection that has ended, or that was never made, leaves a socket that looks like a new one but for this: it may
    /// have bytes and an error to tell, and it does not connect again. To ask for the error would take it away.
    private static func refuseEnded(_ file: borrowing OpenFile, port: UInt16) throws {
        // POLLRDHUP
        var state = pollfd(fd: file.descriptor.raw, events: 0x2000, revents: 0)
        try system("poll TCP socket") { poll(&state, 1, 0) }
        guard state.revents & (0x2000 | Int16(POLLERR)) == 0 else {
            throw CheckpointError(
                "\(file.link): a TCP connection that has ended or failed (local port \(port)) cannot be checkpointed yet, "
                    + "nor a socket that was shut down; close it first")
        }
    }

    /// Some of the options have a place in CRIU's messages, too.
    private static func ipOptions(_ entries: [SocketOptionEntry]) -> IpOptsEntry {
        func number(_ name: CInt) -> UInt32? {
            entries.first { $0.level == 0 && $0.name == name }?.value.integer(UInt32.self, at: 0)
        }
        return .with {
            if number(15) == 1 { $0.freebind = true }
            if number(8) == 1 { $0.pktinfo = true }
            if let tos = number(1) { $0.tos = tos }
            if let ttl = number(2) { $0.ttl = ttl }
        }
    }

    /// All that differ from those that a socket has.
    private static func options(
        _ wanted: InetSkEntry, differingFrom socket: CInt, in workshop: Workshop
    ) -> [SocketOptionEntry] {
        func entry(_ level: CInt, _ name: CInt, _ value: UInt32) -> SocketOptionEntry {
            SocketOptionEntry(file: wanted.id, level: level, name: name, value: [UInt8](integers: [value]))
        }
        var entries: [SocketOptionEntry] = []
        let ip = wanted.ipOpts
        if ip.freebind { entries.append(entry(0, 15, 1)) }
        if ip.pktinfo { entries.append(entry(0, 8, 1)) }
        if ip.hasTos { entries.append(entry(0, 1, ip.tos)) }
        if ip.hasTtl { entries.append(entry(0, 2, ip.ttl)) }
        if wanted.tcpOpts.cork { entries.append(entry(6, TCP_CORK, 1)) }
        entries += SocketOptionTable.entries(workshop.images.socketOptions[wanted.id] ?? [])
        return entries.filter { entry in
            (try? SocketOptions.bytes(socket, entry.level, entry.name, limit: entry.value.count)) != entry.value
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

    /// - Returns: the device, too, by which a link-local address is meant.
    private static func address(
        of socket: CInt, _ family: CInt, in dump: Dump
    ) throws -> (port: UInt16, words: [UInt32], device: String?) {
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
        let scope = family == AF_INET6 ? bytes.integer(UInt32.self, at: 24) ?? 0 : 0
        let device =
            scope == 0 ? nil : try inNamespace(.network, of: dump.first.hostPid) { try interfaceName(scope) }
        return bytes.withUnsafeBytes { raw in
            let port = UInt16(raw[2]) << 8 | UInt16(raw[3])
            let words = family == AF_INET ? 4..<8 : 8..<24
            return (
                port,
                stride(from: words.lowerBound, to: words.upperBound, by: 4).map {
                    raw.loadUnaligned(fromByteOffset: $0, as: UInt32.self)
                },
                device
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
        // By the task: some ask for rights. Before those that follow: IP_TOS changes SO_PRIORITY.
        let options = options(wanted, differingFrom: made.raw, in: workshop)
        if !options.isEmpty {
            _ = try opener.runAsEither { identity in
                try opener.run(as: identity, keeping: 1) { program in
                    for option in options {
                        let place = program.place(option.value)
                        program.call(
                            "set \(SocketOptionTable.name(option)) of a socket", Int(SYS_setsockopt),
                            [
                                0, UInt64(UInt32(bitPattern: option.level)), UInt64(UInt32(bitPattern: option.name)),
                                place.raw, UInt64(option.value.count),
                            ])
                    }
                }
            }
        }
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
        let device =
            wanted.hasIfname ? try workshop.inNetworkNamespace { try interfaceNumber(wanted.ifname) } : 0
        let address = try address(family, wanted, scope: device)
        let printed = printable(address)
        // Lower ports ask for CAP_NET_BIND_SERVICE.
        _ = try opener.runAsEither { identity in
            try opener.run(as: identity, keeping: 1) { program in
                let place = program.place(address)
                program.call(
                    "bind to \(printed) in the container's network", Int(SYS_bind),
                    [0, place.raw, UInt64(address.count)])
            }
        }
        if wanted.state == 10 {
            let backlog = CInt(clamping: wanted.backlog)
            try system("listen on \(printed)") { listen(made.raw, backlog) }
        }
        return made
    }

    /// struct sockaddr_in or sockaddr_in6.
    private static func address(_ family: CInt, _ wanted: InetSkEntry, scope: UInt32) throws -> [UInt8] {
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
        if family == AF_INET6 {
            for byte in 0..<4 { bytes[24 + byte] = UInt8(truncatingIfNeeded: scope >> (8 * byte)) }
        }
        return bytes
    }

    private static func printable(_ address: [UInt8]) -> String {
        let port = UInt16(address[2]) << 8 | UInt16(address[3])
        guard address.count == 28 else { return address[4..<8].map { "\($0)" }.joined(separator: ".") + ":\(port)" }
        let groups = stride(from: 8, to: 24, by: 2).map { UInt16(address[$0]) << 8 | UInt16(address[$0 + 1]) }
        return "[" + groups.map { String($0, radix: 16) }.joined(separator: ":") + "]:\(port)"
    }
}
