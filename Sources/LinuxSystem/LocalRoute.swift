/// Whether what the caller's network namespace sends to an address stays in it: one of its own, not a neighbour's, no
/// broadcast and no group. By RTM_GETROUTE, rtnetlink(7).
///
/// - Parameters:
///   - address: of 4 or 16 bytes, in the network's order.
///   - mark: SO_MARK of the socket that is to send, which may choose another table.
public func isLocalAddress(_ address: [UInt8], mark: UInt32 = 0) throws(SystemError) -> Bool {
    let family = UInt8(address.count == 4 ? AF_INET : AF_INET6)
    // struct rtmsg: family, length of the destination in bits, 10 more bytes; RTA_DST, RTA_MARK
    let header: [UInt8] = [family, UInt8(clamping: address.count * 8)] + [UInt8](repeating: 0, count: 10)
    let attributes = [NetlinkAttribute(type: 1, value: address), NetlinkAttribute(type: 16, mark)]
    let body: [UInt8] = header + attributes.flatMap(\.bytes)
    let netlink = try NetlinkSocket(CInt(NETLINK_ROUTE), name: "rtnetlink")
    do throws(SystemError) {
        let answers = try netlink.ask("look for the route to an address", type: UInt16(RTM_GETROUTE), body)
        guard let route = answers.first?.body, route.count >= 12 else { return false }
        // RTN_LOCAL
        return route[7] == 2
    } catch  where noRoute.contains(error.errno.rawValue) {
        return false
    }
}

/// What the kernel says of an address to which it has no route, or one that refuses, or whose family it does not have.
private let noRoute: Set<CInt> = [ENETUNREACH, EHOSTUNREACH, EINVAL, EACCES, EAFNOSUPPORT, EOPNOTSUPP]
