import CheckpointImages
import LinuxSystem
import Tracee

/// The messages that wait in a unix socket, each with whom the kernel will name as its sender (SO_PASSCRED), and with the
/// files that are under way in it (SCM_RIGHTS): each is one as a process has open, though none may have it.
enum UnixSocketQueue: Kind {
    final class DumpState: KindState {
        fileprivate var unread: [Queue] = []
        /// Files that no process has open, until the container goes on: nobody shall see them open for longer than it has them.
        fileprivate var underWay: [HeldFile] = []
        /// What messages of each socket take that nobody has received yet, and those that were found in each queue.
        fileprivate var sent: [UInt32: UInt32] = [:]
        fileprivate var queued: [UInt32: UInt32] = [:]
        /// What a message of this type and length takes.
        fileprivate var sizes: [SIMD2<CInt>: UInt32] = [:]
    }

    /// One that is to be read when it is known what all processes have open.
    fileprivate struct Queue {
        let id: UInt32
        let inode: UInt32
        let type: CInt
        let process: CapturedProcess
        let task: pid_t
        let number: CInt
        let name: String
        /// Anybody can have sent a message, by its name.
        let isLetterbox: Bool
    }

    /// A file that is closed with its last reference.
    fileprivate final class HeldFile {
        let descriptor: OwnedDescriptor
        init(_ raw: CInt) { descriptor = OwnedDescriptor(raw) }
    }

    private static let stream: CInt = 1
    private static let longest = 256 << 10
    private static let passesCredentials: CInt = 16
    private static let peekOffset: CInt = 42

    // MARK: Checkpoint

    static func note(
        _ file: borrowing OpenFile, id: UInt32, type: CInt, isLetterbox: Bool = false, in dump: Dump
    ) {
        dump[Self.self].unread.append(
            Queue(
                id: id, inode: UInt32(truncatingIfNeeded: file.status.st_ino), type: type, process: file.process,
                task: file.task, number: file.number, name: "\(file.holder): \(file.link)",
                isLetterbox: isLetterbox))
    }

    /// A socket may be under way itself, and have a queue.
    static func gather(_ dump: Dump) throws {
        let state = dump[Self.self]
        while !state.unread.isEmpty {
            let queue = state.unread.removeFirst()
            try about(queue.name) { try read(queue, into: dump) }
        }
    }

    static func resume(_ dump: Dump) throws { dump[Self.self].underWay = [] }

    /// Copies the messages without taking them. SO_PEEK_OFF: unix(7), Linux 3.4.
    private static func read(_ queue: Queue, into dump: Dump) throws {
        let taken =
            try queue.task == getpid()
            ? Pidfd(pid: queue.task).descriptor(queue.number)
            : Pidfd(task: queue.task, of: queue.process.hostPid).descriptor(queue.number)
        let socket = taken.raw
        try refuseExceptions(socket)
        let before = try (
            passes: SocketOptions.number(socket, SOL_SOCKET, passesCredentials),
            offset: SocketOptions.number(socket, SOL_SOCKET, peekOffset)
        )
        try SocketOptions.set(socket, SOL_SOCKET, passesCredentials, 1)
        defer { try? SocketOptions.set(socket, SOL_SOCKET, passesCredentials, before.passes) }
        defer { try? SocketOptions.set(socket, SOL_SOCKET, peekOffset, before.offset) }
        try SocketOptions.set(socket, SOL_SOCKET, peekOffset, 0)
        var (index, total, place) = (UInt32(0), UInt32(0), 0)
        // The end of a stream is an empty message, that of others one without a sender.
        while let (message, rights) = try next(socket, at: place, type: queue.type), let sender = message.sender,
            queue.type != stream || message.length > 0
        {
            guard message.length <= longest else {
                throw CheckpointError("a message of \(message.length) bytes is too long")
            }
            let files = try rights.map { try file($0, underWayTo: queue.process, in: dump) }
            let entry = SkPacketEntry.with {
                $0.idFor = queue.id
                $0.length = UInt32(message.length)
                $0.scm = SocketMessage.control(rights: files)
            }
            try dump.stream(.socketQueues).append(entry, payload: message.bytes)
            if let known = try named(sender, in: dump) {
                try dump.stream(raw: SocketOptionEntry.fileName).append(
                    raw: MessageSender(index: index, known).entry(of: queue.id).bytes)
            }
            let origin = Array(message.address.dropFirst(2))
            if queue.isLetterbox, !origin.isEmpty {
                try dump.stream(raw: SocketOptionEntry.fileName).append(
                    raw: MessageOrigin(index: index, name: origin).entry(of: queue.id).bytes)
            }
            index += 1
            place += message.length
            if queue.type != stream { total += try size(ofMessage: message.length, type: queue.type, in: dump) }
        }
        guard queue.type != stream else { return }
        dump[Self.self].queued[queue.inode] = total
        dump[Self.self].sent[queue.inode] = try SocketOptions.memory(socket).sent
    }

