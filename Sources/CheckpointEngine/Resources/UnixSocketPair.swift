import CheckpointImages
import LinuxSystem

/// Unix sockets without a name that are connected to each other, as socketpair(2) makes them, with what is under way
/// between them; and such whose other end is closed.
enum UnixSocketPair: FileKind {
    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.status.isSocket else { return nil }
        let socket = file.descriptor.raw
        guard try SocketOptions.number(socket, SOL_SOCKET, SO_DOMAIN) == AF_UNIX else { return nil }
        try SignalOwner.refuseSignals(file)
        let inode = UInt32(truncatingIfNeeded: file.status.st_ino)
        guard let told = try dump.unixSockets()[inode] else {
            throw CheckpointError("\(file.link): the kernel does not know this unix socket in the container's network")
        }
        let type = try SocketOptions.number(socket, SOL_SOCKET, SO_TYPE)
        if !told.name.isEmpty {
            guard type != 2 else {
                throw CheckpointError(
                    "\(file.link): a unix datagram socket bound to \(told.printableName) that is connected "
                        + "cannot be checkpointed yet")
            }
            dump.unixAccepted[inode] = told.name
        }
        var options = try SocketOptions.capture(socket)
        options.soPasscred = try SocketOptions.number(socket, SOL_SOCKET, SO_PASSCRED) != 0
        // Of a stream, or where nothing more can come, an empty answer is the end; elsewhere it is an empty message.
        let isEndless = type != 1 && told.shutdown & 1 == 0 && told.peer != 0
        try captureQueue(of: socket, id: id, isEndless: isEndless, link: file.link, into: dump)
        dump.unixPeers[inode] = (told.peer, file.process.description, file.number)
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

    private static let longestMessage = 256 << 10

    /// Copies the messages that wait in a socket without taking them. SO_PEEK_OFF: unix(7), Linux 3.4.
    private static func captureQueue(
        of socket: CInt, id: UInt32, isEndless: Bool, link: String, into dump: Dump
    ) throws {
        let before = try SocketOptions.number(socket, SOL_SOCKET, 42)
        try SocketOptions.set(socket, SOL_SOCKET, 42, 0)
        defer { try? SocketOptions.set(socket, SOL_SOCKET, 42, before) }
        var buffer = [UInt8](repeating: 0, count: longestMessage)
        while true {
            var control = [UInt8](repeating: 0, count: 1024)
            var controlLength = 0
            let count = buffer.withUnsafeMutableBytes { raw in
                control.withUnsafeMutableBytes { control in
                    var vector = iovec(iov_base: raw.baseAddress, iov_len: raw.count)
                    return withUnsafeMutablePointer(to: &vector) { vector in
                        var message = msghdr()
                        message.msg_iov = vector
                        message.msg_iovlen = 1
                        message.msg_control = control.baseAddress
                        message.msg_controllen = control.count
                        // MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC
                        let count = recvmsg(socket, &message, 0x4000_0062)
                        controlLength = message.msg_controllen
                        return count
                    }
                }
            }
            if count < 0 {
                let error = Errno.current
                if error == .resourceTemporarilyUnavailable || error == .connectionReset { return }
                throw SystemError(error, "peek into \(link)")
            }
            guard !closeRights(control[..<controlLength]) else {
                throw CheckpointError(
                    "\(link): descriptors on their way through a unix socket cannot be checkpointed yet")
            }
            guard count <= buffer.count else {
                throw CheckpointError("\(link): a message of \(count) bytes is too long")
            }
            if count == 0 && !isEndless { return }
            let entry = SkPacketEntry.with {
                $0.idFor = id
                $0.length = UInt32(count)
            }
            try dump.socketQueues.append(entry, payload: buffer[..<count])
        }
    }

    /// Closes the copies of descriptors that came along with a message that was only looked at.
    ///
    /// - Returns: whether there were any.
    private static func closeRights(_ control: ArraySlice<UInt8>) -> Bool {
        var rest = control
        var found = false
        // struct cmsghdr: length 8, level 4, type 4, data; SCM_RIGHTS is 1.
        while rest.count >= 16 {
            let header = Array(rest.prefix(16)).withUnsafeBytes {
                (Int($0.loadUnaligned(as: UInt64.self)), $0.loadUnaligned(fromByteOffset: 12, as: Int32.self))
            }
            guard header.0 >= 16, header.0 <= rest.count else { break }
            if header.1 == 1 {
                found = true
                for start in stride(from: 16, to: header.0 - 3, by: 4) {
                    let bytes = Array(rest.dropFirst(start).prefix(4))
                    close(bytes.withUnsafeBytes { $0.loadUnaligned(as: CInt.self) })
                }
            }
            rest = rest.dropFirst((header.0 + 7) & ~7)
        }
        return found
    }

