import CheckpointImages
import LinuxSystem

/// Connections that peers have made to a listening TCP socket, and that its program is yet to accept, in their order.
///
/// The kernel shows to nobody but who accepts them what peers have sent. So each is accepted, read by TCP_REPAIR and put back
/// behind the others, while everything stands still and its network is locked (``TCPConnection``): when all have had their
/// turn, the queue is as it was. The peers notice nothing. ``HandshakeReplay`` tells how one gets into a queue.
enum QueuedConnection: Kind {
    final class DumpState: KindState {
        /// What sock_diag tells of those that nobody has accepted, when they were locked.
        var told: [InternetDiagnosis] = []
        fileprivate var queues: [Queue] = []
    }

    final class RestoreState: KindState {
        /// Who waits at a socket, by the ids of their files.
        fileprivate var queues: [UInt32: [UInt32]] = [:]
    }

    fileprivate struct Queue {
        let file: UInt32
        let process: CapturedProcess
        let number: CInt
        let link: String
        let connections: [InternetDiagnosis]
    }

    private static let tcp: CInt = 6
    /// ESTABLISHED, CLOSE_WAIT.
    static let states: Set<UInt32> = [1, 8]

    // MARK: Checkpoint

    /// - Parameters:
    ///   - id: that of the listening socket in the images.
    ///   - count: of those that wait, as the socket says.
    static func capture(
        _ file: borrowing OpenFile, id: UInt32, local: InternetAddress, count: UInt32, into dump: Dump
    ) throws {
        func refusal(_ reason: String) -> CheckpointError {
            CheckpointError(
                passing: "\(file.link): \(count) connection(s) to port \(local.port) wait to be accepted, and "
                    + "\(reason); let the program accept them first")
        }
        guard dump.options.tcpEstablished else { throw refusal("are kept only with --tcp-established") }
        let isAny = local.words.allSatisfy { $0 == 0 }
        let told = dump[Self.self].told.filter {
            $0.local.port == local.port && (isAny || $0.local.bytes == local.bytes)
        }
        guard told.count == Int(count) else {
            throw refusal(
                "\(told.count) are found that may be them; connections that were reset cannot be checkpointed")
        }
        if let reason = try reason(file, told, in: dump) { throw refusal("it \(reason), which cannot be checkpointed") }
        dump[Self.self].queues.append(
            Queue(file: id, process: file.process, number: file.number, link: file.link, connections: told))
    }

    /// What would keep a connection from its queue on the way back.
    private static func reason(
        _ file: borrowing OpenFile, _ told: [InternetDiagnosis], in dump: Dump
    ) throws -> String? {
        let socket = file.descriptor.raw
        if try SocketOptions.number(socket, SOL_SOCKET, SO_PROTOCOL) != tcp { return "is a socket of MPTCP" }
        if try InternetSocket.network(of: file) != linkTarget("/proc/\(dump.first.hostPid)/ns/net") {
            return "is in a network namespace of a process's own"
        }
        if try SocketOptions.number(socket, SOL_SOCKET, SO_REUSEPORT) != 0 { return "shares its port (SO_REUSEPORT)" }
        if try !SocketFilter.capture(socket).isEmpty { return "has a filter" }
        if file.info.flags & UInt32(bitPattern: O_ASYNC) != 0 { return "signals what comes (O_ASYNC)" }
        // IP_MINTTL, IPV6_MINHOPCOUNT
        for (level, option) in [(CInt(0), CInt(21)), (41, 73)] {
            if let least = try? SocketOptions.number(socket, level, option), least > 64 { return "asks for a TTL" }
        }
        if told.contains(where: { $0.local.interface != 0 || $0.local.isLinkLocal || $0.remote.isLinkLocal }) {
            return "has a device, or connections of link-local addresses"
        }
        return try inNamespace(.network, of: dump.first.hostPid) {
            if try told.contains(where: { !(try isLocalAddress($0.local.bytes, mark: ConnectionLock.mark)) }) {
                return "has connections to addresses that are not its network's"
            }
            return try HandshakeReplay.obstacle()
        }
    }

