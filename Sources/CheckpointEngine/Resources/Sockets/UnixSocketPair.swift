import CheckpointImages
import LinuxSystem
import Tracee

/// Unix sockets without a name that are connected to each other, as socketpair(2) makes them, with what is under way
/// between them; and such whose other end is closed.
enum UnixSocketPair: FileKind {
    /// All unix sockets of the container, by their inodes; those with a name, too.
    final class DumpState: KindState {
        var peers: [UInt32: (peer: UInt32, holder: String)] = [:]
        /// The names of its accepted sockets.
        fileprivate var accepted: [UInt32: [UInt8]] = [:]
        fileprivate var makers: [UInt32: PeerCredentials] = [:]
        /// Datagram sockets with a name.
        var letterboxes: Set<UInt32> = []
        private var told: UnixDiagnosis.All?

        /// As the container's network namespaces know them; asked for once.
        func diagnosis(of dump: Dump) throws -> UnixDiagnosis.All {
            if let told { return told }
            var all = UnixDiagnosis.All()
            for member in InnerNetwork.members(of: dump) {
                let there = try inNamespace(.network, of: member) { try UnixDiagnosis.all() }
                all.sockets.merge(there.sockets) { one, _ in one }
                all.listeners.merge(there.listeners) { one, _ in one }
            }
            told = all
            return all
        }
    }

    final class RestoreState: KindState {
        /// Other ends, whose owners have not asked for them yet.
        fileprivate var waiting: [UInt32: OwnedSocket] = [:]
        fileprivate var entries: [UInt32: UnixSkEntry] = [:]
        /// Those that lack their options, in the engine's hands.
        fileprivate var unfinished: [(socket: CInt, wanted: UnixSkEntry)] = []
        /// The files that listen under a name.
        var listeners: [[UInt8]: UInt32] = [:]
    }