    /// - Parameter place: how many bytes of a stream are before it.
    private static func next(
        _ socket: CInt, at place: Int, type: CInt
    ) throws -> (message: PeekedMessage, rights: [HeldFile])? {
        guard var message = try peekMessage(socket, limit: longest) else { return nil }
        let rights = message.descriptors.map { HeldFile($0) }
        guard type == stream, !rights.isEmpty else { return (message, rights) }
        // In a stream they belong to the last piece alone: whoever reads less than what is before it does not get them.
        try SocketOptions.set(socket, SOL_SOCKET, peekOffset, CInt(clamping: place))
        let before = try peekWholePieces(socket, limit: message.length - 1)
        guard before > 0 || message.length < longest else {
            throw CheckpointError("a piece of a stream of \(message.length) bytes is too long")
        }
        let end = before > 0 ? before : message.length
        try SocketOptions.set(socket, SOL_SOCKET, peekOffset, CInt(clamping: place + end))
        guard before > 0 else { return (message, rights) }
        message.length = before
        message.bytes = Array(message.bytes.prefix(before))
        return (message, [])
    }

    /// The id of a file's entry.
    private static func file(_ held: HeldFile, underWayTo process: CapturedProcess, in dump: Dump) throws -> UInt32 {
        let file = try OpenFile(underWay: held.descriptor, to: process)
        let known = try about("\(file.link), which is under way in it") { try dump.files.known(file, into: dump) }
        // By this one others will be compared with it, and its content read.
        if known.task == file.task, known.number == file.number {
            try ResourceLimit.raiseOwnOpenFiles()
            dump[Self.self].underWay.append(held)
        }
        return known.id
    }

    /// What a walk with SO_PEEK_OFF does not show as it is. poll(2) tells of an error without taking it away.
    private static func refuseExceptions(_ socket: CInt) throws {
        var state = pollfd(fd: socket, events: Int16(POLLPRI), revents: 0)
        try system("poll unix socket") { poll(&state, 1, 0) }
        if state.revents & Int16(POLLPRI) != 0 {
            throw CheckpointError(
                passing:
                    "urgent data (MSG_OOB) in a unix socket cannot be checkpointed yet; let its reader take it first")
        }
        if state.revents & Int16(POLLERR) != 0 {
            throw CheckpointError(
                passing: "an error (a peer that was closed with bytes unread) that a unix socket is yet to tell "
                    + "cannot be checkpointed yet; let its reader take it first")
        }
    }

    /// As the container sees it; `nil` for a message without a sender.
    private static func named(_ sender: SenderCredentials, in dump: Dump) throws -> SenderCredentials? {
        // What the kernel says of none: overflowuid(5).
        if sender == SenderCredentials(process: 0, user: 65_534, group: 65_534) { return nil }
        return SenderCredentials(
            process: dump.innerPids[sender.process] ?? 0,
            user: try dump.userNamespace.inside(user: sender.user),
            group: try dump.userNamespace.inside(group: sender.group))
    }

    private static func size(ofMessage length: Int, type: CInt, in dump: Dump) throws -> UInt32 {
        let kind = SIMD2(type, CInt(length))
        if let known = dump[Self.self].sizes[kind] { return known }
        let pair = try socketPair(type)
        try SocketOptions.set(pair.first.raw, SOL_SOCKET, 32, CInt(2 * longest))  // SO_SNDBUFFORCE
        _ = try sendMessage(pair.first.raw, [UInt8](repeating: 0, count: length), from: nil)
        let size = try SocketOptions.memory(pair.first.raw).sent
        dump[Self.self].sizes[kind] = size
        return size
    }

    /// An empty message that somebody has looked at is not shown again. The kernel counts it for who sent it.
    static func seal(_ dump: Dump) throws {
        let state = dump[Self.self]
        try checkLetterboxes(dump)
        for (inode, queued) in state.queued {
            // Who may send to a letterbox may send to others.
            guard !dump[UnixSocketPair.self].letterboxes.contains(inode),
                let held = dump[UnixSocketPair.self].peers[inode], let sent = state.sent[held.peer], sent > queued
            else { continue }
            throw CheckpointError(
                passing: "\(held.holder): socket:[\(inode)]: an empty message that was looked at "
                    + "(MSG_PEEK) may wait in it, which cannot be checkpointed; let its reader take it first")
        }
    }

