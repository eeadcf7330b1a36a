import CheckpointImages
import LinuxSystem
import Tracee

/// A TCP connection on its way back: made in repair mode, in which it neither sends nor hears anything, until the container
/// is about to run. The network is locked meanwhile.
final class RebuiltConnection {
    private let descriptor: OwnedDescriptor
    private let wanted: InetSkEntry
    private let stream: TcpStreamEntry
    private let unsent: ArraySlice<UInt8>

    private static let tcp: CInt = 6
    private static let repair: CInt = 19, queue: CInt = 20, sequence: CInt = 21, unsentLimit: CInt = 25
    private static let (off, on, offInSilence): (CInt, CInt, CInt) = (0, 1, -1)
    private static let (receiving, sending): (CInt, CInt) = (1, 2)

    private static let hasEnded: Set<UInt32> = [4, 5, 9, 11]
    private static let peerHasEnded: Set<UInt32> = [8, 9, 11]
    private static let synSent: UInt32 = 2

    /// Before the socket has an address: sequence numbers are set of a socket that is no connection yet.
    static func begin(_ socket: CInt, _ wanted: InetSkEntry, _ stream: TcpStreamEntry) throws {
        try SocketOptions.set(socket, tcp, repair, on)
        // A FIN counts in the numbers, and not in the queues.
        let received = stream.inqSeq &- stream.inqLen &- (peerHasEnded.contains(wanted.state) ? 1 : 0)
        let ends: UInt32 = hasEnded.contains(wanted.state) || wanted.state == synSent ? 1 : 0
        let sent = stream.outqSeq &- stream.outqLen &- ends
        for (queue, sequence) in [(receiving, received), (sending, sent)] {
            try SocketOptions.set(socket, tcp, Self.queue, queue)
            try SocketOptions.set(socket, tcp, Self.sequence, CInt(bitPattern: sequence))
        }
    }

    /// The socket has its address.
    init(
        _ socket: CInt, _ wanted: InetSkEntry, to remote: InternetAddress, from local: InternetAddress,
        in workshop: Workshop
    ) throws {
        descriptor = OwnedDescriptor(try system("copy socket") { clinux_fcntl(socket, F_DUPFD_CLOEXEC, 0) })
        let image = try TCPConnection.stream(of: wanted, in: workshop.images)
        let (entry, bytes) = (image.entry, try image.queues())
        let (received, sent) = (bytes.prefix(Int(entry.inqLen)), bytes.dropFirst(Int(entry.inqLen)))
        let old = sent.count - Int(entry.unsqLen)
        // Not a part of all of it, which would be held as long.
        unsent = Array(sent.dropFirst(old))[...]
        self.wanted = wanted
        stream = entry
        let what = "connect \(local) to \(remote) in repair mode"
        if wanted.state == Self.synSent {
            try ask(socket, remote, what)
            return
        }
        try RepairedConnection.connect(socket, remote.sockaddr, what)
        try setOptions()
        let room = SocketOptions.room(for: Int(max(entry.inqLen, entry.outqLen)), wanted.opts)
        try SocketOptions.set(socket, SOL_SOCKET, 33, room)  // SO_RCVBUFFORCE
        try SocketOptions.set(socket, SOL_SOCKET, 32, room)  // SO_SNDBUFFORCE
        try SocketOptions.set(socket, Self.tcp, Self.queue, Self.receiving)
        try RepairedConnection.fill(socket, received)
        try SocketOptions.set(socket, Self.tcp, Self.queue, Self.sending)
        try RepairedConnection.fill(socket, sent.prefix(old))
        try setWindow()
        let name = ConnectionName(local: local.bytes, local.port, remote: remote.bytes, remote.port)
        try workshop.inNetworkNamespace { try end(name, interface: remote.interface) }
    }

