/// What TCP_REPAIR tells of a TCP socket that does not listen. tcp(7), linux/tcp.h
public struct RepairedConnection: Sendable {
    /// struct tcp_info.
    public var information: [UInt8] = []
    /// Behind the last byte of each queue, FIN included.
    public var receiveSequence: UInt32 = 0
    public var sendSequence: UInt32 = 0
    public var timestamp: UInt32 = 0
    public var maximumSegment: UInt32 = 0
    /// struct tcp_repair_window.
    public var window: [UInt32] = []
    public var received: [UInt8] = []
    public var sent: [UInt8] = []
    /// Of the bytes in the send queue, those that were never sent; an unsent FIN counts.
    public var unsent: UInt32 = 0

    /// Reads connections, which stay as they are: nobody else uses them, and their network is locked.
    ///
    /// A socket in repair mode is of no use to its program. So it is in it for some microseconds, in work that nothing
    /// interrupts: when this process is killed, the socket that has been begun with comes to its end.
    public static func read(_ sockets: [CInt]) throws(SystemError) -> [RepairedConnection] {
        let readings = UnsafeMutableBufferPointer<Reading>.allocate(capacity: sockets.count)
        defer {
            for reading in readings { reading.release() }
            readings.deallocate()
        }
        readings.initialize(repeating: Reading())
        for (place, socket) in sockets.enumerated() { try readings[place].prepare(socket) }
        try uninterrupted { isWanted in
            for place in readings.indices where isWanted() { readings[place].run() }
        }
        var connections: [RepairedConnection] = []
        for reading in readings { connections.append(try reading.result()) }
        return connections
    }
}

/// One socket's reading: memory for the answers is there before the first question.
private struct Reading {
    private var socket: CInt = -1
    private var calls: Calls?
    private var information: InlineArray<104, UInt8> = .init(repeating: 0)
    private var window: InlineArray<5, UInt32> = .init(repeating: 0)
    private var receiveSequence: UInt32 = 0
    private var sendSequence: UInt32 = 0
    private var timestamp: UInt32 = 0
    private var maximumSegment: UInt32 = 0
    private var received = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var sent = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var receivedCount = 0
    private var sentCount = 0
    private var waiting: (received: Int, sent: Int) = (0, 0)
    private var unsent: CInt = 0

    private static let tcp: CInt = 6
    /// TCP_REPAIR_OFF_NO_WP: nothing is sent. Linux 4.19.
    private static let offInSilence: CInt = -1
    private static let packet = 64 << 10

    mutating func prepare(_ socket: CInt) throws(SystemError) {
        self.socket = socket
        var counts = (CInt(0), CInt(0))
        // SIOCINQ, SIOCOUTQ, SIOCOUTQNSD
        for (request, place) in [(UInt(0x541b), \(CInt, CInt).0), (0x5411, \.1)] {
            try system("length of a TCP queue") {
                withUnsafeMutablePointer(to: &counts[keyPath: place]) {
                    clinux_ioctl(socket, request, UInt(bitPattern: $0))
                }
            }
        }
        try system("length of a TCP queue") {
            withUnsafeMutablePointer(to: &unsent) { clinux_ioctl(socket, 0x894b, UInt(bitPattern: $0)) }
        }
        waiting = (Int(counts.0), Int(counts.1))
        received = .allocate(byteCount: waiting.received, alignment: 1)
        // The queue begins with a packet of which a part may be acknowledged.
        sent = .allocate(byteCount: waiting.sent == 0 ? 0 : waiting.sent + Self.packet, alignment: 1)
    }

    mutating func run() {
        var calls = Calls(socket: socket)
        defer { self.calls = calls }
        var (reuses, offset) = (CInt(0), CInt(-1))
        calls.get(SOL_SOCKET, SO_REUSEADDR, &reuses)
        calls.get(SOL_SOCKET, 42, &offset, isOptional: true)  // SO_PEEK_OFF
        calls.get(Self.tcp, TCP_INFO, &information)
        guard calls.errno == 0 else { return }
        if offset >= 0 { calls.set(SOL_SOCKET, 42, -1) }
        guard calls.errno == 0 else { return }
        calls.set(Self.tcp, 19, 1)  // TCP_REPAIR
        guard calls.errno == 0 else {
            if offset >= 0 { calls.set(SOL_SOCKET, 42, offset) }
            return
        }
        // TCP_REPAIR_QUEUE: receive 1, send 2. TCP_QUEUE_SEQ.
        calls.set(Self.tcp, 20, 1)
        calls.get(Self.tcp, 21, &receiveSequence)
        receivedCount = calls.peek(received)
        calls.set(Self.tcp, 20, 2)
        calls.get(Self.tcp, 21, &sendSequence)
        sentCount = calls.peek(sent)
        calls.get(Self.tcp, 29, &window)  // TCP_REPAIR_WINDOW
        calls.get(Self.tcp, 24, &timestamp)  // TCP_TIMESTAMP
        calls.get(Self.tcp, TCP_MAXSEG, &maximumSegment)
        calls.set(Self.tcp, 19, Self.offInSilence)
        calls.set(SOL_SOCKET, SO_REUSEADDR, reuses)
        if offset >= 0 { calls.set(SOL_SOCKET, 42, offset) }
    }

