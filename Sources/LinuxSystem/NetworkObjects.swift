/// What is configured in a network namespace, as a line of text for each object; equal lines are equal objects. Left out is
/// what the kernel makes and changes by itself: routes of its own, addresses that it or a router gives, counters.
/// rtnetlink(7).
public struct NetworkObjects: ~Copyable {
    private let netlink: NetlinkSocket
    private var names: [CInt: String] = [:]
    private var lines: [String] = []

    /// Of the caller's network namespace.
    public static func all() throws(SystemError) -> [String] {
        var objects = NetworkObjects(netlink: try NetlinkSocket(CInt(NETLINK_ROUTE), name: "rtnetlink"))
        try objects.addInterfaces()
        try objects.addAddresses()
        try objects.addRoutes()
        try objects.addRules()
        try objects.addNeighbours()
        try objects.addQueueingDisciplines()
        return objects.lines
    }

    private init(netlink: consuming NetlinkSocket) { self.netlink = netlink }

    private func dump(_ what: String, _ type: CInt, headerSize: Int, _ attributes: [UInt8] = []) throws(SystemError)
        -> [NetlinkMessage]
    {
        let header = [UInt8](repeating: 0, count: headerSize)
        return try netlink.ask("list \(what)", type: UInt16(type), isDump: true, header + attributes)
    }

    private func name(_ index: CInt?) -> String { index.flatMap { names[$0] } ?? "interface \(index ?? 0)" }

    /// Devices that a module of the kernel gives every namespace when it is loaded.
    private static let fallbacks: Set<String> = [
        "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0",
    ]

    private mutating func addInterfaces() throws(SystemError) {
        // IFLA_EXT_MASK: RTEXT_FILTER_SKIP_STATS
        let mask = NetlinkAttribute(type: 29, UInt32(1 << 3)).bytes
        let links = try dump("interfaces", CInt(RTM_GETLINK), headerSize: 16, mask)
        func text(_ value: [UInt8]?) -> String { String(decoding: (value ?? []).prefix { $0 != 0 }, as: UTF8.self) }
        for link in links {
            let attributes = link.attributes(after: 16)
            if let index = link.body.integer(CInt.self, at: 4) { names[index] = text(attributes.value(3)) }
        }
        for link in links {
            let attributes = link.attributes(after: 16)
            let name = text(attributes.value(3))
            let flags = link.body.integer(UInt32.self, at: 8) ?? 0
            if flags & 1 == 0, Self.fallbacks.contains(name) { continue }
            // IFLA_LINKINFO, IFLA_INFO_KIND
            let kind = text(NetlinkAttribute.all(in: attributes.value(18) ?? []).value(1))
            var line = "interface \(name)\(kind.isEmpty ? "" : " (\(kind))"), \(flags & 1 == 0 ? "down" : "up")"
            // IFF_NOARP, IFF_PROMISC, IFF_ALLMULTI, IFF_MULTICAST
            for (bit, word) in [(7, "noarp"), (8, "promisc"), (9, "allmulti"), (12, "multicast")]
            where flags & 1 << UInt32(bit) != 0 {
                line += ", \(word)"
            }
            line +=
                ", MTU \(attributes.value(4)?.integer(UInt32.self, at: 0) ?? 0), address \((attributes.value(1) ?? []).hex)"
            if let master = attributes.value(10)?.integer(CInt.self, at: 0) { line += ", in \(self.name(master))" }
            // IFLA_XDP, IFLA_XDP_ATTACHED
            if let program = NetlinkAttribute.all(in: attributes.value(43) ?? []).value(2), program != [0] {
                line += ", with XDP"
            }
            lines.append(line)
        }
    }

    private mutating func addAddresses() throws(SystemError) {
        for message in try dump("addresses", CInt(RTM_GETADDR), headerSize: 8) {
            guard let address = InterfaceAddress(message) else { continue }
            // IFA_PROTO: by a router, or link-local; IFA_F_TEMPORARY
            let source = address.attributes.value(11)?.first ?? 0
            if [2, 3].contains(source) || address.flags & 1 != 0 { continue }
            lines.append("address \(address) of \(name(message.body.integer(CInt.self, at: 4)))")
        }
    }

