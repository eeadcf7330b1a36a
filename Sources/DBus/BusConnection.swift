import LinuxSystem

/// A connection to a message bus, or straight to a service that speaks its protocol, for calls one after the other.
///
/// libdbus would need libsystemd, which there is no static library of.
package struct BusConnection: ~Copyable {
    private let socket: OwnedDescriptor
    private var serial: UInt32 = 0
    private var received: [UInt8] = []
    private var signals: [Message] = []
    private let isBus: Bool
    private let seconds: Double

    /// - Parameters:
    ///   - isBus: a bus wants to be greeted and has addressees; a service by itself does not.
    ///   - seconds: how long an answer may take.
    package static func open(
        _ path: String, isBus: Bool = true, seconds: Double = 30
    ) throws(DBusError) -> BusConnection {
        var connection = BusConnection(try connect(path), isBus, seconds)
        try connection.authenticate()
        if isBus {
            try connection.askBus("Hello")
        }
        return connection
    }

    private init(_ socket: consuming OwnedDescriptor, _ isBus: Bool, _ seconds: Double) {
        self.socket = socket
        self.isBus = isBus
        self.seconds = seconds
    }

    private static func connect(_ path: String) throws(DBusError) -> OwnedDescriptor {
        do {
            return try connectUnixSocket(path)
        } catch {
            throw DBusError(error.description)
        }
    }

    /// EXTERNAL without a name: the other end takes the user from the socket, whatever namespace the caller is in. BEGIN is
    /// said before it has agreed: of what comes with BEGIN in one read, systemd takes no notice until more comes.
    private mutating func authenticate() throws(DBusError) {
        try send(Array("\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".utf8))
        let deadline = Deadline(seconds)
        while true {
            let text = String(decoding: received, as: UTF8.self)
            let lines = text.split(separator: "\r\n", omittingEmptySubsequences: false).dropLast()
            if let refusal = lines.first(where: { !$0.hasPrefix("DATA") && !$0.hasPrefix("OK ") }) {
                throw DBusError("the bus refuses the connection: \(refusal)")
            }
            if lines.contains(where: { $0.hasPrefix("OK ") }) { break }
            try receive(until: deadline)
        }
        received = []
    }

    private mutating func askBus(_ member: String, _ arguments: [DBusValue] = []) throws(DBusError) {
        try call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", member, arguments)
    }

    /// Has the bus pass on this signal: it keeps to itself what nobody asks for.
    package mutating func listen(to member: String, of interface: String) throws(DBusError) {
        guard isBus else { return }
        try askBus("AddMatch", [.string("type='signal',interface='\(interface)',member='\(member)'")])
    }

    /// Calls a method and waits for its reply.
    @discardableResult
    package mutating func call(
        _ destination: String, _ path: String, _ interface: String, _ member: String, _ arguments: [DBusValue] = []
    ) throws(DBusError) -> [DBusValue] {
        serial += 1
        let call = Message(
            .call, serial: serial,
            fields: [
                .path: .objectPath(path), .interface: .string(interface), .member: .string(member),
                .destination: .string(destination),
            ], body: arguments)
        try send(call.encoded())
        let deadline = Deadline(seconds)
        while true {
            let message = try next(until: deadline)
            if message.kind == .signal { signals.append(message) }
            guard message.fields[.replySerial] == .uint32(serial) else { continue }
            if message.kind == .reply { return message.body }
            let name = message.fields[.errorName]?.text
            throw DBusError("\(member): \(message.body.first?.text ?? name ?? "unknown error")", name: name)
        }
    }

    /// The body of the first signal of this name that is accepted, also of one that came earlier.
    package mutating func waitForSignal(
        _ member: String, where isWanted: ([DBusValue]) -> Bool
    ) throws(DBusError) -> [DBusValue] {
        let deadline = Deadline(seconds)
        while true {
            let message = signals.isEmpty ? try next(until: deadline) : signals.removeFirst()
            guard message.kind == .signal, message.fields[.member] == .string(member) else { continue }
            if isWanted(message.body) { return message.body }
        }
    }

    private mutating func next(until deadline: Deadline) throws(DBusError) -> Message {
        while true {
            if let length = try Message.length(received[...]), received.count >= length {
                defer { received.removeFirst(length) }
                return try Message(decoding: received[..<length])
            }
            try receive(until: deadline)
        }
    }

    private func send(_ bytes: [UInt8]) throws(DBusError) {
        do {
            try writeAll(socket.raw, bytes, name: "bus")
        } catch {
            throw DBusError(error.description)
        }
    }

    private mutating func receive(until deadline: Deadline) throws(DBusError) {
        do {
            var waiting = pollfd(fd: socket.raw, events: Int16(POLLIN), revents: 0)
            let ready = try system("wait for bus") { clinux_poll(&waiting, 1, deadline.milliseconds) }
            guard ready > 0 else { throw DBusError("no answer from the bus within \(Int(seconds)) s") }
            let bytes = try receiveMessage(socket.raw, limit: 64 << 10).bytes
            guard !bytes.isEmpty else { throw DBusError("the bus closed the connection") }
            received += bytes
        } catch let error as DBusError {
            throw error
        } catch {
            throw DBusError("\(error)")
        }
    }
}

private struct Deadline {
    private let end: ContinuousClock.Instant

    init(_ seconds: Double) { end = .now + .seconds(seconds) }

    /// What is left of it, for poll(2).
    var milliseconds: CInt { CInt(clamping: max(0, Int((end - .now) / .milliseconds(1)))) }
}