    func result() throws(SystemError) -> RepairedConnection {
        guard let calls, calls.errno == 0 else {
            let errno = Errno(rawValue: calls?.errno ?? ECANCELED)
            throw SystemError(errno, "read a TCP connection (TCP_REPAIR, option \(calls?.option ?? 0))")
        }
        var connection = RepairedConnection()
        connection.information = information.span.withUnsafeBufferPointer { Array($0) }
        (connection.receiveSequence, connection.sendSequence) = (receiveSequence, sendSequence)
        (connection.timestamp, connection.maximumSegment) = (timestamp, maximumSegment)
        connection.window = (0..<5).map { window[$0] }
        // FIN_WAIT1, LAST_ACK, CLOSING: a FIN counts that waits to be acknowledged.
        let expected = waiting.sent - ([4, 9, 11].contains(information[0]) && waiting.sent > 0 ? 1 : 0)
        guard receivedCount == waiting.received, sentCount >= expected else {
            throw SystemError(
                .ioError,
                "read the queues of a TCP connection (\(receivedCount) of \(waiting.received) and \(sentCount) of "
                    + "\(expected) bytes)")
        }
        connection.received = Array(received.prefix(receivedCount))
        connection.sent = Array(sent.prefix(sentCount).suffix(expected))
        connection.unsent = UInt32(max(unsent, 0))
        return connection
    }

    func unread() throws(SystemError) -> [UInt8] {
        var calls = Calls(socket: socket)
        var offset = CInt(-1)
        calls.get(SOL_SOCKET, 42, &offset, isOptional: true)  // SO_PEEK_OFF
        if offset >= 0 { calls.set(SOL_SOCKET, 42, -1) }
        let count = calls.peek(received)
        if offset >= 0 { calls.set(SOL_SOCKET, 42, offset) }
        guard calls.errno == 0, count == received.count else {
            throw SystemError(
                Errno(rawValue: calls.errno == 0 ? EIO : calls.errno),
                "read a TCP socket that is closed (\(count) bytes)")
        }
        return Array(received)
    }

    func release() {
        received.deallocate()
        sent.deallocate()
    }
}

/// Calls on one socket, of which the first error counts.
private struct Calls {
    let socket: CInt
    private(set) var errno: CInt = 0
    private(set) var option: CInt = 0

    init(socket: CInt) { self.socket = socket }

    private mutating func note(_ result: Int, _ option: CInt) {
        if result < 0, errno == 0 { (errno, self.option) = (clinux_errno(), option) }
    }

    mutating func get<Value: BitwiseCopyable>(
        _ level: CInt, _ option: CInt, _ value: inout Value, isOptional: Bool = false
    ) {
        var length = socklen_t(MemoryLayout<Value>.size)
        let result = getsockopt(socket, level, option, &value, &length)
        if !isOptional { note(Int(result), option) }
    }

    mutating func set(_ level: CInt, _ option: CInt, _ value: CInt) {
        var value = value
        note(Int(setsockopt(socket, level, option, &value, 4)), option)
    }

    /// What is in the chosen queue. Of the send queue the kernel says its whole length, whatever there is room for.
    mutating func peek(_ room: UnsafeMutableRawBufferPointer) -> Int {
        guard room.count > 0 else { return 0 }
        let count = recv(socket, room.baseAddress, room.count, CInt(MSG_PEEK | MSG_DONTWAIT))
        if count < 0, clinux_errno() == EAGAIN { return 0 }
        note(count, -1)
        return min(max(count, 0), room.count)
    }
}

extension RepairedConnection {
    /// Puts bytes into the queue of a socket that is chosen by TCP_REPAIR_QUEUE; without repair mode, sends them. What there
    /// is no room for is an error.
    public static func fill(_ socket: CInt, _ bytes: ArraySlice<UInt8>) throws(SystemError) {
        var (rest, most) = (bytes, 1 << 20)
        while !rest.isEmpty {
            let count = rest.prefix(most).withUnsafeBytes {
                send(socket, $0.baseAddress, $0.count, CInt(MSG_DONTWAIT | MSG_NOSIGNAL))
            }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else {
                // The kernel wants one piece of memory for what it puts into the receive queue at once.
                let error = Errno.current
                guard count < 0, [.noMemory, .resourceTemporarilyUnavailable, .interrupted].contains(error), most > 1024
                else { throw SystemError(error, "fill the queue of a TCP socket (\(rest.count) bytes left)") }
                if error != .interrupted { most /= 2 }
            }
        }
    }

    /// The bytes that nobody has read yet, which stay. recv(2), MSG_PEEK.
    public static func unread(_ socket: CInt) throws(SystemError) -> [UInt8] {
        var reading = Reading()
        defer { reading.release() }
        try reading.prepare(socket)
        return try reading.unread()
    }

    /// connect(2) with a struct sockaddr: at once in repair mode, and not waited for without it.
    public static func connect(
        _ socket: CInt, _ address: [UInt8], _ attempt: @autoclosure () -> String
    ) throws(SystemError) {
        let result = address.withUnsafeBytes {
            clinux_syscall(Int(SYS_connect), Int(socket), Int(bitPattern: $0.baseAddress), $0.count, 0, 0, 0)
        }
        let error = Errno.current
        if result == -1, error != .nowInProgress { throw SystemError(error, attempt()) }
    }
}
