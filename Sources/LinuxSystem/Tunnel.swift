/// A network interface whose other end is a program (TUN, TAP), and which stays when no program holds it. linux/if_tun.h
public struct Tunnel: Sendable {
    public var name: String
    public var index: CInt
    /// IFF_TUN or IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE.
    public var flags: Int16
    /// Who may hold it besides those with CAP_NET_ADMIN, by their ids outside.
    public var owner: UInt32?
    public var group: UInt32?

    public init(name: String, index: CInt, flags: Int16, owner: UInt32?, group: UInt32?) {
        (self.name, self.index, self.flags, self.owner, self.group) = (name, index, flags, owner, group)
    }

    /// Makes it in the caller's network namespace.
    public func make() throws(SystemError) {
        let device = try openAt(AT_FDCWD, "/dev/net/tun", O_RDWR)
        let raw = device.raw
        // TUNSETIFINDEX, TUNSETIFF
        var number = index
        try system("choose the number of interface \(name)") {
            withUnsafeMutablePointer(to: &number) { clinux_ioctl(raw, 0x4004_54da, UInt(bitPattern: $0)) }
        }
        var request = clinux_ifreq_flags()
        withUnsafeMutableBytes(of: &request.name) { $0.copyBytes(from: Array(name.utf8.prefix(15))) }
        request.flags = flags
        try system("make interface \(name)") {
            withUnsafeMutablePointer(to: &request) { clinux_ioctl(raw, 0x4004_54ca, UInt(bitPattern: $0)) }
        }
        // TUNSETOWNER, TUNSETGROUP, TUNSETPERSIST
        for (code, value) in [(UInt(0x4004_54cc), owner), (0x4004_54ce, group), (0x4004_54cb, 1)] {
            guard let value else { continue }
            try system("set owner and persistence of interface \(name)") { clinux_ioctl(raw, code, UInt(value)) }
        }
    }
}