    /// A socket that is closed with its last reference.
    fileprivate final class OwnedSocket {
        let descriptor: OwnedDescriptor
        init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }
    }

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.status.isSocket else { return nil }
        let socket = file.descriptor.raw
        guard try SocketOptions.number(socket, SOL_SOCKET, SO_DOMAIN) == AF_UNIX else { return nil }
        let inode = UInt32(truncatingIfNeeded: file.status.st_ino)
        let sockets = dump[UnixSocketPair.self]
        guard let told = try sockets.diagnosis(of: dump).sockets[inode] else {
            throw CheckpointError("\(file.link): the kernel does not know this unix socket in the container's network")
        }
        let type = try SocketOptions.number(socket, SOL_SOCKET, SO_TYPE)
        if let listener = try WaitingConnection.listener(of: file, inode: inode, told, in: dump) {
            var entry = try entry(file, inode: inode, told, type: type, id: id, into: dump)
            entry.usk.peer = listener
            _ = try PeerCredentials.capture(file, id: id, into: dump)
            sockets.peers[inode] = (0, file.holder)
            return entry
        }
        if !told.name.isEmpty { sockets.accepted[inode] = told.name }
        // Who has closed a connection has shut it down, too.
        guard told.peer != 0 || told.state != 1 || type == 2 || told.shutdown == 3 else {
            throw CheckpointError("\(file.link): waits to be accepted at a unix socket outside the container")
        }
        let entry = try entry(file, inode: inode, told, type: type, id: id, into: dump)
        let peer = try PeerCredentials.capture(file, id: id, into: dump)
        if told.peer == 0, told.state == 1, type != 2, told.name.isEmpty,
            let name = SocketOptions.peerAddress(socket)?.dropFirst(2), !name.isEmpty
        {
            let entry = PeerCredentials.entry(of: id, formerName: Array(name))
            try dump.stream(raw: SocketOptionEntry.fileName).append(raw: entry.bytes)
            sockets.accepted[inode] = Array(name)
        }
        // A stream that was never connected has no queue.
        if told.peer != 0 || told.state == 1 || type == 2 {
            UnixSocketQueue.note(file, id: id, type: type, in: dump)
        }
        sockets.peers[inode] = (told.peer, file.holder)
        sockets.makers[inode] = peer
        return entry
    }

    /// What the entries of all unix sockets have in common.
    static func entry(
        _ file: borrowing OpenFile, inode: UInt32, _ told: UnixDiagnosis, type: CInt, id: UInt32, into dump: Dump
    ) throws -> FileEntry {
        let socket = file.descriptor.raw
        var options = try SocketOptions.capture(socket)
        options.soPasscred = try SocketOptions.number(socket, SOL_SOCKET, SO_PASSCRED) != 0
        try SocketOptionTable.capture(file, id: id, into: dump)
        let flags = file.info.flags
        return FileEntry.with {
            $0.type = .unixsk
            $0.id = id
            $0.usk = .with {
                $0.id = id
                $0.ino = inode
                $0.type = UInt32(type)
                $0.state = UInt32(told.state)
                $0.flags = flags
                $0.uflags = 0
                $0.backlog = 0
                $0.peer = told.peer
                $0.fown = .none
                $0.opts = options
                $0.name = .init(told.name)
                if told.shutdown != 0 { $0.shutdown = SkShutdown(rawValue: Int(told.shutdown)) ?? .none }
            }
        }
    }

    /// Fails if a socket is connected to somebody outside the container.
    static func seal(_ dump: Dump) throws {
        let sockets = dump[UnixSocketPair.self]
        for (inode, held) in sockets.peers where held.peer != 0 && sockets.peers[held.peer] == nil {
            throw CheckpointError(
                "\(held.holder): socket:[\(inode)]: is connected to a unix socket outside "
                    + "the container")
        }
        for (inode, held) in sockets.peers where held.peer != 0 {
            // A datagram socket may be connected to one that is not connected to it; both ends may have a name. One that has
            // a name is connected to others that have.
            let isPair = sockets.accepted[inode] == nil && sockets.accepted[held.peer] == nil
            let isAccepted = (sockets.accepted[inode] == nil) != (sockets.accepted[held.peer] == nil)
            guard
                sockets.letterboxes.contains(held.peer)
                    || !sockets.letterboxes.contains(inode) && sockets.peers[held.peer]?.peer == inode
                        && (isAccepted || isPair && sockets.makers[inode] == sockets.makers[held.peer])
            else {
                throw CheckpointError(
                    "\(held.holder): socket:[\(inode)]: is a unix socket connected in a way "
                        + "that cannot be checkpointed yet")
            }
        }
    }

    static func plan(_ restore: RestorePlan) throws {
        let state = restore[UnixSocketPair.self]
        for entry in restore.images.files.all(.unixsk) {
            if entry.usk.ino != 0 { state.entries[entry.usk.ino] = entry.usk }
            if entry.usk.state == 10, !entry.usk.deleted { state.listeners[Array(entry.usk.name)] = entry.id }
        }
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasUsk else { return nil }
        let wanted = entry.usk
        let state = workshop[UnixSocketPair.self]
        if let waiting = state.waiting.removeValue(forKey: wanted.ino) { return try waiting.descriptor.duplicate() }
        let type = CInt(truncatingIfNeeded: wanted.type)
        guard wanted.peer != 0 || wanted.state == 1 else {
            let alone = try workshop.inNetworkNamespace {
                OwnedDescriptor(
                    CInt(try systemCall("socket", Int(SYS_socket), Int(AF_UNIX), Int(type | O_CLOEXEC), 0)))
            }
            state.unfinished.append((try workshop.keep(alone.duplicate()), wanted))
            return alone
        }
        let other = state.entries[wanted.peer]
        if let other, WaitingConnection.isListener(other) {
            try WaitingConnection.recreate(at: other, in: workshop)
            guard let waiting = state.waiting.removeValue(forKey: wanted.ino) else {
                throw CheckpointError("unix socket \(wanted.id): does not wait at socket \(other.id)")
            }
            return try waiting.descriptor.duplicate()
        }
        if let other, NamedUnixSocket.isLetterbox(other), wanted.name.isEmpty {
            let sender = try NamedUnixSocket.send(to: other, in: workshop)
            state.unfinished.append((sender, wanted))
            return try copy(sender)
        }
        guard other == nil || other?.peer == wanted.ino else {
            throw CheckpointError("unix socket \(wanted.id): is connected to one that is not connected to it")
        }
        let pair = try pair(wanted, other, type, workshop)
        // What waits in one socket was sent through the other.
        UnixSocketQueue.note(wanted.id, through: pair.second, in: workshop)
        state.unfinished.append((pair.first, wanted))
        if let other {
            UnixSocketQueue.note(other.id, through: pair.first, in: workshop)
            state.unfinished.append((pair.second, other))
            state.waiting[other.ino] = OwnedSocket(try copy(pair.second))
        }
        return try copy(pair.first)
    }

    /// Takes in a socket of which another was made at the same time.
    static func keep(_ socket: CInt, for wanted: UnixSkEntry, in workshop: Workshop) throws {
        note(socket, wanted, in: workshop)
        workshop[Self.self].waiting[wanted.ino] = OwnedSocket(try copy(socket))
    }

    private static func copy(_ socket: CInt) throws -> OwnedDescriptor {
        OwnedDescriptor(try system("copy socket") { clinux_fcntl(socket, F_DUPFD_CLOEXEC, 0) })
    }

    /// The two ends: anonymous ones, or the accepted one of a name and who has connected to it.
    private static func pair(
        _ wanted: UnixSkEntry, _ other: UnixSkEntry?, _ type: CInt, _ workshop: Workshop
    ) throws -> (first: CInt, second: CInt) {
        let peer = try PeerCredentials.peer(of: wanted.id, in: workshop)
        let othersPeer = try other.flatMap { try PeerCredentials.peer(of: $0.id, in: workshop) }
        if !wanted.name.isEmpty {
            let ends = try NamedUnixSocket.connect(
                to: Array(wanted.name), type: type, by: peer, listener: othersPeer, in: workshop)
            return (ends.server, ends.client)
        }
        if let other, !other.name.isEmpty {
            let ends = try NamedUnixSocket.connect(
                to: Array(other.name), type: type, by: othersPeer, listener: peer, in: workshop)
            return (ends.client, ends.server)
        }
        let former = PeerCredentials.formerName(workshop.images.socketOptions[wanted.id] ?? [])
        if other == nil, let former {
            let ends = try NamedUnixSocket.connect(
                to: former, type: type, by: nil, listener: peer, in: workshop)
            return (ends.client, ends.server)
        }
        return try UnixPeer(peer, in: workshop).pair(type)
    }

    /// What is in the queues was sent before they were limited and shut.
    static func settle(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        for (socket, wanted) in workshop[Self.self].unfinished {
            try about("unix socket \(wanted.id)") { try finish(socket, wanted, workshop) }
        }
    }

    /// Leaves the rest of a socket that was made to ``settle(_:in:area:)``.
    static func note(_ socket: CInt, _ wanted: UnixSkEntry, in workshop: Workshop) {
        workshop[Self.self].unfinished.append((socket, wanted))
    }

    private static func finish(_ socket: CInt, _ wanted: UnixSkEntry, _ workshop: Workshop) throws {
        try SocketOptions.apply(wanted.opts, to: socket)
        for entry in try SocketOptionTable.entries(of: wanted.id, in: workshop) {
            try SocketOptions.set(socket, entry)
        }
        try SocketFilter.recreate(wanted.opts, of: wanted.id, socket, by: nil, in: workshop)
        if CInt(bitPattern: wanted.flags) & O_NONBLOCK != 0 {
            try system("set flags of socket") { clinux_fcntl(socket, F_SETFL, Int(O_NONBLOCK)) }
        }
        if wanted.hasShutdown, wanted.shutdown != .none {
            let how = CInt(wanted.shutdown.rawValue - 1)
            try system("shut down socket") { shutdown(socket, how) }
        }
    }
}
