import CheckpointImages
import LinuxSystem

/// The messages that wait in a connected unix socket, each with whom the kernel will name as its sender (SO_PASSCRED).
enum UnixSocketQueue: Kind {
    final class DumpState: KindState {
        /// What messages of each socket take that nobody has received yet, and those that were found in each queue.
        fileprivate var sent: [UInt32: UInt32] = [:]
        fileprivate var queued: [UInt32: UInt32] = [:]
        /// What a message of this type and length takes.
        fileprivate var sizes: [SIMD2<CInt>: UInt32] = [:]
    }

    private static let longest = 256 << 10
    private static let passesCredentials: CInt = 16
    private static let peekOffset: CInt = 42

    // MARK: Checkpoint

    /// Copies the messages without taking them. SO_PEEK_OFF: unix(7), Linux 3.4.
    static func capture(
        _ file: borrowing OpenFile, inode: UInt32, id: UInt32, type: CInt, into dump: Dump
    ) throws {
        let (socket, link) = (file.descriptor.raw, file.link)
        try refuseExceptions(socket, link: link)
        let before = try (
            passes: SocketOptions.number(socket, SOL_SOCKET, passesCredentials),
            offset: SocketOptions.number(socket, SOL_SOCKET, peekOffset)
        )
        try SocketOptions.set(socket, SOL_SOCKET, passesCredentials, 1)
        defer { try? SocketOptions.set(socket, SOL_SOCKET, passesCredentials, before.passes) }
        try SocketOptions.set(socket, SOL_SOCKET, peekOffset, 0)
        defer { try? SocketOptions.set(socket, SOL_SOCKET, peekOffset, before.offset) }
        var (index, total) = (UInt32(0), UInt32(0))
        // The end of a stream is an empty message, that of others one without a sender.
        while let message = try about(link, { try peekMessage(socket, limit: longest) }), let sender = message.sender,
            type != 1 || message.length > 0
        {
            guard !message.hasDescriptors else {
                throw CheckpointError(
                    "\(link): descriptors on their way through a unix socket cannot be checkpointed yet; "
                        + "let its reader take them first")
            }
            guard message.length <= longest else {
                throw CheckpointError("\(link): a message of \(message.length) bytes is too long")
            }
            let entry = SkPacketEntry.with {
                $0.idFor = id
                $0.length = UInt32(message.length)
            }
            try dump.stream(.socketQueues).append(entry, payload: message.bytes)
            if let known = try named(sender, in: dump) {
                try dump.stream(raw: SocketOptionEntry.fileName).append(
                    raw: MessageSender(index: index, known).entry(of: id).bytes)
            }
            index += 1
            if type != 1 { total += try size(ofMessage: message.length, type: type, in: dump) }
        }
        guard type != 1 else { return }
        dump[Self.self].queued[inode] = total
        dump[Self.self].sent[inode] = try memory(of: socket)
    }

