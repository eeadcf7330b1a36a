import LinuxSystem

/// The attributes of an interface that somebody can set, by their numbers in a ``NetworkObject``: IFLA_…, and those of its
/// kind and of what it is a port of, which count from 0 again, behind these. linux/if_link.h
enum InterfaceAttribute {
    static let address: UInt16 = 1, broadcast: UInt16 = 2, mtu: UInt16 = 4, lower: UInt16 = 5, master: UInt16 = 10
    static let queueLength: UInt16 = 13, linkMode: UInt16 = 17, kind: UInt16 = 18, alias: UInt16 = 20,
        group: UInt16 = 27
    /// IFLA_LINK_NETNSID: the other end is in another network namespace. IFLA_XDP: it has a program.
    static let otherNamespace: UInt16 = 37, program: UInt16 = 43
    static let ofKind: UInt16 = 1000
    static let ofPort: UInt16 = 2000
    /// The interface's number, which is not compared.
    static let index: UInt16 = 3000

    /// With what can be set of each kind that is made again.
    static let kinds: [String: Set<UInt16>] = [
        // IFLA_BR_FORWARD_DELAY to _GROUP_ADDR, IFLA_BR_MCAST_ROUTER to _VLAN_DEFAULT_PVID, and what came later
        "bridge": Set(Array(1...9) + [20] + Array(22...39) + [41, 42, 43, 44, 45, 46, 49]),
        "veth": [], "ifb": [], "dummy": [],
        "vlan": [1, 2, 5],  // IFLA_VLAN_ID, _FLAGS, _PROTOCOL
        "macvlan": [1, 2, 7],  // IFLA_MACVLAN_MODE, _FLAGS, _BC_QUEUE_LEN
        "tun": [1, 2, 3, 4, 5, 6, 7],  // IFLA_TUN_OWNER to _MULTI_QUEUE
    ]
    /// What is there only if somebody has asked for it, and cannot be asked for anew: QoS of VLANs, macvlan's sources.
    static let refused: [String: Set<UInt16>] = ["vlan": [3, 4], "macvlan": [5]]
    /// Which of those that are set must be given when the interface is made.
    static let atBirth: [String: Set<UInt16>] = ["vlan": [1, 5], "macvlan": [1, 2], "tun": Set(1...7)]
    /// IFLA_BRPORT_PRIORITY to _PROXYARP_WIFI, _MULTICAST_ROUTER, _MCAST_FLOOD to _ISOLATED, _LOCKED, _MAB
    static let port: Set<UInt16> = Set(Array(2...10) + [12, 25] + Array(27...33) + [41, 42])

    /// IFF_UP, IFF_DEBUG, IFF_NOTRAILERS, IFF_NOARP, IFF_PROMISC, IFF_ALLMULTI, IFF_MULTICAST, IFF_PORTSEL, IFF_AUTOMEDIA,
    /// IFF_DYNAMIC. netdevice(7)
    static let flags: UInt32 = 0xf3a5

    /// Devices that a module of the kernel gives every namespace when it is loaded.
    private static let fallbacks: Set<String> = [
        "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0",
    ]

    /// From RTM_NEWLINK. Nil for one that nobody has touched.
    static func object(of link: NetlinkMessage, _ names: [CInt: String]) -> NetworkObject? {
        let attributes = link.attributes(after: 16)
        guard let index = link.body.integer(CInt.self, at: 4), let name = names[index],
            let flags = link.body.integer(UInt32.self, at: 8)
        else { return nil }
        if flags & 1 == 0, fallbacks.contains(name) { return nil }
        // IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA
        let information = NetlinkAttribute.all(in: attributes.value(kind) ?? [])
        let type = text(information.value(1))
        var kept = attributes.filter {
            [address, broadcast, mtu, queueLength, linkMode, alias, group].contains($0.type)
        }
        for reference in [lower, master] {
            guard let index = attributes.value(reference)?.integer(CInt.self, at: 0), index != 0 else { continue }
            kept.append(NetlinkAttribute(type: reference, value: Array((names[index] ?? "?").utf8)))
        }
        if let number = attributes.value(otherNamespace) {
            kept.append(NetlinkAttribute(type: otherNamespace, value: number))
            kept.removeAll { $0.type == lower }
        }
        // IFLA_XDP_ATTACHED
        if let attached = NetlinkAttribute.all(in: attributes.value(program) ?? []).value(2), attached != [0] {
            kept.append(NetlinkAttribute(type: program, value: attached))
        }
        if !type.isEmpty { kept.append(NetlinkAttribute(type: kind, value: Array(type.utf8))) }
        let known = (kinds[type] ?? []).union(refused[type] ?? [])
        kept += NetlinkAttribute.all(in: information.value(2) ?? []).filter { known.contains($0.type) }
            .map { NetlinkAttribute(type: ofKind + $0.type, value: $0.value) }
        if text(information.value(4)) == "bridge" {
            kept += NetlinkAttribute.all(in: information.value(5) ?? []).filter { port.contains($0.type) }
                .map { NetlinkAttribute(type: ofPort + $0.type, value: $0.value) }
        }
        return NetworkObject(
            .interface, of: name, header: [UInt8](integers: [flags & Self.flags]), kept.sorted,
            passing: [NetlinkAttribute(type: Self.index, index)])
    }

    private static func text(_ value: [UInt8]?) -> String {
        String(decoding: (value ?? []).prefix { $0 != 0 }, as: UTF8.self)
    }

    // MARK: Requests

    /// IFLA_IFNAME
    static func name(_ name: String) -> NetlinkAttribute { NetlinkAttribute(type: 3, value: Array(name.utf8) + [0]) }

    /// struct ifinfomsg.
    static func header(index: CInt, flags: UInt32 = 0, change: UInt32 = 0) -> [UInt8] {
        var body: [UInt8] = [0, 0, 0, 0]
        body.append(integer: index)
        body.append(integer: flags)
        body.append(integer: change)
        return body
    }

    static func nested(_ type: UInt16, _ attributes: [NetlinkAttribute]) -> NetlinkAttribute {
        NetlinkAttribute(type: type | 0x8000, value: attributes.flatMap(\.bytes))
    }

    /// IFLA_LINKINFO.
    static func information(_ kind: String, _ data: [NetlinkAttribute], port: [NetlinkAttribute] = [])
        -> NetlinkAttribute
    {
        var information = [NetlinkAttribute(type: 1, value: Array(kind.utf8) + [0])]
        if !data.isEmpty { information.append(nested(2, data)) }
        if !port.isEmpty {
            information += [NetlinkAttribute(type: 4, value: Array("bridge".utf8) + [0]), nested(5, port)]
        }
        return nested(Self.kind, information)
    }
}

extension NetworkObject {
    var index: CInt { passing.first { $0.type == InterfaceAttribute.index }?.value.integer(CInt.self, at: 0) ?? 0 }

    var flags: UInt32 { header.integer(UInt32.self, at: 0) ?? 0 }

    var type: String { text(InterfaceAttribute.kind) ?? "" }
}
