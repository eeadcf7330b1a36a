/// An interface of the caller's network namespace. netdevice(7).
public struct NetworkInterface: Sendable {
    public var name: String

    public init(_ name: String) { self.name = name }

    /// ioctl(2) SIOCGIFFLAGS and SIOCSIFFLAGS with IFF_UP.
    public func bringUp() throws(SystemError) {
        let socket = OwnedDescriptor(
            CInt(try systemCall("make socket", Int(SYS_socket), Int(AF_INET), Int(2 | O_CLOEXEC), 0)))
        var request = clinux_ifreq_flags()
        withUnsafeMutableBytes(of: &request.name) { $0.copyBytes(from: Array(name.utf8.prefix(15))) }
        try system("get flags of interface \(name)") {
            withUnsafeMutablePointer(to: &request) {
                clinux_ioctl(socket.raw, UInt(CLINUX_SIOCGIFFLAGS), UInt(bitPattern: $0))
            }
        }
        request.flags |= 1
        try system("bring interface \(name) up") {
            withUnsafeMutablePointer(to: &request) {
                clinux_ioctl(socket.raw, UInt(CLINUX_SIOCSIFFLAGS), UInt(bitPattern: $0))
            }
        }
    }
}

/// What an interface of the caller's network namespace is called. if_indextoname(3).
public func interfaceName(_ number: UInt32) throws(SystemError) -> String {
    var name = [CChar](repeating: 0, count: 16)
    guard if_indextoname(number, &name) != nil else { throw SystemError(.current, "name of interface \(number)") }
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// if_nametoindex(3).
public func interfaceNumber(_ name: String) throws(SystemError) -> UInt32 {
    let number = if_nametoindex(name)
    guard number != 0 else { throw SystemError(.current, "number of interface \(name)") }
    return number
}