    /// Reads them, when nothing has refused the checkpoint.
    static func seal(_ dump: Dump) throws {
        for queue in dump[Self.self].queues {
            try about(queue.link) {
                let listener = try queue.process.descriptor(queue.number)
                try inNamespace(.network, of: dump.first.hostPid) { try read(queue, at: listener.raw, into: dump) }
            }
            dump.account.keep(Self.self, count: queue.connections.count)
        }
    }

    private static func read(_ queue: Queue, at listener: CInt, into dump: Dump) throws {
        let isOpen = try AcceptingAll(listener)
        defer { isOpen.end() }
        var ids: [UInt32] = []
        for _ in queue.connections {
            let (entry, connection) = try turn(at: listener, dump.files.newID())
            ids.append(entry.id)
            try dump.files.add(
                .with {
                    ($0.type, $0.id) = (.inetsk, entry.id)
                    $0.isk = entry
                })
            try TCPConnection.add(connection, inode: entry.ino, into: dump)
        }
        let note = SocketOptionEntry(file: queue.file, level: tcp, name: name, value: [UInt8](integers: ids))
        try dump.stream(raw: SocketOptionEntry.fileName).append(raw: note.bytes)
    }

    /// Accepts the first one, and puts it back behind the others.
    private static func turn(at listener: CInt, _ id: UInt32) throws -> (InetSkEntry, RepairedConnection) {
        let (entry, connection) = try take(from: listener, id)
        let (local, remote) = (try entry.local(interface: 0), try entry.remote(interface: 0))
        let stream = try TcpStreamEntry(connection)
        try HandshakeReplay(local, remote, stream, hasEnded: entry.state == 8).run(connection.received[...])
        return (entry, connection)
    }

    private static func take(from listener: CInt, _ id: UInt32) throws -> (InetSkEntry, RepairedConnection) {
        let flags = Int(O_NONBLOCK | O_CLOEXEC)
        let accepted = OwnedDescriptor(
            CInt(try systemCall("accept a connection", Int(SYS_accept4), Int(listener), 0, 0, flags)))
        let socket = accepted.raw
        let family = try SocketOptions.number(socket, SOL_SOCKET, SO_DOMAIN)
        let local = try InternetAddress.local(of: socket, family)
        guard let peer = SocketOptions.peerAddress(socket), let connection = try RepairedConnection.read([socket]).first
        else { throw CheckpointError("a connection to \(local) was lost: it has no peer any more") }
        let remote = try InternetAddress(family, sockaddr: peer)
        let entry = try InetSkEntry.with {
            ($0.id, $0.ino) = (id, UInt32(truncatingIfNeeded: try status(of: socket).st_ino))
            ($0.family, $0.type, $0.proto) = (UInt32(family), UInt32(SOCK_STREAM.rawValue), UInt32(tcp))
            ($0.state, $0.flags, $0.backlog, $0.fown) = (UInt32(connection.information[0]), UInt32(O_RDWR), 0, .none)
            ($0.srcPort, $0.dstPort) = (UInt32(local.port), UInt32(remote.port))
            ($0.srcAddr, $0.dstAddr) = (local.words, remote.words)
            $0.opts = try SocketOptions.capture(socket)
        }
        // Closed in repair mode, it says nothing to its peer.
        try SocketOptions.set(socket, tcp, 19, 1)
        return (entry, connection)
    }

    // MARK: Images

    /// Of an entry of `sockets.stasis`: u32 id of each connection's file, in their order.
    private static let name: CInt = -5

    static func keeps(_ entry: SocketOptionEntry) -> Bool { entry.level == tcp && entry.name == name }

    /// The ids of all, whatever they are.
    static func files(in images: RestoreImages) -> Set<UInt32> {
        Set(images.socketOptions.values.joined().filter(keeps).flatMap(ids))
    }

    private static func ids(_ entry: SocketOptionEntry) -> [UInt32] {
        stride(from: 0, to: entry.value.count - 3, by: 4).map { entry.value.integer(UInt32.self, at: $0) ?? 0 }
    }

