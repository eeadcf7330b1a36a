import CheckpointImages
import LinuxSystem

/// What TCP connections need beyond their sockets' entries: silence on their network while they are read and until they are
/// back, and `tcp-stream-INODE.img` with what TCP_REPAIR tells. tcp(7)
enum TCPConnection: Kind {
    final class DumpState: KindState {
        fileprivate var lock: ConnectionLock?
        /// The first, which goes with the other: to take one away takes the kernel some milliseconds.
        fileprivate var ports: ConnectionLock?
        fileprivate var found: [Found] = []
        /// Those that have been read, held to be closed in silence when the container is dead.
        fileprivate var held: [OwnedSocket] = []
    }

    final class RestoreState: KindState {
        fileprivate(set) var lock = ConnectionLock("", [], ports: [])
        fileprivate(set) var closes = false
        fileprivate var rebuilt: [RebuiltConnection] = []
    }

    fileprivate final class OwnedSocket {
        let descriptor: OwnedDescriptor
        init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }
    }

    /// A connection by one of its descriptors.
    fileprivate struct Found {
        let inode: UInt32
        let process: CapturedProcess
        let number: CInt
        let link: String
    }

    private static let tcp: CInt = 6
    /// ESTABLISHED, SYN_SENT, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING.
    static let states: Set<UInt32> = [1, 2, 4, 5, 8, 9, 11]

    // MARK: Checkpoint

    /// What sock_diag tells of a socket; nil of one that it does not know, which is none of a connection.
    static func told(_ inode: UInt32, of dump: Dump) throws -> InternetDiagnosis? {
        try InternetSocket.told(of: tcp, in: dump)[inode]
    }

    /// Locks the container's connections before anything of them is read.
    static func capture(_ request: CheckpointRequest, into dump: Dump) throws {
        guard dump.options.tcpEstablished else { return }
        let state = dump[Self.self]
        let told = try InternetSocket.told(of: tcp, in: dump)
        let own = try inodes(of: dump.processes).compactMap { told[$0] }
        let connections = own.filter { states.contains(UInt32($0.state)) }
        let listening = Set(own.filter { $0.state == 10 }.map(\.local.port))
        try inNamespace(.network, of: dump.first.hostPid) {
            guard try !connections.isEmpty || !queued(at: listening).isEmpty else { return }
            // First the ports: nobody else gets into a queue from then on.
            let ports = ConnectionLock("\(request.container.prefix(140)) ports", [], ports: listening)
            try ports.close()
            let queued = try queued(at: listening)
            let lock = ConnectionLock(request.container, Set((connections + queued).map(\.name)), ports: listening)
            try lock.close()
            (state.lock, state.ports, dump[QueuedConnection.self].told) = (lock, ports, queued)
        }
        InternetSocket.forget(tcp, in: dump)
    }

    /// What waits to be accepted at these ports of the caller's network.
    private static func queued(at ports: Set<UInt16>) throws -> [InternetDiagnosis] {
        if ports.isEmpty { return [] }
        return try InternetDiagnosis.all(of: tcp).filter {
            $0.inode == 0 && QueuedConnection.states.contains(UInt32($0.state)) && ports.contains($0.local.port)
        }
    }

    /// Of all sockets that the processes have open.
    private static func inodes(of processes: [CapturedProcess]) throws -> Set<UInt32> {
        var inodes: Set<UInt32> = []
        for process in processes where !process.isZombie {
            for number in try directoryEntries("/proc/\(process.task)/fd") {
                let link = try linkTarget("/proc/\(process.task)/fd/\(number)")
                guard link.hasPrefix("socket:["), let inode = UInt32(link.dropFirst(8).dropLast()) else { continue }
                inodes.insert(inode)
            }
        }
        return inodes
    }

    /// Refuses what cannot be kept of a connection, and notes it for ``seal(_:)``.
    static func capture(_ file: borrowing OpenFile, _ told: InternetDiagnosis, into dump: Dump) throws {
        let what = "\(file.link): a TCP connection from \(told.local) to \(told.remote)"
        guard dump.options.tcpEstablished || dump.options.tcpClose else {
            throw CheckpointError(
                "\(what) is kept only with --tcp-established, or comes back closed with --tcp-close; or close it first")
        }
        guard dump.options.tcpEstablished else { return }
        var state = pollfd(fd: file.descriptor.raw, events: Int16(POLLPRI), revents: 0)
        try system("poll TCP socket") { poll(&state, 1, 0) }
        guard state.revents & Int16(POLLPRI | POLLERR) == 0 else {
            throw CheckpointError(
                passing: "\(what): urgent data or an error that nobody has read yet cannot be checkpointed; let its "
                    + "program read it"
            )
        }
        dump[Self.self].found.append(
            Found(inode: told.inode, process: file.process, number: file.number, link: file.link))
    }

    /// The bytes that nobody has read of a connection that is over.
    static func captureEnd(_ socket: CInt, inode: UInt32, into dump: Dump) throws {
        let received = try RepairedConnection.unread(socket)
        let stream = TcpStreamEntry.with {
            $0.inqLen = UInt32(received.count)
            ($0.inqSeq, $0.outqLen, $0.outqSeq) = (0, 0, 0)
            ($0.optMask, $0.sndWscale, $0.mssClamp) = (0, 0, 0)
        }
        let image = try ImageStream(.tcpStream, inode, in: dump.directory)
        try image.append(stream, payload: received)
        try dump.images.add(image)
    }

    /// Reads the connections, which are locked since before their entries were made.
    static func seal(_ dump: Dump) throws {
        let state = dump[Self.self]
        if state.found.isEmpty { return }
        try ResourceLimit.raiseOwnOpenFiles()
        // Queues of so many are in memory at once.
        for start in stride(from: 0, to: state.found.count, by: 32) {
            let found = state.found[start..<min(start + 32, state.found.count)]
            let sockets = try found.map { OwnedSocket(try $0.process.descriptor($0.number)) }
            let read = try about("\(found.first?.process.description ?? ""): \(found.first?.link ?? "")") {
                try RepairedConnection.read(sockets.map { $0.descriptor.raw })
            }
            for (found, connection) in zip(found, read) { try add(connection, inode: found.inode, into: dump) }
            state.held += sockets
            dump.account.keep(Self.self, count: found.count)
        }
    }

    static func add(_ connection: RepairedConnection, inode: UInt32, into dump: Dump) throws {
        let stream = try TcpStreamEntry(connection)
        let image = try ImageStream(.tcpStream, inode, in: dump.directory)
        try image.append(stream, payload: connection.received + connection.sent)
        try dump.images.add(image)
    }

    /// Lets peers speak again before the container does.
    static func resume(_ dump: Dump) throws {
        try dump[Self.self].lock?.open()
        try dump[Self.self].ports?.open()
    }

    static func end(_ dump: Dump) {
        guard let lock = dump[Self.self].lock else { return }
        do {
            try inNamespace(.network, of: dump.first.hostPid) {
                if dump.request.makesNetwork { try lock.keepSilentToTheEnd() } else { try lock.leaveBehind() }
            }
        } catch {
            dump.request.logger.warning("peers may see the container's connections reset: \(error)")
        }
    }

    /// A socket that is closed in repair mode says nothing to its peer.
    static func bury(_ dump: Dump) {
        for socket in dump[Self.self].held {
            do { try SocketOptions.set(socket.descriptor.raw, 6, 19, 1) } catch {
                dump.request.logger.warning("a peer may see its connection reset: \(error)")
            }
        }
        dump[Self.self].held = []
    }

    // MARK: Restore

    static func plan(_ restore: RestorePlan) throws {
        var names: Set<ConnectionName> = []
        var ports: Set<UInt16> = []
        for file in restore.images.files.all(.inetsk) where TCPSocket.isOne(file.isk) {
            let (id, wanted) = (file.id, file.isk)
            guard wanted.proto == 6 || TCPSocket.isWithoutPeer(wanted) else {
                throw CheckpointError("socket \(id): an MPTCP connection cannot be restored yet")
            }
            if wanted.state == 10 { ports.insert(UInt16(truncatingIfNeeded: wanted.srcPort)) }
            guard wanted.hasShutdown || states.contains(wanted.state) else { continue }
            try about("socket \(id)") {
                guard wanted.state != 7 else {
                    return try check(try stream(of: wanted, in: restore.images).entry, restore.policy)
                }
                let (local, remote) = (try wanted.local(interface: 0), try wanted.remote(interface: 0))
                guard local.bytes.count == remote.bytes.count, local.port != 0, remote.port != 0 else {
                    throw CheckpointError("a TCP connection from \(local) to \(remote) is none")
                }
                guard restore.options.tcpEstablished || restore.options.tcpClose else {
                    throw CheckpointError(
                        "a TCP connection from \(local) to \(remote) comes back only with --tcp-established, or closed "
                            + "with --tcp-close")
                }
                if restore.options.tcpClose { return }
                try check(try stream(of: wanted, in: restore.images).entry, restore.policy)
                names.insert(
                    ConnectionName(local: local.bytes, local.port, remote: remote.bytes, remote.port))
            }
        }
        restore[Self.self].closes = restore.options.tcpClose
        restore[Self.self].lock = ConnectionLock("restore", names, ports: names.isEmpty ? [] : ports)
    }

    /// What the kernel would not find out by itself.
    private static func check(_ stream: TcpStreamEntry, _ policy: RestorePolicy) throws {
        guard stream.unsqLen <= stream.outqLen, stream.sndWscale <= 14, stream.rcvWscale <= 14 else {
            throw CheckpointError(
                "tcp-stream: \(stream.unsqLen) of \(stream.outqLen) bytes unsent, or scales that TCP has not")
        }
        try policy.checkQueues(received: stream.inqLen, sent: stream.outqLen)
    }

    static func stream(of wanted: InetSkEntry, in images: RestoreImages) throws -> TCPStream {
        var all: [(TcpStreamEntry, PayloadPlace)] = []
        let image = try images.directory.visit(.tcpStream, wanted.ino, as: TcpStreamEntry.self) { all.append(($0, $1)) }
        guard let (entry, place) = all.first, all.count == 1 else {
            throw CheckpointError(
                "\(ImageKind.tcpStream.fileName(wanted.ino)): has \(all.count) entries instead of one")
        }
        return TCPStream(entry: entry, image: image, place: place)
    }

    /// Of a connection that is over.
    static func unread(of wanted: InetSkEntry, in images: RestoreImages) throws -> ArraySlice<UInt8> {
        let stream = try stream(of: wanted, in: images)
        return try stream.queues().prefix(Int(stream.entry.inqLen))
    }

    static func finish(_ rebuilt: RebuiltConnection, in workshop: Workshop) {
        workshop[Self.self].rebuilt.append(rebuilt)
    }

    /// Ends repair mode, while nobody hears it, and lets the network through.
    static func release(_ restore: RestorePlan) throws {
        let state = restore[Self.self]
        for connection in state.rebuilt { try connection.leaveRepair() }
        try state.lock.open()
        for connection in state.rebuilt { try connection.speak() }
        if !state.lock.isEmpty, let first = restore.first.stubs.first {
            try inNamespace(.network, of: first.hostProcess) { try state.lock.forgetLeftBehind() }
        }
        state.rebuilt = []
    }
}

