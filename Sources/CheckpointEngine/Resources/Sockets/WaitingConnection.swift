import CheckpointImages
import LinuxSystem

/// Connections that somebody has made to a unix socket which listens, and that it is yet to accept, in their order. What
/// was sent by them the kernel shows to nobody but who accepts them.
enum WaitingConnection: Kind {
    final class DumpState: KindState {
        fileprivate var queues: [Queue] = []
        /// Who waits: where, and for what.
        fileprivate var clients: [UInt32: (holder: String, listener: UInt32)] = [:]
    }

    fileprivate struct Queue {
        let listener: UInt32
        let holder: String
        let clients: [UInt32]
    }

    final class RestoreState: KindState {
        /// The sockets whose connections are made.
        fileprivate var made: Set<UInt32> = []
        /// Who waits, by inodes: of the socket at which, and his own.
        fileprivate var clients: [UInt32: [UInt32: UnixSkEntry]] = [:]
        /// The connections that sockets of a name have accepted, with that name or closed at the other end.
        fileprivate var accepted: [[UInt8]: [UInt32]] = [:]
        /// The first process that has a file of those that wait.
        fileprivate var holders: [UInt32: ProcessPlan] = [:]
    }

    private static let listening: UInt32 = 10
    private static let most = 1 << 16

    // MARK: Checkpoint

    /// Those that wait at a socket.
    static func capture(
        _ file: borrowing OpenFile, _ told: UnixDiagnosis, id: UInt32, into dump: Dump
    ) throws {
        if told.waiting == 0 { return }
        // The kernel tells nothing of what a client that is closed has sent.
        guard told.clients.count == Int(told.waiting), !told.clients.contains(0) else {
            throw CheckpointError(
                passing: "\(file.link): \(told.waiting) connection(s) that wait to be accepted at "
                    + "\(told.printableName), some of which are closed at the other end, cannot be checkpointed; let the program accept them first"
            )
        }
        let inode = UInt32(truncatingIfNeeded: file.status.st_ino)
        dump[Self.self].queues.append(Queue(listener: inode, holder: file.holder, clients: told.clients))
        let entry = SocketOptionEntry(
            file: id, level: SOL_SOCKET, name: name, value: [UInt8](integers: told.clients))
        try dump.stream(raw: SocketOptionEntry.fileName).append(raw: entry.bytes)
    }

    /// The inode of the socket at which another waits; `nil` of one that does not.
    static func listener(
        of file: borrowing OpenFile, inode: UInt32, _ told: UnixDiagnosis, in dump: Dump
    ) throws -> UInt32? {
        guard told.state == 1, told.peer == 0 else { return nil }
        let all = try dump[UnixSocketPair.self].diagnosis(of: dump)
        guard let listener = all.listeners[inode] else { return nil }
        // Messages without a byte are among them.
        guard try SocketOptions.memory(file.descriptor.raw).sent == 0, told.name.isEmpty else {
            let what = told.name.isEmpty ? "that has sent something" : "with a name"
            throw CheckpointError(
                passing: "\(file.link): a unix socket \(what) by a connection that waits to be accepted cannot be "
                    + "checkpointed; let the other end accept it first")
        }
        dump[Self.self].clients[inode] = (file.holder, listener)
        return listener
    }

    /// Both ends must be inside.
    static func seal(_ dump: Dump) throws {
        let state = dump[Self.self]
        let known = Set(state.queues.map(\.listener))
        if let client = state.clients.values.first(where: { !known.contains($0.listener) }) {
            throw CheckpointError(
                "\(client.holder): waits to be accepted at a unix socket outside the container, which cannot be checkpointed"
            )
        }
        for queue in state.queues where queue.clients.contains(where: { state.clients[$0] == nil }) {
            throw CheckpointError(
                passing: "\(queue.holder): a connection from outside the container waits to be accepted at it, which "
                    + "cannot be checkpointed; let the program accept it first")
        }
    }

    // MARK: Images

    /// Of an entry of `sockets.stasis`: u32 inode of each client.
    private static let name: CInt = -3

    static func keeps(_ entry: SocketOptionEntry) -> Bool { entry.level == SOL_SOCKET && entry.name == name }

    static func isListener(_ entry: UnixSkEntry) -> Bool { entry.state == listening }

