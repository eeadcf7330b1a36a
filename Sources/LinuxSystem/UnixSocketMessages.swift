/// Two descriptors that belong together; each can be given away by itself.
@frozen public struct DescriptorPair: ~Copyable, Sendable {
    public let first: OwnedDescriptor
    public let second: OwnedDescriptor
}

/// A connected pair of unix sockets, close-on-exec. socketpair(2).
public func socketPair(_ type: CInt) throws(SystemError) -> DescriptorPair {
    var ends: (CInt, CInt) = (-1, -1)
    try system("make socket pair") {
        withUnsafeMutablePointer(to: &ends) {
            $0.withMemoryRebound(to: CInt.self, capacity: 2) {
                CInt(
                    clinux_syscall(
                        Int(SYS_socketpair), Int(AF_UNIX), Int(type | O_CLOEXEC), 0, Int(bitPattern: $0), 0, 0))
            }
        }
    }
    return DescriptorPair(first: OwnedDescriptor(ends.0), second: OwnedDescriptor(ends.1))
}

/// A pipe, close-on-exec: the first end is read, the second written. pipe2(2).
public func makePipe() throws(SystemError) -> DescriptorPair {
    var ends: (CInt, CInt) = (-1, -1)
    try system("make pipe") {
        withUnsafeMutablePointer(to: &ends) {
            clinux_syscall(Int(SYS_pipe2), Int(bitPattern: $0), Int(O_CLOEXEC), 0, 0, 0, 0)
        }
    }
    return DescriptorPair(first: OwnedDescriptor(ends.0), second: OwnedDescriptor(ends.1))
}

/// Connects to the unix socket at `path`, a stream socket by default. `@name` is one without a file. unix(7).
public func connectUnixSocket(_ path: String, type: CInt = 1) throws(SystemError) -> OwnedDescriptor {
    try makeUnixSocket(type, "connect to", path, by: Int(SYS_connect))
}

/// The same, for a socket of somebody who may never accept a connection: where others wait already, that is `EAGAIN`.
public func connectUnixSocketAtOnce(_ path: String) throws(SystemError) -> OwnedDescriptor {
    let socket = try connectUnixSocket(path, type: CInt(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue))
    try system("make \(path) block") { clinux_fcntl(socket.raw, F_SETFL, Int(O_RDWR)) }
    return socket
}

/// A new socket at `path` that its owner alone can reach. bind(2).
public func bindUnixSocket(_ path: String, type: CInt) throws(SystemError) -> OwnedDescriptor {
    try makeUnixSocket(type, "make socket", path, by: Int(SYS_bind))
}

/// The same, for connections. listen(2).
public func listenOnUnixSocket(_ path: String, type: CInt) throws(SystemError) -> OwnedDescriptor {
    let socket = try bindUnixSocket(path, type: type)
    try system("listen on \(path)") { listen(socket.raw, 1) }
    return socket
}

/// Waits for a connection. accept4(2).
public func acceptConnection(_ socket: CInt) throws(SystemError) -> OwnedDescriptor {
    OwnedDescriptor(CInt(try systemCall("accept connection", Int(SYS_accept4), Int(socket), 0, 0, Int(O_CLOEXEC))))
}

