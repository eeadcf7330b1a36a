/// The interfaces of one network namespace. rtnetlink(7).
public struct RouteSocket: ~Copyable, Sendable {
    private let netlink: NetlinkSocket

    /// Of the caller's network namespace.
    public init() throws(SystemError) { netlink = try Self.open() }

    /// Of the network namespace that the descriptor holds: the caller goes there and comes back.
    public init(in namespace: CInt) throws(SystemError) {
        let own = try openAt(AT_FDCWD, "/proc/self/ns/net", O_RDONLY)
        try joinNamespaces(namespace, .network)
        let opened: NetlinkSocket
        do throws(SystemError) {
            opened = try Self.open()
        } catch {
            try joinNamespaces(own.raw, .network)
            throw error
        }
        try joinNamespaces(own.raw, .network)
        netlink = opened
    }

    private static func open() throws(SystemError) -> NetlinkSocket {
        try NetlinkSocket(CInt(NETLINK_ROUTE), name: "rtnetlink")
    }

    /// The kernel's number of an interface; nil if there is none of that name.
    public func index(of name: String) throws(SystemError) -> CInt? {
        do {
            let answers = try netlink.ask(
                "look for interface \(name)", type: UInt16(RTM_GETLINK),
                Self.linkBody(index: 0) + Self.nameAttribute(name).bytes)
            return answers.first?.body.integer(CInt.self, at: 4)
        } catch  where error.errno == .operationNotSupportedByDevice {
            return nil
        }
    }

    /// Moves an interface, which the kernel takes down for it, and gives it a name there. Hardware address and MTU go
    /// with it, network addresses do not.
    public func move(_ index: CInt, to namespace: CInt, name: String) throws(SystemError) {
        let target = NetlinkAttribute(type: UInt16(IFLA_NET_NS_FD), namespace)
        try netlink.ask(
            "move interface to another network namespace as \(name)", type: UInt16(RTM_SETLINK),
            Self.linkBody(index: index) + target.bytes + Self.nameAttribute(name).bytes)
    }

    public func bringUp(_ index: CInt) throws(SystemError) {
        try netlink.ask(
            "bring interface up", type: UInt16(RTM_SETLINK), Self.linkBody(index: index, flags: 1))  // IFF_UP
    }

    /// All addresses of an interface.
    public func addresses(of index: CInt) throws(SystemError) -> [InterfaceAddress] {
        let header = [UInt8](repeating: 0, count: InterfaceAddress.headerSize)
        return try netlink.ask("list addresses", type: UInt16(RTM_GETADDR), isDump: true, header)
            .filter { $0.body.integer(CInt.self, at: 4) == index }.compactMap(InterfaceAddress.init)
    }

    public func add(_ address: InterfaceAddress, to index: CInt) throws(SystemError) {
        try netlink.ask("add address \(address)", type: UInt16(RTM_NEWADDR), address.body(index: index))
    }

    /// struct ifinfomsg.
    private static func linkBody(index: CInt, flags: UInt32 = 0) -> [UInt8] {
        var body: [UInt8] = [0, 0, 0, 0]  // any family, any type
        body.append(integer: index)
        body.append(integer: flags)
        body.append(integer: flags)  // which of the flags to change
        return body
    }

    private static func nameAttribute(_ name: String) -> NetlinkAttribute {
        NetlinkAttribute(type: UInt16(IFLA_IFNAME), value: Array(name.utf8) + [0])
    }
}

/// A network address that an interface has.
public struct InterfaceAddress: Sendable, Equatable, CustomStringConvertible {
    /// AF_INET or AF_INET6.
    public var family: UInt8
    public var prefixLength: UInt8
    /// IFA_F_*.
    public var flags: UInt32
    public var scope: UInt8
    private(set) var attributes: [NetlinkAttribute]

    /// struct ifaddrmsg.
    static let headerSize = 8

    init?(_ message: NetlinkMessage) {
        guard message.body.count >= Self.headerSize else { return nil }
        (family, prefixLength, scope) = (message.body[0], message.body[1], message.body[3])
        attributes = message.attributes(after: Self.headerSize)
        let allFlags = attributes.first { $0.type == UInt16(IFA_FLAGS) }?.value.integer(UInt32.self, at: 0)
        flags = allFlags ?? UInt32(message.body[2])
    }

    /// Given by somebody to be used anywhere: not learnt from the network, and not of this link or host alone.
    public var isPermanentAndGlobal: Bool {
        flags & UInt32(IFA_F_PERMANENT) != 0 && scope == RT_SCOPE_UNIVERSE.rawValue
    }

    /// What can be asked of a new address; the others are the kernel's own findings.
    private static let askable = UInt32(
        IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE | IFA_F_MCAUTOJOIN)

    func body(index: CInt) -> [UInt8] {
        var body: [UInt8] = [family, prefixLength, 0, scope]
        body.append(integer: index)
        let kept = [IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY].map { UInt16($0) }
        for attribute in attributes where kept.contains(attribute.type) { body += attribute.bytes }
        return body + NetlinkAttribute(type: UInt16(IFA_FLAGS), flags & Self.askable).bytes
    }

    public var description: String {
        // Of a point-to-point link the second is the other end's.
        let value =
            [IFA_LOCAL, IFA_ADDRESS].lazy.compactMap { kind in attributes.first { $0.type == UInt16(kind) } }
            .first?.value ?? []
        return "\(numericAddress(value, family: family))/\(prefixLength)"
    }
}