    /// Who waits at a socket. Those that its list leaves out come last.
    private static func clients(
        of listener: UnixSkEntry, _ state: RestoreState, in images: RestoreImages
    ) throws -> [UnixSkEntry] {
        var waiting = state.clients[listener.ino] ?? [:]
        let bytes = (images.socketOptions[listener.id] ?? []).first(where: keeps)?.value ?? []
        guard bytes.count.isMultiple(of: 4), bytes.count <= 4 * most else {
            throw CheckpointError("unix socket \(listener.id): \(bytes.count) bytes are no list of connections")
        }
        let listed = try stride(from: 0, to: bytes.count, by: 4).map { place -> UnixSkEntry in
            let inode = bytes.integer(UInt32.self, at: place) ?? 0
            guard let client = waiting.removeValue(forKey: inode) else {
                throw CheckpointError("unix socket \(listener.id): socket \(inode) does not wait at it, or twice")
            }
            return client
        }
        return listed + waiting.values.sorted { $0.id < $1.id }
    }

    // MARK: Restore

    static func plan(_ restore: RestorePlan) throws {
        let state = restore[Self.self]
        fill(state, restore)
        for file in restore.images.files.all(.unixsk) {
            let id = file.id
            let isListed = (restore.images.socketOptions[id] ?? []).contains(where: keeps)
            guard file.usk.state == listening else {
                if isListed {
                    throw CheckpointError("unix socket \(id): connections wait at it, but it does not listen")
                }
                continue
            }
            for client in try clients(of: file.usk, state, in: restore.images) {
                guard client.state != 1 || client.type != file.usk.type || !client.name.isEmpty else {
                    continue
                }
                throw CheckpointError("unix socket \(client.id): is no connection that can wait at socket \(id)")
            }
        }
    }

    private static func fill(_ state: RestoreState, _ restore: RestorePlan) {
        let sockets = restore.images.files.all(.unixsk).map(\.usk)
        let listeners = Set(sockets.filter(isListener).map(\.ino))
        var waiting: Set<UInt32> = []
        for socket in sockets where socket.peer != 0 && listeners.contains(socket.peer) {
            state.clients[socket.peer, default: [:]][socket.ino] = socket
            waiting.insert(socket.id)
        }
        if waiting.isEmpty { return }
        for socket in sockets where socket.state == 1 && socket.type != 2 {
            let former = PeerCredentials.formerName(restore.images.socketOptions[socket.id] ?? []) ?? []
            for name in Set([Array(socket.name), former]) where !name.isEmpty {
                state.accepted[name, default: []].append(socket.id)
            }
        }
        for process in restore.first.all {
            for descriptor in process.everyDescriptor where waiting.contains(descriptor.id) {
                if let known = state.holders[descriptor.id], known.pid <= process.pid { continue }
                state.holders[descriptor.id] = process
            }
        }
    }

    /// Makes all connections that wait at a socket, when those are made that it has accepted: each in its turn.
    static func recreate(at listener: UnixSkEntry, in workshop: Workshop) throws {
        let state = workshop[Self.self]
        let clients = try clients(of: listener, state, in: workshop.images)
        guard !clients.isEmpty, state.made.insert(listener.id).inserted else { return }
        let socket = try workshop.descriptor(for: listener.id)
        let accepted = state.accepted[Array(listener.name)] ?? []
        for id in accepted.sorted() { _ = try workshop.descriptor(for: id) }
        let now = try PeerCredentials.peer(of: listener.id, in: workshop)
        let room = max(listener.backlog, UInt32(clients.count))
        for client in clients {
            // Who listened then is what the client sees.
            let seen = try PeerCredentials.peer(of: client.id, in: workshop)
            try UnixPeer(seen, in: workshop).listen(socket, backlog: room)
            let holder = state.holders[client.id].map { PeerCredentials(of: $0) }
            let made = try NamedUnixSocket.connect(CInt(listener.type), to: listener, by: holder, in: workshop)
            try UnixSocketPair.keep(made, for: client, in: workshop)
        }
        try UnixPeer(now, in: workshop).listen(socket, backlog: listener.backlog)
        let inode = UInt32(truncatingIfNeeded: try status(of: socket).st_ino)
        let told = try workshop.inNetworkNamespace { try UnixDiagnosis.all().sockets[inode] }
        guard let told, Int(told.waiting) == clients.count else {
            throw CheckpointError("the name of unix socket \(listener.id) leads to another one")
        }
    }
}
