import LinuxSystem

/// Address and port of a socket of AF_INET or AF_INET6. ip(7), ipv6(7)
struct InternetAddress {
    let family: CInt
    /// In the network's order, as CRIU's entries have them: one, or four.
    let words: [UInt32]
    let port: UInt16
    /// That of a link-local address.
    var interface: UInt32 = 0

    init(_ family: CInt, _ words: [UInt32], port: UInt32, interface: UInt32 = 0) throws {
        guard words.count == (family == AF_INET ? 1 : 4), let port = UInt16(exactly: port) else {
            throw CheckpointError("an address of \(words.count) words, port \(port)")
        }
        (self.family, self.words, self.port, self.interface) = (family, words, port, interface)
    }

    /// What getsockname(2) or getpeername(2) has said.
    init(_ family: CInt, sockaddr bytes: [UInt8]) throws {
        let first = family == AF_INET ? 4 : 8
        let words = (0..<(family == AF_INET ? 1 : 4)).compactMap { bytes.integer(UInt32.self, at: first + 4 * $0) }
        let interface = family == AF_INET6 ? bytes.integer(UInt32.self, at: 24) ?? 0 : 0
        let port = bytes.integer(UInt16.self, at: 2) ?? 0
        try self.init(family, words, port: UInt32(UInt16(bigEndian: port)), interface: interface)
    }

    static func local(of socket: CInt, _ family: CInt) throws -> InternetAddress {
        try InternetAddress(family, sockaddr: try SocketOptions.address(socket))
    }

    /// struct sockaddr_in or sockaddr_in6.
    var sockaddr: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(integer: UInt16(truncatingIfNeeded: family))
        bytes.append(integer: port.bigEndian)
        if family == AF_INET6 { bytes.append(integer: UInt32(0)) }
        for word in words { bytes.append(integer: word) }
        if family == AF_INET { bytes.append(integer: UInt64(0)) } else { bytes.append(integer: interface) }
        return bytes
    }

    /// As packets have it: 4 bytes also of an IPv4 address that is written as one of IPv6.
    var bytes: [UInt8] {
        let all = [UInt8](integers: words)
        return all.starts(with: Self.mapped) ? Array(all.dropFirst(12)) : all
    }

    /// One of IPv4 that is written as one of IPv6, as one of IPv4.
    var plain: InternetAddress {
        family == AF_INET6 && bytes.count == 4 ? InternetAddress(ipv4: words[3], port: port) : self
    }

    private init(ipv4 word: UInt32, port: UInt16) { (family, words, self.port) = (AF_INET, [word], port) }

    private static let mapped = [UInt8](repeating: 0, count: 10) + [255, 255]

    /// With a link-local address, the name of its interface in the container's network.
    func interfaceName(in dump: Dump) throws -> String? {
        let number = interface
        return number == 0
            ? nil : try inNamespace(.network, of: dump.first.hostPid) { try LinuxSystem.interfaceName(number) }
    }
}

extension InternetAddress: CustomStringConvertible {
    var description: String {
        let all = [UInt8](integers: words)
        guard family == AF_INET6 else { return all.map { "\($0)" }.joined(separator: ".") + ":\(port)" }
        if all.starts(with: Self.mapped) { return bytes.map { "\($0)" }.joined(separator: ".") + ":\(port)" }
        let groups = stride(from: 0, to: 16, by: 2).map { UInt16(all[$0]) << 8 | UInt16(all[$0 + 1]) }
        return "[" + groups.map { String($0, radix: 16) }.joined(separator: ":") + "]:\(port)"
    }
}
