import LinuxSystem

/// What is configured in a network namespace. Left out is what the kernel makes and changes by itself: routes of its own
/// where they come late (IPv6), addresses that it or a router gives, counters. rtnetlink(7).
struct NetworkObjects: ~Copyable {
    let netlink: NetlinkSocket
    private(set) var names: [CInt: String] = [:]
    private(set) var objects: [NetworkObject] = []

    /// Of the caller's network namespace.
    ///
    /// - Parameter lock: one of the caller's own, which is left out.
    static func all(except lock: ConnectionLock? = nil) throws -> [NetworkObject] {
        var all = NetworkObjects(netlink: try NetlinkSocket(CInt(NETLINK_ROUTE), name: "rtnetlink"))
        try all.addInterfaces()
        try all.addAddresses()
        try all.addRoutes()
        try all.addRules()
        try all.addNeighbours()
        try all.addOthers()
        return try all.objects + FirewallTable.all(except: lock?.table)
            + LegacyTables.all().map { NetworkObject(.legacy, [NetlinkAttribute(type: 1, value: Array($0.utf8))]) }
    }

    /// Interfaces alone.
    static func interfaces() throws -> [NetworkObject] {
        var all = NetworkObjects(netlink: try NetlinkSocket(CInt(NETLINK_ROUTE), name: "rtnetlink"))
        try all.addInterfaces()
        return all.objects
    }

    private init(netlink: consuming NetlinkSocket) { self.netlink = netlink }

    private func dump(_ what: String, _ type: CInt, _ header: [UInt8], _ attributes: [UInt8] = []) throws
        -> [NetlinkMessage]
    {
        try netlink.ask("list \(what)", type: UInt16(type), isDump: true, header + attributes)
            .filter { $0.body.count >= header.count }
    }

    private func name(_ index: CInt?) -> String { index.flatMap { names[$0] } ?? "" }

    private mutating func addInterfaces() throws {
        // IFLA_EXT_MASK: RTEXT_FILTER_SKIP_STATS
        let mask = NetlinkAttribute(type: 29, UInt32(1 << 3)).bytes
        let links = try dump("interfaces", CInt(RTM_GETLINK), [UInt8](repeating: 0, count: 16), mask)
        for link in links {
            let name = link.attributes(after: 16).value(3) ?? []
            if let index = link.body.integer(CInt.self, at: 4) {
                names[index] = String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
            }
        }
        for link in links { objects += InterfaceAttribute.object(of: link, names).map { [$0] } ?? [] }
    }

    private mutating func addAddresses() throws {
        for message in try dump("addresses", CInt(RTM_GETADDR), [UInt8](repeating: 0, count: 8)) {
            // struct ifaddrmsg: family, length of the prefix, flags, scope, interface
            let (header, attributes) = (message.body, message.attributes(after: 8))
            let flags = attributes.value(8)?.integer(UInt32.self, at: 0) ?? UInt32(header[2])
            // IFA_PROTO: by a router, or link-local; IFA_F_TEMPORARY, which for IPv4 only says that it is not the first one
            if [2, 3].contains(attributes.value(11)?.first ?? 0) { continue }
            if header[0] == UInt8(AF_INET6), flags & 1 != 0 { continue }
            let name = name(header.integer(CInt.self, at: 4))
            // IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_RT_PRIORITY, IFA_PROTO
            var kept = attributes.filter { [1, 2, 3, 4, 9, 11].contains($0.type) }
                .filter { $0.type != 3 || $0.value != Array(name.utf8) + [0] }
            // What can be asked of a new address: IFA_F_NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN
            kept.append(NetlinkAttribute(type: 8, flags & 0x712))
            // IFA_CACHEINFO: for how many seconds it is preferred and valid
            var passing: [NetlinkAttribute] = []
            if let times = attributes.value(6), times.count >= 8,
                Array(times[..<8]) != [UInt8](repeating: 255, count: 8)
            {
                kept.append(NetlinkAttribute(type: Self.isLimited, value: [1]))
                passing.append(NetlinkAttribute(type: 6, value: Array(times[..<8])))
            }
            objects.append(
                NetworkObject(
                    .address, of: name, header: [header[0], header[1], header[3]], kept.sorted, passing: passing))
        }
    }