    /// Fails if a socket is connected to somebody outside the container.
    static func verify(_ dump: Dump) throws {
        for (inode, held) in dump.unixPeers where held.peer != 0 && dump.unixPeers[held.peer] == nil {
            throw CheckpointError(
                "\(held.holder): descriptor \(held.number): socket:[\(inode)]: is connected to a unix socket outside "
                    + "the container")
        }
        for (inode, held) in dump.unixPeers where held.peer != 0 {
            // A datagram socket may be connected to one that is not connected to it; both ends may have a name.
            guard dump.unixPeers[held.peer]?.peer == inode,
                dump.unixAccepted[inode] == nil || dump.unixAccepted[held.peer] == nil
            else {
                throw CheckpointError(
                    "\(held.holder): descriptor \(held.number): socket:[\(inode)]: is a unix socket connected in a way "
                        + "that cannot be checkpointed yet")
            }
        }
        for (inode, name) in dump.unixAccepted where !dump.unixListeners.contains(name) {
            let held = dump.unixPeers[inode]
            throw CheckpointError(
                "\(held?.holder ?? ""): descriptor \(held?.number ?? -1): socket:[\(inode)]: is a unix socket bound to a "
                    + "name under which nobody listens any more; it cannot be checkpointed yet")
        }
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasUsk else { return nil }
        let wanted = entry.usk
        if let waiting = workshop.unixSockets.removeValue(forKey: wanted.ino) {
            return OwnedDescriptor(waiting)
        }
        let type = CInt(truncatingIfNeeded: wanted.type)
        guard wanted.peer != 0 || wanted.state == 1 else {
            let alone = OwnedDescriptor(
                CInt(try systemCall("socket", Int(SYS_socket), Int(AF_UNIX), Int(type | O_CLOEXEC), 0)))
            try finish(alone.raw, wanted)
            return alone
        }
        let other = workshop.unixEntry(inode: wanted.peer)
        guard other == nil || other?.peer == wanted.ino else {
            throw CheckpointError("unix socket \(wanted.id): is connected to one that is not connected to it")
        }
        let pair = try pair(wanted, other, type, workshop)
        // What waits in one socket was sent through the other.
        try send(workshop.images.socketQueues[wanted.id] ?? [], in: workshop.images, through: pair.second)
        if let other {
            try send(workshop.images.socketQueues[other.id] ?? [], in: workshop.images, through: pair.first)
        }
        try finish(pair.first, wanted)
        if let other {
            try finish(pair.second, other)
            workshop.unixSockets[other.ino] = try copy(pair.second).release()
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
        if !wanted.name.isEmpty {
            let ends = try NamedUnixSocket.connect(to: Array(wanted.name), type: type, in: workshop)
            return (ends.server, ends.client)
        }
        if let other, !other.name.isEmpty {
            let ends = try NamedUnixSocket.connect(to: Array(other.name), type: type, in: workshop)
            return (ends.client, ends.server)
        }
        let pair = try workshop.inNetworkNamespace { try socketPair(type) }
        return (workshop.keep(try pair.first.duplicate()), workshop.keep(try pair.second.duplicate()))
    }

    static func finish(_ socket: CInt, _ wanted: UnixSkEntry) throws {
        try SocketOptions.apply(wanted.opts, to: socket)
        if CInt(bitPattern: wanted.flags) & O_NONBLOCK != 0 {
            try system("set flags of socket") { clinux_fcntl(socket, F_SETFL, Int(O_NONBLOCK)) }
        }
        if wanted.hasShutdown, wanted.shutdown != .none {
            let how = CInt(wanted.shutdown.rawValue - 1)
            try system("shut down socket") { shutdown(socket, how) }
        }
    }

    private static func send(_ messages: [PayloadPlace], in images: RestoreImages, through socket: CInt) throws {
        for message in messages {
            guard message.count <= longestMessage else {
                throw CheckpointError("sk-queues.img: a message of \(message.count) bytes is too long")
            }
            let bytes = try images.bytes(of: message, .socketQueues)
            let count = try system("fill the queue of a unix socket") {
                bytes.withUnsafeBytes { LinuxSystem.send(socket, $0.baseAddress, $0.count, 0x4040) }
            }
            guard count == bytes.count else {
                throw CheckpointError("only \(count) bytes fit into a unix socket's queue")
            }
        }
    }
}
