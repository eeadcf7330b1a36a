import CheckpointImages
import LinuxSystem
import Tracee

/// A TCP connection that is put into the queue of a listening socket, where nothing can be repaired: by saying again in the
/// peer's name all that it has said. The network is locked meanwhile, so that the kernel's answers reach nobody.
///
/// 1. The kernel chooses the first sequence number of its side by a secret and a clock, but for one case: a SYN that reaches
///    a connection in TIME_WAIT begins with the number 65,537 behind its last one (RFC 6191, so that old segments are not
///    taken for new ones). So the connection is first made in repair mode with a fitting number, and ended by both sides.
/// 2. SYN with the options of the first one; the acknowledgement of the answer; the bytes; FIN, if the peer has said that.
/// 3. Time stamps (RFC 7323) go on by the kernel's clock and a secret of its boot, which may be behind what the peer has seen
///    last when the machine was started anew. Then the connection goes on without them.
struct HandshakeReplay {
    private let local: InternetAddress
    private let remote: InternetAddress
    private let stream: TcpStreamEntry
    private let hasEnded: Bool
    private var hasStamps: Bool

    private static let tcp: CInt = 6
    /// With headers as much as fits into one piece of memory of 32 KiB, so that the kernel counts it for little more: how much
    /// a queue takes depends on that.
    private static let mostData = 32_256
    private static let distance: UInt32 = 65_537
    private static let (timestamps, sack, scaling): (UInt32, UInt32, UInt32) = (1, 2, 4)

    init(_ local: InternetAddress, _ remote: InternetAddress, _ stream: TcpStreamEntry, hasEnded: Bool) {
        (self.local, self.remote, self.stream, self.hasEnded) = (local.plain, remote.plain, stream, hasEnded)
        hasStamps = stream.optMask & Self.timestamps != 0
    }

    /// What keeps it from working in the caller's network namespace.
    static func obstacle() throws -> String? {
        func number(_ name: String) throws -> Int {
            Int(try readText("/proc/sys/net/ipv4/\(name)").prefix(while: \.isNumber)) ?? 0
        }
        if try number("tcp_max_tw_buckets") < 1 {
            return "is in a network without TIME_WAIT (net.ipv4.tcp_max_tw_buckets)"
        }
        if try number("tcp_fwmark_accept") != 0 {
            return "is in a network that takes over marks of packets (net.ipv4.tcp_fwmark_accept)"
        }
        return nil
    }

    private var name: ConnectionName {
        ConnectionName(local: local.bytes, local.port, remote: remote.bytes, remote.port)
    }

    /// That of the SYN.
    private var first: UInt32 { stream.inqSeq &- stream.inqLen &- (hasEnded ? 1 : 0) &- 1 }

    /// - Parameter received: what nobody has read of it.
    func run(_ received: ArraySlice<UInt8>) throws {
        // What is said in the peer's name must not leave by a device.
        guard try isLocalAddress(local.bytes, mark: ConnectionLock.mark) else {
            throw CheckpointError(
                "a connection from \(remote) to \(local), which is no address of the container's network")
        }
        try leaveTimeWait()
        try say(.synchronize, at: first, window: UInt16(clamping: stream.sndWnd), options)
        var next = first &+ 1
        try say(.acknowledgement, at: next)
        var (rest, most) = (received, Self.mostData)
        while !rest.isEmpty {
            let part = rest.prefix(most)
            do { try say(.acknowledgement, at: next, data: part) } catch let error as SystemError
                where error.errno == .messageTooLong && most > 1024
            {
                // `lo` takes 65,536 bytes, unless somebody has changed that.
                most /= 2
                continue
            }
            rest = rest.dropFirst(part.count)
            next &+= UInt32(part.count)
        }
        if hasEnded { try say([.end, .acknowledgement], at: next) }
        try check(UInt32(received.count) + (hasEnded ? 1 : 0))
    }

    /// Whether the clock of this machine is behind what the peer has seen. Nobody may wait at the socket yet.
    mutating func findClock(at listener: CInt) throws {
        guard hasStamps, stream.hasTimestamp else { return }
        try run([])
        let flags = Int(O_NONBLOCK | O_CLOEXEC)
        let accepted = OwnedDescriptor(
            CInt(try systemCall("accept a connection", Int(SYS_accept4), Int(listener), 0, 0, flags)))
        try SocketOptions.set(accepted.raw, Self.tcp, 19, 1)
        let now = UInt32(bitPattern: try SocketOptions.number(accepted.raw, Self.tcp, 24))
        hasStamps = Int32(bitPattern: now &- stream.timestamp) >= 0
    }

