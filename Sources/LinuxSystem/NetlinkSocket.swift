/// A conversation with one part of the kernel. netlink(7).
public struct NetlinkSocket: ~Copyable, Sendable {
    let socket: OwnedDescriptor
    private let name: String

    /// Of the caller's network namespace, whatever namespace the caller joins later.
    ///
    /// - Parameter name: what an error calls the kernel's part, such as `rtnetlink`.
    public init(_ family: CInt, name: String) throws(SystemError) {
        let netlink = 16  // AF_NETLINK, in Swift an enumeration of another type
        socket = OwnedDescriptor(
            CInt(
                try systemCall(
                    "open \(name)", Int(SYS_socket), netlink, Int(SOCK_RAW.rawValue) | Int(O_CLOEXEC), Int(family))))
        self.name = name
    }

    /// Sends one request and returns what comes back, up to the kernel's word that this is all.
    ///
    /// - Parameters:
    ///   - attempt: what an error says was attempted.
    ///   - flags: NLM_F_CREATE and the like.
    @discardableResult
    public func ask(
        _ attempt: @autoclosure () -> String, type: UInt16, isDump: Bool = false, flags: UInt16 = 0,
        _ body: [UInt8] = []
    ) throws(SystemError) -> [NetlinkMessage] {
        // NLM_F_REQUEST, and NLM_F_DUMP or NLM_F_ACK: either way there is an end to wait for.
        let request = NetlinkMessage(type: type, flags: 1 | flags | (isDump ? 0x300 : 4), body: body).bytes
        return try exchange(attempt(), request, words: 1)
    }

    /// Sends several requests to nftables, which takes all of them or none. linux/netfilter/nfnetlink.h
    public func transact(
        _ attempt: @autoclosure () -> String, _ requests: [NetlinkMessage]
    ) throws(SystemError) {
        if requests.isEmpty { return }
        // NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END; struct nfgenmsg names the part that is meant: nftables, 10.
        let begin = NetlinkMessage(type: 16, flags: 1, body: [0, 0, 0, 10])
        let end = NetlinkMessage(type: 17, flags: 1, body: [0, 0, 0, 10])
        let requests = requests.enumerated().map { number, request in
            var request = request
            // NLM_F_REQUEST; NLM_F_ACK once, since a few hundred would not fit into the socket. An error comes unasked.
            request.flags |= 1 | (number == requests.count - 1 ? 4 : 0)
            return request
        }
        let bytes = ([begin] + requests + [end]).flatMap(\.bytes)
        // All of it is one datagram. SO_SNDBUFFORCE takes half of what is to fit.
        if bytes.count > 64 << 10 {
            var room = CInt(clamping: bytes.count)
            try system("make room for a message to \(name)") {
                setsockopt(socket.raw, SOL_SOCKET, SO_SNDBUFFORCE, &room, socklen_t(MemoryLayout<CInt>.size))
            }
        }
        try exchange(attempt(), bytes, words: 1)
    }

    /// - Parameter words: how often the kernel says that something is done.
    @discardableResult
    private func exchange(
        _ attempt: @autoclosure () -> String, _ request: [UInt8], words: Int
    ) throws(SystemError) -> [NetlinkMessage] {
        try system("ask \(name)") { request.withUnsafeBytes { send(socket.raw, $0.baseAddress, $0.count, 0) } }
        var answers: [NetlinkMessage] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        var words = words
        while true {
            var sender = sockaddr_nl()
            let count = try receive(into: &buffer, from: &sender)
            // The port of the kernel. In a container's network namespace its root can send to this socket, too.
            if sender.nl_pid != 0 { continue }
            guard count > 0, count <= buffer.count else {
                throw SystemError(.messageTooLong, "receive from \(name)")
            }
            guard let messages = NetlinkMessage.parse(buffer[..<count]) else {
                throw SystemError(.badMessage, "receive from \(name)")
            }
            for message in messages {
                guard message.type == 2 || message.type == 3 else {  // NLMSG_ERROR, NLMSG_DONE
                    answers.append(message)
                    continue
                }
                let error = message.body.integer(CInt.self, at: 0) ?? 0
                if error != 0 { throw SystemError(Errno(rawValue: -error), attempt()) }
                words -= 1
                if words == 0 { return answers }
            }
        }
    }

