/// A TCP segment in a peer's name, for a socket of the caller's network namespace: it says again what the peer has said before
/// a checkpoint. raw(7), ipv6(7)
public struct ForgedSegment: Sendable {
    public struct Flags: OptionSet, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        public static let end = Flags(rawValue: 0x01)
        public static let synchronize = Flags(rawValue: 0x02)
        public static let reset = Flags(rawValue: 0x04)
        public static let acknowledgement = Flags(rawValue: 0x10)
    }

    /// As its own end names it, which gets the segment.
    public var connection: ConnectionName
    public var sequence: UInt32
    public var acknowledged: UInt32
    public var flags: Flags
    public var window: UInt16
    /// Of the header: at most 40 bytes, in words of four.
    public var options: [UInt8] = []
    /// With the headers no more than `lo` takes.
    public var data: ArraySlice<UInt8> = []

    public init(
        to connection: ConnectionName, sequence: UInt32, acknowledged: UInt32, flags: Flags, window: UInt16
    ) {
        (self.connection, self.sequence, self.acknowledged) = (connection, sequence, acknowledged)
        (self.flags, self.window) = (flags, window)
    }

    /// - Parameter interface: of link-local addresses.
    public func send(interface: UInt32) throws(SystemError) {
        let isV4 = connection.local.count == 4
        let (raw, protocolRaw) = (Int(SOCK_RAW.rawValue) | Int(O_CLOEXEC), 255)
        let socket = OwnedDescriptor(
            CInt(
                try systemCall(
                    "open a raw socket", Int(SYS_socket), isV4 ? Int(AF_INET) : Int(AF_INET6), raw, protocolRaw)))
        var mark = ConnectionLock.mark
        try system("mark a raw socket") { setsockopt(socket.raw, SOL_SOCKET, SO_MARK, &mark, 4) }
        let packet = bytes
        // struct sockaddr_in or sockaddr_in6, without port
        var address: [UInt8] = [UInt8(isV4 ? AF_INET : AF_INET6), 0, 0, 0]
        address += isV4 ? connection.local + [UInt8](repeating: 0, count: 8) : [0, 0, 0, 0] + connection.local
        if !isV4 { address.append(integer: interface) }
        try system("send a segment to a restored connection") {
            packet.withUnsafeBytes { packet in
                address.withUnsafeBytes { address in
                    clinux_syscall(
                        Int(SYS_sendto), Int(socket.raw), Int(bitPattern: packet.baseAddress), packet.count, 0,
                        Int(bitPattern: address.baseAddress), address.count)
                }
            }
        }
    }

    /// The packet with its header. The kernel adds the checksum of IPv4's.
    var bytes: [UInt8] {
        var segment: [UInt8] = []
        segment.append(integer: connection.remotePort.bigEndian)
        segment.append(integer: connection.localPort.bigEndian)
        segment.append(integer: sequence.bigEndian)
        segment.append(integer: acknowledged.bigEndian)
        segment += [UInt8(5 + options.count / 4) << 4, flags.rawValue]
        segment.append(integer: window.bigEndian)
        segment += [0, 0, 0, 0] + options + data
        let addresses = connection.remote + connection.local
        let length = UInt16(segment.count)
        let padding = [UInt8](repeating: 0, count: segment.count % 2)
        let sum = Self.checksum(addresses + [0, 6, UInt8(length >> 8), UInt8(length & 255)] + segment + padding)
        segment[16] = UInt8(sum >> 8)
        segment[17] = UInt8(sum & 255)
        let isV4 = connection.local.count == 4
        let told = isV4 ? length + 20 : length
        let size = [UInt8(told >> 8), UInt8(told & 255)]
        let header: [UInt8] = isV4 ? [0x45, 0] + size + [0, 0, 0, 0, 64, 6, 0, 0] : [0x60, 0, 0, 0] + size + [6, 64]
        return header + addresses + segment
    }

    /// RFC 1071; of an even number of bytes.
    private static func checksum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for place in stride(from: 0, to: bytes.count, by: 2) {
            sum += UInt32(bytes[place]) << 8 | UInt32(bytes[place + 1])
        }
        while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
        return ~UInt16(sum)
    }
}