    // MARK: Restore

    static func plan(_ restore: RestorePlan) throws {
        let state = restore[Self.self]
        var files: Set<UInt32> = []
        for (id, entries) in restore.images.socketOptions {
            for entry in entries where keeps(entry) {
                guard let listener = restore.images.files[id], listener.hasIsk, listener.isk.state == 10,
                    listener.isk.proto == UInt32(tcp), entry.value.count.isMultiple(of: 4),
                    entry.value.count <= 4 * (Int(listener.isk.backlog) + 1), state.queues[id] == nil
                else {
                    throw CheckpointError(
                        "socket \(id): connections wait at it, more than can, or it does not listen")
                }
                let waiting = ids(entry)
                for client in waiting {
                    guard files.insert(client).inserted, let file = restore.images.files[client], file.hasIsk,
                        file.isk.isQueue(at: listener.isk)
                    else {
                        throw CheckpointError(
                            "socket \(client): is no connection that can wait at socket \(id), or twice")
                    }
                    guard !restore.options.tcpClose || restore.options.tcpEstablished else { continue }
                    let stream = try TCPConnection.stream(of: file.isk, in: restore.images).entry
                    guard stream.outqLen == 0 else {
                        throw CheckpointError("socket \(client): nobody has accepted it, and it has sent something")
                    }
                }
                state.queues[id] = waiting
            }
        }
        for process in restore.first.all {
            if let held = process.everyDescriptor.first(where: { files.contains($0.id) }) {
                throw CheckpointError("\(process): descriptor \(held.fd) is a connection that nobody has accepted")
            }
        }
    }

    /// Puts all connections into the queue of a socket that listens since a moment ago.
    static func recreate(at listener: InetSkEntry, _ socket: CInt, in workshop: Workshop) throws {
        guard let ids = workshop[Self.self].queues[listener.id], !workshop[TCPConnection.self].closes else { return }
        var replays: [(replay: HandshakeReplay, received: ArraySlice<UInt8>)] = []
        for id in ids {
            guard let wanted = workshop.entry(id)?.isk else { continue }
            let image = try TCPConnection.stream(of: wanted, in: workshop.images)
            let replay = HandshakeReplay(
                try wanted.local(interface: 0), try wanted.remote(interface: 0), image.entry,
                hasEnded: wanted.state == 8)
            replays.append((replay, try image.queues().prefix(Int(image.entry.inqLen))))
        }
        try workshop.inNetworkNamespace {
            if let obstacle = try HandshakeReplay.obstacle() {
                throw CheckpointError("socket \(listener.id): connections wait at it, and it \(obstacle)")
            }
            // In a network that only the container is in, nobody has closed it.
            let lock = workshop[TCPConnection.self].lock
            if !lock.isClosed { try lock.close() }
            let isOpen = try AcceptingAll(socket)
            defer { isOpen.end() }
            for place in replays.indices { try replays[place].replay.findClock(at: socket) }
            for (replay, received) in replays { try replay.run(received) }
        }
    }
}

extension InetSkEntry {
    /// Whether it may be a connection that waits at a listening socket.
    fileprivate func isQueue(at listener: InetSkEntry) -> Bool {
        let isAny = listener.srcAddr.allSatisfy { $0 == 0 }
        return QueuedConnection.states.contains(state) && proto == listener.proto && family == listener.family
            && srcPort == listener.srcPort && (isAny || srcAddr == listener.srcAddr)
    }
}

/// A listening socket takes every connection at once, also with TCP_DEFER_ACCEPT.
private struct AcceptingAll {
    private let socket: CInt
    private let patience: CInt
    private static let option: CInt = 9

    init(_ socket: CInt) throws {
        self.socket = socket
        patience = try SocketOptions.number(socket, 6, Self.option)
        if patience != 0 { try SocketOptions.set(socket, 6, Self.option, 0) }
    }

    func end() { if patience != 0 { try? SocketOptions.set(socket, 6, Self.option, patience) } }
}
