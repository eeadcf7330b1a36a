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