    /// An attribute of our own: that an address has a lifetime.
    static let isLimited: UInt16 = 1000

    private mutating func addRoutes() throws {
        for message in try dump("routes", CInt(RTM_GETROUTE), [UInt8](repeating: 0, count: 12)) {
            // struct rtmsg: family, lengths of destination and source, tos, table, protocol, scope, type, flags
            let header = Array(message.body[..<12])
            let flags = header.integer(UInt32.self, at: 8) ?? 0
            // RTPROT_REDIRECT, RTPROT_RA; RTPROT_KERNEL, which makes those of IPv6 when it is ready; RTM_F_CLONED
            if [1, 9].contains(header[5]) || header[5] == 2 && header[0] != UInt8(AF_INET) || flags & 0x200 != 0 {
                continue
            }
            var attributes = message.attributes(after: 12)
            // RTA_CACHEINFO: rta_expires
            let expires = attributes.value(12)?.integer(UInt32.self, at: 8) ?? 0
            attributes = attributes.compactMap { attribute in
                switch attribute.type {
                case 3, 4:  // RTA_IIF, RTA_OIF
                    NetlinkAttribute(
                        type: attribute.type, value: Array(name(attribute.value.integer(CInt.self, at: 0)).utf8))
                case 9:  // RTA_MULTIPATH
                    NetlinkAttribute(type: 9, value: NextHop.named(attribute.value) { name($0) })
                case 12: nil
                default: attribute
                }
            }
            if expires != 0 { attributes.append(NetlinkAttribute(type: 23, value: [1])) }  // RTA_EXPIRES
            if attributes.value(15) == nil { attributes.append(NetlinkAttribute(type: 15, UInt32(header[4]))) }
            // RTNH_F_PERVASIVE, RTNH_F_ONLINK
            objects.append(
                NetworkObject(
                    .route, header: Array(header[..<4]) + Array(header[5..<8]) + [UInt8(flags & 6)], attributes.sorted))
        }
    }

    private mutating func addRules() throws {
        for message in try dump("rules", CInt(RTM_GETRULE), [UInt8](repeating: 0, count: 12)) {
            // struct fib_rule_hdr: family, lengths of destination and source, tos, table, 2 bytes, action, flags
            let header = Array(message.body[..<12])
            let flags = (header.integer(UInt32.self, at: 8) ?? 0) & 2  // FIB_RULE_INVERT
            objects.append(
                NetworkObject(
                    .rule, header: Array(header[..<4]) + [header[7], UInt8(flags)],
                    message.attributes(after: 12).filter { $0.type != 18 }.sorted))  // FRA_PAD
        }
    }

    /// What somebody has set: NUD_PERMANENT, proxies, and forwarding entries of bridges that are no interface's own.
    private mutating func addNeighbours() throws {
        // struct ndmsg: family, 3 bytes, interface, state, flags, type
        let own = Set(objects.filter { $0.kind == .interface }.compactMap { $0[1] })
        for (family, flags) in [(UInt8(0), UInt8(0)), (0, 8), (UInt8(AF_BRIDGE), 0)] {
            let request: [UInt8] = [family, 0, 0, 0, 0, 0, 0, 0, 0, 0, flags, 0]
            let messages: [NetlinkMessage]
            do { messages = try dump("neighbours", CInt(RTM_GETNEIGH), request) } catch let error as SystemError
                where family != 0 && error.errno == .notSupportedOnSocket
            { continue }
            for message in messages {
                let (header, attributes) = (message.body, message.attributes(after: 12))
                let state = header.integer(UInt16.self, at: 8) ?? 0
                let isProxy = header[10] & 8 != 0
                let isBridge = header[0] == UInt8(AF_BRIDGE)
                if isBridge {
                    // NTF_MASTER is not told: NDA_MASTER is; NUD_NOARP is static.
                    guard attributes.value(9) != nil, header[10] & 2 == 0 else { continue }
                    guard state & 0x40 != 0 || state & 0x80 != 0 && !own.contains(attributes.value(2) ?? []) else {
                        continue
                    }
                } else if isProxy != (flags == 8) || !isProxy && state & 0x80 == 0 {
                    continue
                }
                // NDA_DST, NDA_LLADDR, NDA_VLAN, NDA_PROTOCOL; NTF_PROXY, NTF_ROUTER
                objects.append(
                    NetworkObject(
                        isBridge ? .forwarding : .neighbour, of: name(header.integer(CInt.self, at: 4)),
                        header: [header[0], isProxy ? 0 : UInt8(state & 0xc0), isBridge ? 0 : header[10] & 0x88],
                        attributes.filter { [1, 2, 5, 12].contains($0.type) }.sorted))
            }
        }
    }

