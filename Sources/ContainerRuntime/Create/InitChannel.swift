import LinuxSystem

/// What the runtime and the process that it is setting up say to each other.
enum InitMessage: Equatable {
    /// Process: mounts are there and the root is not yet entered: time for the hooks of the runtime's namespaces.
    case mounted
    /// Runtime: go on.
    case proceed
    /// Runtime: the descriptor with this message is the network namespace to join.
    case network
    /// Process in between: its user namespace is there and has no ids yet.
    case unmapped
    /// Process in between: the first process is there, under this id.
    case born(pid_t)
    /// Process: it may not set the limits itself that config.json wants.
    case limits
    /// Process: everything is done that may fail before the program starts.
    case ready
    /// Process: the seccomp listener is its descriptor of this number.
    case seccompListener(CInt)
    /// The same, as the runtime sees it when the descriptor came along: by a number of its own.
    case receivedListener(CInt)
    /// Process: it could not be set up, and ends.
    case failed(String)

    init?(_ bytes: [UInt8]) {
        guard let kind = bytes.first else { return nil }
        let text = String(decoding: bytes.dropFirst(), as: UTF8.self)
        switch kind {
        case UInt8(ascii: "m"): self = .mounted
        case UInt8(ascii: "g"): self = .proceed
        case UInt8(ascii: "n"): self = .network
        case UInt8(ascii: "u"): self = .unmapped
        case UInt8(ascii: "b"): self = .born(pid_t(text) ?? -1)
        case UInt8(ascii: "i"): self = .limits
        case UInt8(ascii: "r"): self = .ready
        case UInt8(ascii: "l"): self = .seccompListener(CInt(text) ?? -1)
        case UInt8(ascii: "f"): self = .failed(text)
        default: return nil
        }
    }

    var bytes: [UInt8] {
        switch self {
        case .mounted: Array("m".utf8)
        case .proceed: Array("g".utf8)
        case .network: Array("n".utf8)
        case .unmapped: Array("u".utf8)
        case .born(let pid): Array("b\(pid)".utf8)
        case .limits: Array("i".utf8)
        case .ready: Array("r".utf8)
        case .seccompListener(let number), .receivedListener(let number): Array("l\(number)".utf8)
        case .failed(let text): Array("f\(text)".utf8.prefix(InitChannel.longest))
        }
    }
}

/// One end of the socket pair between the runtime and the process that it is setting up.
struct InitChannel: ~Copyable {
    let socket: OwnedDescriptor
    /// Bytes of a message.
    static let longest = 32 << 10

    /// The end of a process whose filter may put sendmsg(2) before an agent, but never write(2).
    private let isConfined: Bool

    init(_ socket: consuming OwnedDescriptor, isConfined: Bool = false) {
        self.socket = socket
        self.isConfined = isConfined
    }

    func send(_ message: InitMessage) throws(RuntimeError) {
        try launching("tell the other process") { () throws(SystemError) in
            // The runtime must not die of a pipe whose other end is closed; for the process that is the end anyway.
            if isConfined {
                try writeAll(socket.raw, message.bytes)
            } else {
                try sendMessage(socket.raw, message.bytes)
            }
        }
    }

    /// Sends the listener along. Where an agent decides on sendmsg(2) it cannot do so before it has the listener: the
    /// runtime must then fetch the descriptor by its number, which takes CAP_SYS_PTRACE.
    func send(listener: CInt, agentDecidesOnSend: Bool) throws(RuntimeError) {
        let message = InitMessage.seccompListener(listener)
        if agentDecidesOnSend { return try send(message) }
        try launching("tell the other process") { () throws(SystemError) in
            try sendMessage(socket.raw, message.bytes, descriptors: [listener])
        }
    }

    /// Returns when the process at the other end has become its program.
    ///
    /// - Parameter check: asked every 100 ms that nothing is heard of the process; what it throws ends the waiting.
    func follow(
        _ process: borrowing Pidfd, pid: pid_t, _ listener: SeccompListener, _ setup: ProcessSetup? = nil,
        check: () throws(RuntimeError) -> Void = {}
    ) throws(RuntimeError) {
        while true {
            while !(try isReadable(within: 100)) { try check() }
            switch try receive() {
            case nil: return
            case .failed(let text): throw RuntimeError("unable to start container process: \(text)")
            case .limits: try setup?.raiseLimits(of: pid, self)
            case .seccompListener(let number):
                try listener.hand(try listener.fetch(number, from: process), pid: pid)
                try send(.proceed)
            case .receivedListener(let descriptor):
                try listener.hand(OwnedDescriptor(descriptor), pid: pid)
                try send(.proceed)
            case .some(let other): throw RuntimeError("unexpected message from container process: \(other)")
            }
        }
    }

    private func isReadable(within milliseconds: CInt) throws(RuntimeError) -> Bool {
        try launching { () throws(SystemError) in
            var poll = pollfd(fd: socket.raw, events: Int16(POLLIN), revents: 0)
            return try system("poll the other process") { clinux_poll(&poll, 1, milliseconds) } > 0
        }
    }

    /// The next message; nil when the other end is closed, which is what a successful exec does.
    func receive() throws(RuntimeError) -> InitMessage? {
        do {
            let message = try receiveMessage(socket.raw, limit: Self.longest, descriptors: 1)
            if message.bytes.isEmpty { return nil }
            guard let decoded = InitMessage(message.bytes) else { throw RuntimeError("unknown message from process") }
            if case .seccompListener = decoded, let listener = message.descriptors.first {
                return .receivedListener(listener)
            }
            return decoded
        } catch let error as SystemError {
            // The process died with a message of ours unread. The kernel says so once, ahead of what it had sent us.
            if error.errno == .connectionReset { return try receive() }
            throw RuntimeError(error)
        } catch let error as RuntimeError {
            throw error
        } catch {
            throw RuntimeError("\(error)")
        }
    }

    /// Waits for exactly `message`; the reason the other side gives for failing instead becomes the error.
    func expect(_ message: InitMessage, orDied: @autoclosure () -> String) throws(RuntimeError) {
        switch try receive() {
        case message: return
        case .failed(let text): throw RuntimeError(text)
        case nil: throw RuntimeError(orDied())
        case .some(let other): throw RuntimeError("expected \(message) from process, got \(other)")
        }
    }
}