    /// Who may send to any letterbox has sent to all of them together.
    private static func checkLetterboxes(_ dump: Dump) throws {
        let (state, sockets) = (dump[Self.self], dump[UnixSocketPair.self])
        let senders = sockets.peers.filter { $0.value.peer == 0 || sockets.letterboxes.contains($0.value.peer) }.keys
        let sent = senders.reduce(0) { $0 + Int(state.sent[$1] ?? 0) }
        let queued = sockets.letterboxes.reduce(0) { $0 + Int(state.queued[$1] ?? 0) }
        guard sent > queued, let box = sockets.letterboxes.min(), let held = sockets.peers[box] else { return }
        throw CheckpointError(
            passing: "\(held.holder): socket:[\(box)]: an empty message that was looked at (MSG_PEEK) may wait in it "
                + "or in another datagram socket, or one in a socket outside the container, which cannot be checkpointed; let its reader "
                + "take it first")
    }

    // MARK: Restore

    final class RestoreState: KindState {
        /// Who has sent what was in a socket; `nil` for one that gets messages by its name.
        fileprivate var empty: [(id: UInt32, sender: CInt?)] = []
    }

    static func plan(_ restore: RestorePlan) throws {
        let images = restore.images
        for (id, messages) in images.socketQueues where !UDPQueue.takes(images.files[id]) {
            guard let socket = images.files[id], socket.hasUsk else {
                throw CheckpointError("sk-queues.img: file \(id) is no unix socket")
            }
            guard size(of: messages) <= restore.policy.longestUnixQueue else {
                throw CheckpointError(
                    "sk-queues.img: socket \(id) has \(messages.count) messages, more than one that this machine makes "
                        + "takes; raise net.core.wmem_max")
            }
            for message in messages {
                guard message.place.count <= longest else {
                    throw CheckpointError("sk-queues.img: a message of \(message.place.count) bytes is too long")
                }
                // A stream has none without bytes.
                guard message.rights.isEmpty || message.place.count > 0 || socket.usk.type != UInt32(stream),
                    message.rights.allSatisfy({ images.files.contains($0) })
                else { throw CheckpointError("sk-queues.img: socket \(id): files under way that cannot be") }
            }
        }
    }

    /// The least that the kernel counts for them.
    static func size(of messages: [SocketMessage]) -> Int {
        messages.reduce(0) { $0 + Int(clamping: $1.place.count) + 512 }
    }

    /// What waits in one socket was sent through another, which is in the engine's hands.
    static func note(_ id: UInt32, through sender: CInt?, in workshop: Workshop) {
        if workshop.images.socketQueues[id] != nil { workshop[Self.self].empty.append((id, sender)) }
    }

    /// When all files are made: any may be under way.
    static func settle(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        for (id, sender) in workshop[Self.self].empty {
            try about("queue of unix socket \(id)") { try fill(id, through: sender, in: workshop) }
        }
    }

    private static func fill(_ id: UInt32, through peer: CInt?, in workshop: Workshop) throws {
        let images = workshop.images
        let messages = images.socketQueues[id] ?? []
        let senders = try MessageSender.all(images.socketOptions[id] ?? [])
        let origins = try MessageOrigin.all(images.socketOptions[id] ?? [])
        let letterbox = peer == nil ? try Letterbox(id, in: workshop) : nil
        // SO_SNDBUFFORCE: it has its own size later.
        let room = SocketOptions.room(for: size(of: messages), SkOptsEntry())
        if let peer { try SocketOptions.set(peer, SOL_SOCKET, 32, room) }
        for (index, message) in messages.enumerated() {
            let bytes = try images.bytes(of: message.place, .socketQueues)
            let sender = try senders[UInt32(index)].map { sender in
                SenderCredentials(
                    process: workshop.processes[sender.process]?.stubs.first?.hostProcess ?? getpid(),
                    user: try workshop.userNamespace.outside(user: sender.user),
                    group: try workshop.userNamespace.outside(group: sender.group))
            }
            let files = try message.rights.map { try workshop.descriptor(for: $0) }
            func send(_ socket: CInt, to address: [UInt8] = []) throws -> Int {
                try sendMessage(socket, bytes, from: sender, descriptors: files, to: address)
            }
            let count =
                try peer.map { try send($0) } ?? letterbox?.with(origins[UInt32(index)] ?? [], room: room, send) ?? 0
            guard count == bytes.count else { throw CheckpointError("only \(count) bytes of a message fit into it") }
        }
    }
}

extension RestoreImages {
    /// The files that wait in the queues of these sockets, and in those of sockets among them.
    func filesUnderWay(to files: [UInt32]) -> [UInt32] {
        var found: Set<UInt32> = []
        var sockets = files
        while let socket = sockets.popLast() {
            for message in socketQueues[socket] ?? [] {
                sockets += message.rights.filter { found.insert($0).inserted }
            }
        }
        return found.sorted()
    }
}