    private func receive(into buffer: inout [UInt8], from sender: inout sockaddr_nl) throws(SystemError) -> Int {
        var size = socklen_t(MemoryLayout<sockaddr_nl>.size)
        return try system("receive from \(name)") {
            withUnsafeMutableBytes(of: &sender) { sender in
                let address = sender.baseAddress?.assumingMemoryBound(to: sockaddr.self)
                return buffer.withUnsafeMutableBytes {
                    recvfrom(socket.raw, $0.baseAddress, $0.count, CInt(MSG_TRUNC), address, &size)
                }
            }
        }
    }
}

/// `struct nlmsghdr` and what follows it.
public struct NetlinkMessage: Sendable, Equatable {
    public var type: UInt16
    public var flags: UInt16 = 0
    public var body: [UInt8]

    public init(type: UInt16, flags: UInt16 = 0, body: [UInt8]) {
        (self.type, self.flags, self.body) = (type, flags, body)
    }

    private static let headerSize = 16

    /// Up to the next message's place.
    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(integer: UInt32(Self.headerSize + body.count))
        bytes.append(integer: type)
        bytes.append(integer: flags)
        bytes.append(integer: UInt32(0))  // sequence number: there is one request at a time
        bytes.append(integer: UInt32(0))
        return bytes + body + [UInt8](repeating: 0, count: -body.count & 3)
    }

    /// What one read brought; nil if a length in it does not fit.
    static func parse(_ bytes: ArraySlice<UInt8>) -> [NetlinkMessage]? {
        var messages: [NetlinkMessage] = []
        var rest = bytes
        while !rest.isEmpty {
            guard let length = rest.integer(UInt32.self, at: 0), let type = rest.integer(UInt16.self, at: 4),
                let flags = rest.integer(UInt16.self, at: 6), length >= headerSize, length <= rest.count
            else { return nil }
            messages.append(
                NetlinkMessage(
                    type: type, flags: flags, body: Array(rest.prefix(Int(length)).dropFirst(headerSize))))
            rest = rest.dropFirst((Int(length) + 3) & ~3)
        }
        return messages
    }

    /// The attributes behind the first `size` bytes of the body, as far as their lengths fit. rtnetlink(7).
    public func attributes(after size: Int) -> [NetlinkAttribute] { NetlinkAttribute.all(in: body.dropFirst(size)) }
}

/// `struct nlattr` and its value.
public struct NetlinkAttribute: Sendable, Equatable {
    public var type: UInt16
    public var value: [UInt8]

    public init(type: UInt16, value: [UInt8]) { (self.type, self.value) = (type, value) }

    public init(type: UInt16, _ number: some FixedWidthInteger) {
        self.init(type: type, value: [])
        value.append(integer: number)
    }

    /// Those that follow each other, as the value of another one does.
    public static func all(in bytes: some RandomAccessCollection<UInt8>) -> [NetlinkAttribute] {
        var attributes: [NetlinkAttribute] = []
        var rest = Array(bytes)[...]
        while let length = rest.integer(UInt16.self, at: 0), let type = rest.integer(UInt16.self, at: 2),
            length >= 4, length <= rest.count
        {
            // The two upper bits say how the value is written.
            attributes.append(
                NetlinkAttribute(type: type & 0x3fff, value: Array(rest.prefix(Int(length)).dropFirst(4))))
            rest = rest.dropFirst((Int(length) + 3) & ~3)
        }
        return attributes
    }

    /// Up to the next attribute's place.
    public var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(integer: UInt16(4 + value.count))
        bytes.append(integer: type)
        return bytes + value + [UInt8](repeating: 0, count: -value.count & 3)
    }
}

extension RandomAccessCollection<UInt8> where Index == Int {
    /// The number whose bytes, in the machine's order, begin at `offset`; nil where there are too few.
    public func integer<Number: FixedWidthInteger>(_ type: Number.Type, at offset: Int) -> Number? {
        let size = MemoryLayout<Number>.size
        guard offset >= 0, count - offset >= size else { return nil }
        var number = Number.zero
        for place in 0..<size {
            number |= Number(truncatingIfNeeded: self[startIndex + offset + place]) << (8 * place)
        }
        return Number(littleEndian: number.littleEndian)
    }
}

extension [UInt8] {
    /// Numbers of one kind, each in the machine's order.
    public init(integers: [some FixedWidthInteger]) {
        self = []
        for number in integers { append(integer: number) }
    }

    /// The number's bytes in the machine's order.
    public mutating func append(integer number: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: number) { append(contentsOf: $0) }
    }
}