    private func leaveTimeWait() throws {
        let flags = Int(SOCK_STREAM.rawValue) | Int(O_CLOEXEC)
        let socket = OwnedDescriptor(
            CInt(try systemCall("make a TCP socket", Int(SYS_socket), Int(local.family), flags, Int(Self.tcp))))
        // The FIN counts, too.
        let (sent, heard) = (stream.outqSeq &- stream.outqLen &- 1 &- Self.distance &- 1, first &- 1000)
        func set(_ option: CInt, _ value: UInt32) throws {
            try SocketOptions.set(socket.raw, Self.tcp, option, CInt(bitPattern: value))
        }
        try set(19, 1)  // TCP_REPAIR
        for (queue, sequence) in [(1, heard), (2, sent)] as [(UInt32, UInt32)] {
            try set(20, queue)
            try set(21, sequence)
        }
        try NamedUnixSocket.call("bind to \(local)", Int(SYS_bind), socket.raw, local.sockaddr)
        try RepairedConnection.connect(socket.raw, remote.sockaddr, "connect \(local) to \(remote) in repair mode")
        // TCP_REPAIR_WINDOW; without room the FIN would not be on its way.
        let window = [heard, 60_000, 60_000, 60_000, heard] as [UInt32]
        try SocketOptions.set(socket.raw, Self.tcp, 29, [UInt8](integers: window))
        try system("shut down socket") { shutdown(socket.raw, CInt(SHUT_WR)) }
        try ForgedSegment(
            to: name, sequence: heard, acknowledged: sent &+ 1, flags: [.end, .acknowledgement], window: 60_000
        ).send(interface: 0)
        try RebuiltConnection.expectState(7, of: socket.raw)
    }

    private func say(
        _ flags: ForgedSegment.Flags, at sequence: UInt32, window: UInt16? = nil, _ options: [UInt8] = [],
        data: ArraySlice<UInt8> = []
    ) throws {
        let scale = stream.optMask & Self.scaling != 0 ? min(stream.sndWscale, 14) : 0
        var segment = ForgedSegment(
            to: name, sequence: sequence, acknowledged: flags == .synchronize ? 0 : stream.outqSeq, flags: flags,
            window: window ?? UInt16(clamping: stream.sndWnd >> scale))
        (segment.options, segment.data) = (options, data)
        try segment.send(interface: 0)
    }

    /// Those of a SYN: RFC 9293, RFC 2018, RFC 7323. Of stamps the peer's last one is not known, and 0 counts as none.
    private var options: [UInt8] {
        let size = UInt16(clamping: stream.mssClamp)
        var options = [2, 4, UInt8(size >> 8), UInt8(size & 255)]
        if stream.optMask & Self.sack != 0 { options += [1, 1, 4, 2] }
        if hasStamps { options += [1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0] }
        if stream.optMask & Self.scaling != 0 { options += [1, 3, 3, UInt8(min(stream.sndWscale, 14))] }
        return options
    }

    /// Fails if it is not in the queue as it was.
    private func check(_ waiting: UInt32) throws {
        let end = Deadline.patience
        var found: InternetDiagnosis?
        repeat {
            found = try InternetDiagnosis.all(of: Self.tcp).first {
                $0.name == name && $0.inode == 0 && QueuedConnection.states.contains(UInt32($0.state))
            }
            if found?.waiting == waiting { break }
            usleep(200)
        } while !end.hasPassed
        let shared = Self.sack | Self.scaling
        guard let found, found.waiting == waiting, let told = found.options,
            told.mask & shared == stream.optMask & shared,
            stream.optMask & Self.scaling == 0 || told.receiveScale == stream.rcvWscale
        else {
            throw CheckpointError(
                "the connection from \(remote) to \(local) was lost: this kernel did not take it back as it was "
                    + "(\(found.map { "\($0.waiting) of \(waiting) bytes" } ?? "nothing"))")
        }
    }
}