    private mutating func addRoutes() throws(SystemError) {
        for message in try dump("routes", CInt(RTM_GETROUTE), headerSize: 12) {
            // struct rtmsg: family, lengths of destination and source, tos, table, protocol, scope, type, flags
            guard message.body.count >= 12 else { continue }
            let header = Array(message.body[..<12])
            // RTPROT_REDIRECT, RTPROT_KERNEL, RTPROT_RA; RTM_F_CLONED
            if [1, 2, 9].contains(header[5]) || (header.integer(UInt32.self, at: 8) ?? 0) & 0x200 != 0 { continue }
            let attributes = message.attributes(after: 12)
            let family = header[0]
            let target = attributes.value(1).map { numericAddress($0, family: family) + "/\(header[1])" } ?? "default"
            var line = "route \(target) (\(familyName(family)))"
            if let gateway = attributes.value(5) { line += " via \(numericAddress(gateway, family: family))" }
            if let index = attributes.value(4)?.integer(CInt.self, at: 0) { line += " by \(name(index))" }
            line += " in table \(attributes.value(15)?.integer(UInt32.self, at: 0) ?? UInt32(header[4]))"
            line += ", \(Array(header[2...7]).hex)"
            // RTA_CACHEINFO has times.
            let others = attributes.filter { ![1, 4, 5, 12, 15].contains($0.type) }.map { "\($0.type)=\($0.value.hex)" }
            lines.append(([line] + others.sorted()).joined(separator: " "))
        }
    }

    private mutating func addRules() throws(SystemError) {
        for message in try dump("rules", CInt(RTM_GETRULE), headerSize: 12) {
            guard message.body.count >= 12 else { continue }
            let attributes = message.attributes(after: 12)
            let priority = attributes.value(6)?.integer(UInt32.self, at: 0) ?? 0
            let others = attributes.map { "\($0.type)=\($0.value.hex)" }.sorted().joined(separator: " ")
            lines.append(
                "routing rule \(priority) (\(familyName(message.body[0]))), \(Array(message.body[1..<12]).hex) \(others)"
            )
        }
    }

    private mutating func addNeighbours() throws(SystemError) {
        for message in try dump("neighbours", CInt(RTM_GETNEIGH), headerSize: 12) {
            // struct ndmsg: NUD_PERMANENT, what somebody has set
            guard (message.body.integer(UInt16.self, at: 8) ?? 0) & 0x80 != 0 else { continue }
            let attributes = message.attributes(after: 12)
            let address = numericAddress(attributes.value(1) ?? [], family: message.body[0])
            lines.append(
                "neighbour \(address) of \(name(message.body.integer(CInt.self, at: 4))) at \((attributes.value(2) ?? []).hex)"
            )
        }
    }

    private mutating func addQueueingDisciplines() throws(SystemError) {
        for message in try dump("queueing disciplines", CInt(RTM_GETQDISC), headerSize: 20) {
            // struct tcmsg. Those that an interface comes with have no handle.
            guard let handle = message.body.integer(UInt32.self, at: 8), handle != 0 else { continue }
            let attributes = message.attributes(after: 20)
            let kind = String(decoding: (attributes.value(1) ?? []).prefix { $0 != 0 }, as: UTF8.self)
            // That of htb has a counter.
            let options = kind == "htb" ? "" : " \((attributes.value(2) ?? []).hex)"
            lines.append(
                "queueing discipline \(kind) \(String(handle >> 16, radix: 16)): of "
                    + "\(name(message.body.integer(CInt.self, at: 4)))\(options)")
        }
    }
}

private func familyName(_ family: UInt8) -> String {
    switch CInt(family) {
    case AF_INET: "IPv4"
    case AF_INET6: "IPv6"
    default: "family \(family)"
    }
}

/// As inet_ntop(3) writes it.
func numericAddress(_ value: [UInt8], family: UInt8) -> String {
    let size = family == UInt8(AF_INET) ? 4 : 16
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    guard value.count == size, inet_ntop(CInt(family), value, &text, socklen_t(text.count)) != nil else {
        return value.hex
    }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

extension [NetlinkAttribute] {
    /// The value of the first one of a type.
    func value(_ type: UInt16) -> [UInt8]? { first { $0.type == type }?.value }
}

extension [UInt8] {
    var hex: String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
