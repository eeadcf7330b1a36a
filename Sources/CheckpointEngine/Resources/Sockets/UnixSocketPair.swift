import CheckpointImages
import LinuxSystem

/// Unix sockets without a name that are connected to each other, as socketpair(2) makes them, with what is under way
/// between them; and such whose other end is closed.
enum UnixSocketPair: FileKind {
    /// All unix sockets of the container, by their inodes; those with a name, too.
    final class DumpState: KindState {
        var peers: [UInt32: (peer: UInt32, holder: String, number: CInt)] = [:]
        /// Names under which the container listens, and those of its accepted sockets.
        var listeners: Set<[UInt8]> = []
        fileprivate var accepted: [UInt32: [UInt8]] = [:]
        fileprivate var makers: [UInt32: PeerCredentials] = [:]
        /// Datagram sockets with a name that are connected to nobody.
        var letterboxes: Set<UInt32> = []
        private var told: [UInt32: UnixDiagnosis]?

        /// As the container's network namespace knows them; asked for once.
        func diagnosis(of dump: Dump) throws -> [UInt32: UnixDiagnosis] {
            if let told { return told }
            let all = try inNamespace(.network, of: dump.first.hostPid) { try UnixDiagnosis.all() }
            told = all
            return all
        }
    }

    final class RestoreState: KindState {
        /// Other ends, whose owners have not asked for them yet.
        fileprivate var waiting: [UInt32: OwnedSocket] = [:]
        fileprivate var entries: [UInt32: UnixSkEntry] = [:]
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
        try SignalOwner.refuseSignals(file)
        let inode = UInt32(truncatingIfNeeded: file.status.st_ino)
        let sockets = dump[UnixSocketPair.self]
        guard let told = try sockets.diagnosis(of: dump)[inode] else {
            throw CheckpointError("\(file.link): the kernel does not know this unix socket in the container's network")
        }
        let type = try SocketOptions.number(socket, SOL_SOCKET, SO_TYPE)
        if !told.name.isEmpty {
            guard type != 2 else {
                throw CheckpointError(
                    "\(file.link): a unix datagram socket bound to \(told.printableName) that is connected "
                        + "cannot be checkpointed yet")
            }
            sockets.accepted[inode] = told.name
        }
        var options = try SocketOptions.capture(socket)
        options.soPasscred = try SocketOptions.number(socket, SOL_SOCKET, SO_PASSCRED) != 0
        try SocketOptionTable.capture(file, id: id, into: dump)
        let peer = try PeerCredentials.capture(file, in: dump.userNamespace)
        peer?.ask(about: file, id: id, in: dump)
        if told.peer == 0, told.state == 1, type != 2, told.name.isEmpty,
            let name = SocketOptions.peerAddress(socket)?.dropFirst(2), !name.isEmpty
        {
            let entry = PeerCredentials.entry(of: id, formerName: Array(name))
            try dump.stream(raw: SocketOptionEntry.fileName).append(raw: entry.bytes)
            sockets.accepted[inode] = Array(name)
        }
        // A stream that was never connected has no queue.
        if told.peer != 0 || told.state == 1 || type == 2 {
            try UnixSocketQueue.capture(file, inode: inode, id: id, type: type, into: dump)
        }
        sockets.peers[inode] = (told.peer, file.process.description, file.number)
        sockets.makers[inode] = peer
        return FileEntry.with {
            $0.type = .unixsk
            $0.id = id
            $0.usk = .with {
                $0.id = id
                $0.ino = inode
                $0.type = UInt32(type)
                $0.state = UInt32(told.state)
                $0.flags = file.info.flags
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
                "\(held.holder): descriptor \(held.number): socket:[\(inode)]: is connected to a unix socket outside "
                    + "the container")
        }
        for (inode, held) in sockets.peers where held.peer != 0 {
            // A datagram socket may be connected to one that is not connected to it; both ends may have a name.
            let isPair = sockets.accepted[inode] == nil && sockets.accepted[held.peer] == nil
            let isAccepted = (sockets.accepted[inode] == nil) != (sockets.accepted[held.peer] == nil)
            guard
                sockets.letterboxes.contains(held.peer)
                    || sockets.peers[held.peer]?.peer == inode
                        && (isAccepted || isPair && sockets.makers[inode] == sockets.makers[held.peer])
            else {
                throw CheckpointError(
                    "\(held.holder): descriptor \(held.number): socket:[\(inode)]: is a unix socket connected in a way "
                        + "that cannot be checkpointed yet")
            }
        }
        for (inode, name) in sockets.accepted where !sockets.listeners.contains(name) {
            let held = sockets.peers[inode]
            throw CheckpointError(
                "\(held?.holder ?? ""): descriptor \(held?.number ?? -1): socket:[\(inode)]: is a unix socket of a "
                    + "connection to a name under which nobody listens any more; it cannot be checkpointed yet")
        }
    }

    static func plan(_ restore: RestorePlan) throws {
        let state = restore[UnixSocketPair.self]
        for (id, entry) in restore.images.files where entry.hasUsk {
            if entry.usk.ino != 0 { state.entries[entry.usk.ino] = entry.usk }
            if entry.usk.state == 10 { state.listeners[Array(entry.usk.name)] = id }
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
            try finish(alone.raw, wanted, workshop)
            return alone
        }
        let other = state.entries[wanted.peer]
        if let other, NamedUnixSocket.isLetterbox(other), wanted.name.isEmpty {
            let sender = try NamedUnixSocket.send(to: other, in: workshop)
            try finish(sender, wanted, workshop)
            return try copy(sender)
        }
        guard other == nil || other?.peer == wanted.ino else {
            throw CheckpointError("unix socket \(wanted.id): is connected to one that is not connected to it")
        }
        let pair = try pair(wanted, other, type, workshop)
        // What waits in one socket was sent through the other.
        try UnixSocketQueue.recreate(of: wanted.id, through: pair.second, in: workshop)
        if let other { try UnixSocketQueue.recreate(of: other.id, through: pair.first, in: workshop) }
        try finish(pair.first, wanted, workshop)
        if let other {
            try finish(pair.second, other, workshop)
            state.waiting[other.ino] = OwnedSocket(try copy(pair.second))
        }
        return try copy(pair.first)
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

    static func finish(_ socket: CInt, _ wanted: UnixSkEntry, _ workshop: Workshop) throws {
        try SocketOptions.apply(wanted.opts, to: socket)
        for entry in SocketOptionTable.entries(workshop.images.socketOptions[wanted.id] ?? []) {
            try SocketOptions.set(socket, entry)
        }
        if CInt(bitPattern: wanted.flags) & O_NONBLOCK != 0 {
            try system("set flags of socket") { clinux_fcntl(socket, F_SETFL, Int(O_NONBLOCK)) }
        }
        if wanted.hasShutdown, wanted.shutdown != .none {
            let how = CInt(wanted.shutdown.rawValue - 1)
            try system("shut down socket") { shutdown(socket, how) }
        }
    }
}
