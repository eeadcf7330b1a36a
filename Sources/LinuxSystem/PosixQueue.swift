/// POSIX message queues of the calling thread's IPC namespace. mq_overview(7).
public enum PosixQueue {
    public struct Message: Sendable, Equatable {
        public var priority: UInt32
        public var bytes: [UInt8]

        public init(priority: UInt32, bytes: [UInt8]) {
            self.priority = priority
            self.bytes = bytes
        }
    }

    /// struct mq_attr: flags, how many messages it holds at most, how long they are at most, how many wait; and four more.
    private typealias Attributes = SIMD8<Int>

    /// How many messages a queue holds at most, how long they are at most, and how many wait. mq_getattr(3)
    public static func attributes(of queue: CInt) throws(SystemError) -> (most: Int, size: Int, waiting: Int) {
        var attributes = Attributes()
        try system("attributes of a message queue") {
            withUnsafeMutableBytes(of: &attributes) {
                clinux_syscall(
                    Int(SYS_mq_getsetattr), Int(queue), 0, Int(bitPattern: $0.baseAddress), 0, 0, 0)
            }
        }
        return (attributes[1], attributes[2], attributes[3])
    }

    /// Makes a queue, which belongs to the caller's effective user and group. mq_open(3)
    ///
    /// - Parameter name: without the slash.
    public static func make(_ name: String, most: Int, size: Int) throws(SystemError) -> OwnedDescriptor {
        var attributes = Attributes(0, most, size, 0, 0, 0, 0, 0)
        let made = try system("make message queue /\(name) for \(most) messages of \(size) bytes") {
            name.withCString { name in
                withUnsafeMutableBytes(of: &attributes) {
                    clinux_syscall(
                        Int(SYS_mq_open), Int(bitPattern: name),
                        Int(O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK | O_CLOEXEC), 0o600,
                        Int(bitPattern: $0.baseAddress), 0, 0)
                }
            }
        }
        return OwnedDescriptor(CInt(made))
    }

    /// mq_send(3)
    public static func send(_ message: Message, to queue: CInt) throws(SystemError) {
        try system("send to a message queue") {
            message.bytes.withUnsafeBytes {
                clinux_syscall(
                    Int(SYS_mq_timedsend), Int(queue), Int(bitPattern: $0.baseAddress), $0.count,
                    Int(message.priority), 0, 0)
            }
        }
    }

    /// Copies what waits in a queue that nobody else uses meanwhile, in order.
    ///
    /// There is no call that does not take messages out. A process of its own takes them and puts them back: whoever ends
    /// the caller meanwhile does not lose them.
    ///
    /// - Parameter queue: opened with O_NONBLOCK.
    public static func messages(in queue: CInt) throws(SystemError) -> [Message] {
        let (_, size, waiting) = try attributes(of: queue)
        guard waiting > 0 else { return [] }
        // Before each message its length and its priority.
        let step = 16 + (size + 7) / 8 * 8
        let room = mmap(
            nil, waiting * step, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let room, Int(bitPattern: room) != -1 else { throw SystemError(.current, "room for \(waiting) messages") }
        defer { munmap(room, waiting * step) }
        switch try cloneProcess(CloneRequest()) {
        case .child: _exit(turnOver(queue, waiting, size, room, step))
        case .parent(_, let pidfd):
            let exit = try pidfd.wait()
            guard exit == .exited(0) else {
                throw SystemError(
                    exit == .exited(1) ? .resourceTemporarilyUnavailable : .ioError,
                    "look at \(waiting) messages: \(exit)")
            }
        }
        return (0..<waiting).map { index in
            let place = UnsafeRawBufferPointer(start: room + index * step, count: step)
            let (length, priority) = (place.load(as: Int.self), place.load(fromByteOffset: 8, as: UInt32.self))
            return Message(priority: priority, bytes: Array(place[16..<16 + length]))
        }
    }

    /// Takes all messages and puts them back. Nothing is allocated here, and nobody heard.
    private static func turnOver(
        _ queue: CInt, _ waiting: Int, _ size: Int, _ room: UnsafeMutableRawPointer, _ step: Int
    ) -> CInt {
        _ = SignalMask.blockAll()
        setsid()
        var taken = 0
        while taken < waiting {
            let place = room + taken * step
            let length = clinux_syscall(
                Int(SYS_mq_timedreceive), Int(queue), Int(bitPattern: place + 16), size, Int(bitPattern: place + 8), 0,
                0)
            if length < 0 { break }
            place.storeBytes(of: length, as: Int.self)
            taken += 1
        }
        for index in 0..<taken {
            let place = room + index * step
            let sent = clinux_syscall(
                Int(SYS_mq_timedsend), Int(queue), Int(bitPattern: place + 16), place.load(as: Int.self),
                Int(place.load(fromByteOffset: 8, as: UInt32.self)), 0, 0)
            if sent < 0 { return 2 }
        }
        return taken == waiting ? 0 : 1
    }
}