    /// What a walk with SO_PEEK_OFF does not show as it is. poll(2) tells of an error without taking it away.
    private static func refuseExceptions(_ socket: CInt, link: String) throws {
        var state = pollfd(fd: socket, events: Int16(POLLPRI), revents: 0)
        try system("poll unix socket") { poll(&state, 1, 0) }
        if state.revents & Int16(POLLPRI) != 0 {
            throw CheckpointError(
                "\(link): urgent data (MSG_OOB) in a unix socket cannot be checkpointed yet; let its reader take it first"
            )
        }
        if state.revents & Int16(POLLERR) != 0 {
            throw CheckpointError(
                "\(link): an error (a peer that was closed with bytes unread) that a unix socket is yet to tell cannot be "
                    + "checkpointed yet; let its reader take it first")
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

    /// The bytes that the kernel counts for what a socket has sent and nobody has received. SO_MEMINFO, Linux 4.12.
    private static func memory(of socket: CInt) throws -> UInt32 {
        try SocketOptions.bytes(socket, SOL_SOCKET, 55, limit: 36).integer(UInt32.self, at: 8) ?? 0
    }

    private static func size(ofMessage length: Int, type: CInt, in dump: Dump) throws -> UInt32 {
        let kind = SIMD2(type, CInt(length))
        if let known = dump[Self.self].sizes[kind] { return known }
        let pair = try socketPair(type)
        try SocketOptions.set(pair.first.raw, SOL_SOCKET, 32, CInt(2 * longest))  // SO_SNDBUFFORCE
        _ = try sendMessage(pair.first.raw, [UInt8](repeating: 0, count: length), from: nil)
        let size = try memory(of: pair.first.raw)
        dump[Self.self].sizes[kind] = size
        return size
    }

    /// An empty message that somebody has looked at is not shown again. The kernel counts it for who sent it.
    static func seal(_ dump: Dump) throws {
        let state = dump[Self.self]
        for (inode, queued) in state.queued {
            guard let held = dump[UnixSocketPair.self].peers[inode], let sent = state.sent[held.peer], sent > queued
            else { continue }
            throw CheckpointError(
                "\(held.holder): descriptor \(held.number): socket:[\(inode)]: an empty message that was looked at "
                    + "(MSG_PEEK) may wait in it, which cannot be checkpointed; let its reader take it first")
        }
    }

    // MARK: Restore

    /// What waits in one socket was sent through the other.
    static func recreate(of id: UInt32, through socket: CInt, in workshop: Workshop) throws {
        let images = workshop.images
        let senders = try MessageSender.all(images.socketOptions[id] ?? [])
        for (index, message) in (images.socketQueues[id] ?? []).enumerated() {
            guard message.count <= longest else {
                throw CheckpointError("sk-queues.img: a message of \(message.count) bytes is too long")
            }
            let bytes = try images.bytes(of: message, .socketQueues)
            let sender = try senders[UInt32(index)].map { sender in
                SenderCredentials(
                    process: workshop.processes[sender.process]?.stubs.first?.hostProcess ?? getpid(),
                    user: try workshop.userNamespace.outside(user: sender.user),
                    group: try workshop.userNamespace.outside(group: sender.group))
            }
            let count = try about("queue of a unix socket") { try sendMessage(socket, bytes, from: sender) }
            guard count == bytes.count else {
                throw CheckpointError("only \(count) bytes fit into a unix socket's queue")
            }
        }
    }
}

/// Whom a message of a queue is from, as an entry of `sockets.stasis`: u32 index, process, user, group.
struct MessageSender {
    private static let name: CInt = -1
    let index: UInt32
    let credentials: SenderCredentials

    init(index: UInt32, _ credentials: SenderCredentials) { (self.index, self.credentials) = (index, credentials) }

    func entry(of file: UInt32) -> SocketOptionEntry {
        let numbers = [index, UInt32(bitPattern: credentials.process), credentials.user, credentials.group]
        return SocketOptionEntry(
            file: file, level: SOL_SOCKET, name: Self.name, value: [UInt8](integers: numbers))
    }

    static func keeps(_ entry: SocketOptionEntry) -> Bool { entry.level == SOL_SOCKET && entry.name == name }

    static func all(_ entries: [SocketOptionEntry]) throws -> [UInt32: SenderCredentials] {
        var found: [UInt32: SenderCredentials] = [:]
        for entry in entries where keeps(entry) {
            guard let index = entry.value.integer(UInt32.self, at: 0), let pid = entry.value.integer(pid_t.self, at: 4),
                let user = entry.value.integer(UInt32.self, at: 8), let group = entry.value.integer(UInt32.self, at: 12)
            else { throw CheckpointError("\(SocketOptionEntry.fileName): a sender of \(entry.value.count) bytes") }
            found[index] = SenderCredentials(process: pid, user: user, group: group)
        }
        return found
    }
}