private func makeUnixSocket(
    _ type: CInt, _ what: String, _ path: String, by call: Int
) throws(SystemError) -> OwnedDescriptor {
    let socket = OwnedDescriptor(
        CInt(try systemCall("make socket", Int(SYS_socket), Int(AF_UNIX), Int(type | O_CLOEXEC), 0)))
    // A file that bind makes has these permissions from its first moment on.
    try system("set mode of socket") { fchmod(socket.raw, 0o600) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let isAbstract = path.hasPrefix("@")
    let bytes = isAbstract ? [0] + path.utf8.dropFirst() : Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
        throw SystemError(.fileNameTooLong, "\(what) \(path)")
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    // Every byte counts of a name without a file.
    let length = isAbstract ? MemoryLayout<sa_family_t>.size + bytes.count : MemoryLayout<sockaddr_un>.size
    try system("\(what) \(path)") {
        withUnsafePointer(to: &address) {
            clinux_syscall(
                call, Int(socket.raw), Int(bitPattern: $0), length, 0, 0, 0)
        }
    }
    return socket
}

/// Sends `bytes` and copies of `descriptors` in one message. sendmsg(2), SCM_RIGHTS.
public func sendMessage(_ socket: CInt, _ bytes: [UInt8], descriptors: [CInt] = []) throws(SystemError) {
    var bytes = bytes
    var control = [UInt8](repeating: 0, count: clinux_cmsg_space(descriptors.count * 4))
    try system("send message") {
        withMessage(&bytes, &control, useControl: !descriptors.isEmpty) { message in
            if let header = clinux_cmsg_first(message) {
                header.pointee.cmsg_len = clinux_cmsg_len(descriptors.count * 4)
                header.pointee.cmsg_level = SOL_SOCKET
                header.pointee.cmsg_type = 1
                let data = UnsafeMutableRawPointer(clinux_cmsg_data(header))
                descriptors.withUnsafeBytes { rights in
                    UnsafeMutableRawBufferPointer(start: data, count: rights.count).copyMemory(from: rights)
                }
            }
            return sendmsg(socket, message, CInt(MSG_NOSIGNAL))
        }
    }
}

/// Whom a message is from: struct ucred of SCM_CREDENTIALS. unix(7).
public struct SenderCredentials: Sendable, Equatable {
    public var process: pid_t
    public var user: UInt32
    public var group: UInt32

    public init(process: pid_t, user: UInt32, group: UInt32) {
        (self.process, self.user, self.group) = (process, user, group)
    }
}

/// Sends `bytes` in somebody's name, or without one, with copies of `descriptors`, if there is room for them.
///
/// - Parameter address: struct sockaddr of who gets them; empty for who is connected.
/// - Returns: how many bytes had room.
public func sendMessage(
    _ socket: CInt, _ bytes: [UInt8], from sender: SenderCredentials?, descriptors: [CInt] = [],
    to address: [UInt8] = []
) throws(SystemError) -> Int {
    var (bytes, address) = (bytes, address)
    var control: [UInt8] = []
    if let sender {
        let credentials = [UInt32(bitPattern: sender.process), sender.user, sender.group]
        control += controlMessage(type: 2, [UInt8](integers: credentials))
    }
    if !descriptors.isEmpty { control += controlMessage(type: 1, [UInt8](integers: descriptors)) }
    return try system("send message") {
        address.withUnsafeMutableBytes { address in
            withMessage(&bytes, &control, useControl: !control.isEmpty) { message in
                if !address.isEmpty {
                    message.pointee.msg_name = address.baseAddress
                    message.pointee.msg_namelen = socklen_t(address.count)
                }
                return sendmsg(socket, message, CInt(MSG_NOSIGNAL | MSG_DONTWAIT))
            }
        }
    }
}

/// struct cmsghdr, which is length 8, level 4, type 4, and its data, up to the next one's place.
private func controlMessage(type: UInt32, _ data: [UInt8]) -> [UInt8] {
    let header = [UInt8](integers: [UInt64(16 + data.count)]) + [UInt8](integers: [UInt32(SOL_SOCKET), type])
    return header + data + [UInt8](repeating: 0, count: -data.count & 7)
}

/// A message that was looked at and left where it is.
public struct PeekedMessage: Sendable {
    /// How long it is; more than `bytes` where there was no room for it.
    public var length: Int
    public var bytes: [UInt8]
    /// Copies, close-on-exec and the caller's to close.
    public var descriptors: [CInt] = []
    /// With SO_PASSCRED every message has one, and the end of all has none.
    public var sender: SenderCredentials?
    /// struct sockaddr of the socket that it was sent by; empty if that has no name.
    public var address: [UInt8]
}

/// The next message at SO_PEEK_OFF; `nil` where there is none now. Of a stream, all bytes of one sender up to the end of
/// those that came with descriptors. recvmsg(2) with MSG_PEEK.
public func peekMessage(_ socket: CInt, limit: Int) throws(SystemError) -> PeekedMessage? {
    var bytes = [UInt8](repeating: 0, count: limit)
    // 253 descriptors at most; credentials, a security label, time stamps, a pidfd.
    var control = [UInt8](repeating: 0, count: clinux_cmsg_space(253 * 4) + (16 << 10))
    var address = [UInt8](repeating: 0, count: 128)
    var (controlLength, addressLength, flags) = (0, 0, CInt(0))
    let count: Int
    do throws(SystemError) {
        count = try system("look into socket") {
            address.withUnsafeMutableBytes { address in
                withMessage(&bytes, &control, useControl: true) { message in
                    message.pointee.msg_name = address.baseAddress
                    message.pointee.msg_namelen = socklen_t(address.count)
                    // MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC
                    let count = recvmsg(socket, message, 0x4000_0062)
                    controlLength = message.pointee.msg_controllen
                    addressLength = Int(message.pointee.msg_namelen)
                    flags = message.pointee.msg_flags
                    return count
                }
            }
        }
    } catch  where error.errno == .resourceTemporarilyUnavailable { return nil }
    bytes.removeLast(max(0, limit - count))
    var message = PeekedMessage(length: count, bytes: bytes, address: Array(address.prefix(addressLength)))
    var rest = control.prefix(controlLength)
    // struct cmsghdr: length 8, level 4, type 4, data.
    while let length = rest.integer(UInt64.self, at: 0), let type = rest.integer(CInt.self, at: 12),
        length >= 16, length <= UInt64(rest.count)
    {
        let data = Array(rest.prefix(Int(length)).dropFirst(16))
        if type == 1 {  // SCM_RIGHTS
            message.descriptors = stride(from: 0, to: data.count, by: 4).compactMap {
                data.integer(CInt.self, at: $0)
            }
        } else if type == 4, let pidfd = data.integer(CInt.self, at: 0) {  // SCM_PIDFD
            close(pidfd)
        } else if type == 2, let process = data.integer(pid_t.self, at: 0),
            let user = data.integer(UInt32.self, at: 4), let group = data.integer(UInt32.self, at: 8)
        {
            message.sender = SenderCredentials(process: process, user: user, group: group)
        }
        rest = rest.dropFirst((Int(length) + 7) & ~7)
    }
    guard flags & CInt(MSG_CTRUNC) == 0 else {
        for descriptor in message.descriptors { close(descriptor) }
        throw SystemError(.tooManyOpenFiles, "look at the descriptors under way in a socket")
    }
    return message
}

/// How many bytes at SO_PEEK_OFF were sent in pieces that end before `limit`: of one that does not, none is given where the
/// memory behind it cannot be written. recvmsg(2) with MSG_PEEK.
public func peekWholePieces(_ socket: CInt, limit: Int) throws(SystemError) -> Int {
    var bytes = [UInt8](repeating: 0, count: limit)
    do throws(SystemError) {
        return try system("look for a border in a socket") {
            bytes.withUnsafeMutableBytes { bytes in
                let room = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                var vectors = [room, iovec(iov_base: nil, iov_len: 1)]
                return vectors.withUnsafeMutableBufferPointer { vectors in
                    var message = msghdr()
                    message.msg_iov = vectors.baseAddress
                    message.msg_iovlen = vectors.count
                    return recvmsg(socket, &message, CInt(MSG_PEEK | MSG_DONTWAIT))
                }
            }
        }
    } catch  where error.errno == .badAddress { return 0 }
}

/// One received message; its descriptors are close-on-exec and the caller's to close.
public struct ReceivedMessage: Sendable {
    public var bytes: [UInt8]
    public var descriptors: [CInt]
    /// More than there was room for.
    public var truncated: Bool
}

/// Waits for one message. Empty bytes mean the other end is closed. recvmsg(2).
public func receiveMessage(
    _ socket: CInt, limit: Int, descriptors: Int = 0
) throws(SystemError) -> ReceivedMessage {
    var bytes = [UInt8](repeating: 0, count: limit)
    var control = [UInt8](repeating: 0, count: clinux_cmsg_space(max(descriptors, 1) * 4))
    var received: [CInt] = []
    var flags: CInt = 0
    let count = try system("receive message") {
        withMessage(&bytes, &control, useControl: true) { message in
            let cloexec: CInt = 0x4000_0000
            let count = recvmsg(socket, message, cloexec)
            flags = message.pointee.msg_flags
            if count >= 0, let header = clinux_cmsg_first(message), header.pointee.cmsg_type == 1,
                header.pointee.cmsg_level == SOL_SOCKET
            {
                let length = (Int(header.pointee.cmsg_len) - clinux_cmsg_len(0)) / 4
                guard let data = UnsafeRawPointer(clinux_cmsg_data(header)) else { return count }
                for index in 0..<length {
                    received.append(data.loadUnaligned(fromByteOffset: index * 4, as: CInt.self))
                }
            }
            return count
        }
    }
    bytes.removeLast(limit - count)
    let truncated = flags & CInt(MSG_TRUNC | MSG_CTRUNC) != 0
    return ReceivedMessage(bytes: bytes, descriptors: received, truncated: truncated)
}

private func withMessage(
    _ bytes: inout [UInt8], _ control: inout [UInt8], useControl: Bool,
    _ body: (UnsafeMutablePointer<msghdr>) -> Int
) -> Int {
    bytes.withUnsafeMutableBytes { bytes in
        control.withUnsafeMutableBytes { control in
            var vector = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
            return withUnsafeMutablePointer(to: &vector) { vector in
                var message = msghdr()
                message.msg_iov = vector
                message.msg_iovlen = 1
                if useControl {
                    message.msg_control = control.baseAddress
                    message.msg_controllen = control.count
                }
                return withUnsafeMutablePointer(to: &message) { body($0) }
            }
        }
    }
}