    /// SYN_SENT: asks the peer again, with the same number.
    private func ask(_ socket: CInt, _ remote: InternetAddress, _ what: String) throws {
        try SocketOptions.set(socket, Self.tcp, Self.repair, Self.offInSilence)
        let flags = try system("flags of socket") { clinux_fcntl(socket, F_GETFL, 0) }
        try system("flags of socket") { clinux_fcntl(socket, F_SETFL, Int(flags | O_NONBLOCK)) }
        try RepairedConnection.connect(socket, remote.sockaddr, what)
        try system("flags of socket") { clinux_fcntl(socket, F_SETFL, Int(flags)) }
    }

    /// TCP_REPAIR_OPTIONS: what both ends agreed upon when they met.
    private func setOptions() throws {
        // Bits of tcpi_options, and numbers of options in a header: RFC 9293, RFC 7323.
        let mask = stream.optMask
        var options: [UInt32] = [2, stream.mssClamp]
        if mask & 4 != 0 { options += [3, stream.sndWscale | stream.rcvWscale << 16] }
        if mask & 2 != 0 { options += [4, 0] }
        if mask & 1 != 0 { options += [8, 0] }
        try SocketOptions.set(
            descriptor.raw,
            SocketOptionEntry(file: wanted.id, level: Self.tcp, name: 22, value: [UInt8](integers: options)))
        guard mask & 1 != 0, stream.hasTimestamp else { return }
        // An odd number asks for stamps in microseconds (Linux 6.7, TCPI_OPT_USEC_TS); older kernels say odd ones, too.
        let timestamp = mask & 64 != 0 ? stream.timestamp : stream.timestamp & ~1
        try SocketOptions.set(descriptor.raw, Self.tcp, 24, CInt(bitPattern: timestamp))
    }

    /// TCP_REPAIR_WINDOW
    private func setWindow() throws {
        guard stream.hasRcvWup else { return }
        let isEnd: UInt32 = Self.peerHasEnded.contains(wanted.state) ? 1 : 0
        let window = [
            stream.sndWl1, stream.sndWnd, stream.maxWindow, stream.rcvWnd &+ isEnd, stream.rcvWup &- isEnd,
        ]
        try SocketOptions.set(
            descriptor.raw,
            SocketOptionEntry(file: wanted.id, level: Self.tcp, name: 29, value: [UInt8](integers: window)))
    }

    /// Ends the directions that have ended, each in its turn: by shutdown(2), which says nothing in repair mode, and by
    /// what the peer has said then.
    private func end(_ name: ConnectionName, interface: UInt32) throws {
        let isWaiting = stream.unsqLen > 0
        func shutDown() throws {
            try SocketOptions.set(descriptor.raw, Self.tcp, Self.queue, Self.sending)
            try system("shut down socket") { shutdown(descriptor.raw, CInt(SHUT_WR)) }
        }
        func hear(_ flags: ForgedSegment.Flags, sequence: UInt32, acknowledged: UInt32, then state: UInt8) throws {
            let window = UInt16(clamping: stream.sndWnd >> min(stream.sndWscale, 14))
            try ForgedSegment(
                to: name, sequence: sequence, acknowledged: acknowledged, flags: flags, window: window
            ).send(interface: interface)
            try Self.expectState(state, of: descriptor.raw)
        }
        let end = stream.inqSeq &- 1
        // What the peer has acknowledged of ours.
        let ends: UInt32 = Self.hasEnded.contains(wanted.state) ? 1 : 0
        let acknowledged = stream.outqSeq &- stream.outqLen &- ends
        switch wanted.state {
        case 8: try hear([.end, .acknowledgement], sequence: end, acknowledged: acknowledged, then: 8)
        case 9:
            try hear([.end, .acknowledgement], sequence: end, acknowledged: acknowledged, then: 8)
            if !isWaiting { try shutDown() }
        case 4: if !isWaiting { try shutDown() }
        case 5:
            try shutDown()
            try hear(.acknowledgement, sequence: stream.inqSeq, acknowledged: stream.outqSeq, then: 5)
        case 11:
            try shutDown()
            try hear([.end, .acknowledgement], sequence: end, acknowledged: acknowledged, then: 11)
        default: break
        }
    }