    private mutating func addOthers() throws {
        for message in try dump("queueing disciplines", CInt(RTM_GETQDISC), [UInt8](repeating: 0, count: 20)) {
            // struct tcmsg. Those that an interface comes with have no handle.
            guard let handle = message.body.integer(UInt32.self, at: 8), handle != 0 else { continue }
            // TCA_KIND, TCA_OPTIONS; those of htb have a counter.
            let kept = message.attributes(after: 20).filter { $0.type == 1 || $0.type == 2 }
            let isCounting = kept.value(1)?.starts(with: Array("htb".utf8)) == true
            objects.append(
                NetworkObject(
                    .queueing, of: name(message.body.integer(CInt.self, at: 4)), header: [UInt8](integers: [handle]),
                    kept.filter { $0.type == 1 || !isCounting }))
        }
        // RTM_GETNEXTHOP (Linux 5.3), RTM_GETADDRLABEL; struct nhmsg, struct ifaddrlblmsg
        for (kind, type, size) in [(NetworkObject.Kind.nexthop, CInt(106), 8), (.label, 74, 12)] {
            do {
                for message in try dump("\(kind)s", type, [UInt8](repeating: 0, count: size)) {
                    objects.append(
                        NetworkObject(
                            kind,
                            header: kind == .label ? [message.body[0], message.body[2]] : Array(message.body[..<4]),
                            message.attributes(after: size)))
                }
            } catch let error as SystemError where error.errno == .notSupportedOnSocket {}
        }
    }
}

extension [NetlinkAttribute] {
    /// By their types: the order says nothing.
    var sorted: [NetlinkAttribute] { sorted { $0.type < $1.type } }
}

/// One of several ways of a route, `struct rtnexthop`, by the name of its interface: the name's length and the name, flags,
/// weight, and attributes with their length in two bytes.
struct NextHop {
    var interface: String
    var flags: UInt8
    var weight: UInt8
    var attributes: [UInt8]

    static func named(_ bytes: [UInt8], _ name: (CInt) -> String) -> [UInt8] {
        var named: [UInt8] = []
        var rest = bytes[...]
        while let length = rest.integer(UInt16.self, at: 0), let index = rest.integer(CInt.self, at: 4), length >= 8,
            length <= rest.count
        {
            let interface = Array(name(index).utf8)
            named += [UInt8(interface.count)] + interface
            // RTNH_F_PERVASIVE, RTNH_F_ONLINK
            named += [rest[rest.startIndex + 2] & 6, rest[rest.startIndex + 3]]
            named.append(integer: length - 8)
            named += rest.prefix(Int(length)).dropFirst(8)
            rest = rest.dropFirst((Int(length) + 3) & ~3)
        }
        return named
    }

    /// Nil if these are none.
    static func all(in named: [UInt8]) -> [NextHop]? {
        var hops: [NextHop] = []
        var rest = named[...]
        while let size = rest.first {
            rest = rest.dropFirst()
            let name = rest.prefix(Int(size))
            rest = rest.dropFirst(Int(size))
            guard name.count == Int(size), let length = rest.integer(UInt16.self, at: 2), rest.count - 4 >= length
            else {
                return nil
            }
            hops.append(
                NextHop(
                    interface: String(decoding: name, as: UTF8.self), flags: rest[rest.startIndex],
                    weight: rest[rest.startIndex + 1], attributes: Array(rest.dropFirst(4).prefix(Int(length)))))
            rest = rest.dropFirst(4 + Int(length))
        }
        return hops
    }
}