/// A connection's image.
struct TCPStream: ~Copyable {
    let entry: TcpStreamEntry
    fileprivate let image: RawImage
    fileprivate let place: PayloadPlace

    /// The bytes of both: received, then sent.
    func queues() throws -> ArraySlice<UInt8> { try image.bytes(place, "tcp-stream")[...] }
}

extension TcpStreamEntry {
    init(_ connection: RepairedConnection) throws {
        let information = connection.information
        let ends = [4, 5, 9, 11].contains(information[0])
        self = .with {
            $0.inqLen = UInt32(connection.received.count)
            $0.inqSeq = connection.receiveSequence
            $0.outqLen = UInt32(connection.sent.count)
            $0.outqSeq = connection.sendSequence
            // struct tcp_info: options, and both scales in one byte.
            $0.optMask = UInt32(information[5])
            $0.sndWscale = UInt32(information[6] & 15)
            $0.rcvWscale = UInt32(information[6] >> 4)
            $0.mssClamp = connection.maximumSegment
            $0.timestamp = connection.timestamp
            // The FIN is no data.
            $0.unsqLen = min(connection.unsent - (ends && connection.unsent > 0 ? 1 : 0), UInt32(connection.sent.count))
            $0.sndWl1 = connection.window[0]
            $0.sndWnd = connection.window[1]
            $0.maxWindow = connection.window[2]
            $0.rcvWnd = connection.window[3]
            $0.rcvWup = connection.window[4]
        }
    }
}

extension InetSkEntry {
    func local(interface: UInt32) throws -> InternetAddress {
        try InternetAddress(CInt(truncatingIfNeeded: family), srcAddr, port: srcPort, interface: interface)
    }

    func remote(interface: UInt32) throws -> InternetAddress {
        try InternetAddress(CInt(truncatingIfNeeded: family), dstAddr, port: dstPort, interface: interface)
    }
}