    static func expectState(_ state: UInt8, of socket: CInt) throws {
        let end = Deadline.patience
        var now = try SocketOptions.bytes(socket, tcp, TCP_INFO, limit: 104)[0]
        while now != state, !end.hasPassed {
            usleep(100)
            now = try SocketOptions.bytes(socket, tcp, TCP_INFO, limit: 104)[0]
        }
        guard now == state else {
            throw CheckpointError("a TCP connection is in state \(now), and was to be in \(state); is `lo` up?")
        }
    }

    // MARK: The container is about to run

    func leaveRepair() throws {
        guard wanted.state != Self.synSent else { return }
        try SocketOptions.set(descriptor.raw, Self.tcp, Self.repair, Self.offInSilence)
        // What does not get through yet is kept.
        if !unsent.isEmpty {
            // Neither the buffer's size nor this limit counts bytes alone: packets of other sizes than before reach it sooner.
            let limit = try SocketOptions.number(descriptor.raw, Self.tcp, Self.unsentLimit)
            try SocketOptions.set(descriptor.raw, Self.tcp, Self.unsentLimit, -1)
            try RepairedConnection.fill(descriptor.raw, unsent)
            try SocketOptions.set(descriptor.raw, Self.tcp, Self.unsentLimit, limit)
            if Self.hasEnded.contains(wanted.state) {
                try system("shut down socket") { shutdown(descriptor.raw, CInt(SHUT_WR)) }
            }
        }
        try SocketOptions.applyBuffers(wanted.opts, to: descriptor.raw)
        if wanted.shutdown == .read || wanted.shutdown == .both {
            try system("shut down socket") { shutdown(descriptor.raw, CInt(SHUT_RD)) }
        }
    }

    /// The peer answers a window probe by what it has got and has room for, so that nobody waits for a timer.
    func speak() throws {
        guard wanted.state != Self.synSent else { return }
        try SocketOptions.set(descriptor.raw, Self.tcp, Self.repair, Self.off)
        try SocketOptions.set(descriptor.raw, SOL_SOCKET, SO_REUSEADDR, wanted.opts.reuseaddr ? 1 : 0)
    }
}

/// A TCP socket whose connection is over: bytes that nobody has read, then the end, or the peer's reset.
enum EndedConnection {
    /// - Parameter tells: whether the program is yet to see that the connection was reset.
    static func end(_ socket: CInt, _ wanted: InetSkEntry, received: ArraySlice<UInt8>, tells: Bool) throws {
        // With whoever: it is over before anybody hears of it. `lo` is there in every network.
        let isV4 = wanted.family == UInt32(AF_INET)
        let loopback = UInt32(0x7f00_0001).bigEndian
        let words =
            isV4
            ? [loopback] : wanted.v6Only ? [0, 0, 0, UInt32(1).bigEndian] : [0, 0, UInt32(0xffff).bigEndian, loopback]
        let family = CInt(truncatingIfNeeded: wanted.family)
        let peer = try InternetAddress(family, words, port: 9)
        try SocketOptions.set(socket, 6, 19, 1)
        try RepairedConnection.connect(socket, peer.sockaddr, "make a connection that is over")
        let room = SocketOptions.room(for: received.count, wanted.opts)
        try SocketOptions.set(socket, SOL_SOCKET, 33, room)
        try SocketOptions.set(socket, 6, 20, 1)
        try RepairedConnection.fill(socket, received)
        let next = UInt32(bitPattern: try SocketOptions.number(socket, 6, 21))
        let own = try InternetAddress.local(of: socket, family)
        let name = ConnectionName(local: own.bytes, own.port, remote: peer.bytes, peer.port)
        try ForgedSegment(to: name, sequence: next, acknowledged: 0, flags: .reset, window: 0).send(interface: 0)
        try RebuiltConnection.expectState(7, of: socket)
        try SocketOptions.set(socket, 6, 19, -1)
        if !tells { _ = try SocketOptions.number(socket, SOL_SOCKET, SO_ERROR) }
        try SocketOptions.set(socket, SOL_SOCKET, SO_REUSEADDR, wanted.opts.reuseaddr ? 1 : 0)
        try SocketOptions.applyBuffers(wanted.opts, to: socket)
    }
}
