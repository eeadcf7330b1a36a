import LinuxSystem

/// The interfaces of a container that is being restored: makes those that are missing, and changes what is different.
struct NetworkInterfaces: ~Copyable {
    private let netlink: NetlinkSocket
    private let difference: NetworkDifference
    private var now: [String: NetworkObject]

    init(_ difference: NetworkDifference) throws {
        let now = try Self.all()
        let opened = try NetlinkSocket(CInt(NETLINK_ROUTE), name: "rtnetlink")
        netlink = opened
        self.now = now
        self.difference = difference
    }

    private mutating func look() throws { now = try Self.all() }

    private static func all() throws -> [String: NetworkObject] {
        Dictionary(try NetworkObjects.interfaces().map { ($0.interface, $0) }, uniquingKeysWith: { $1 })
    }

    private func index(_ name: String) throws -> CInt {
        guard let index = now[name]?.index else {
            throw CheckpointError("there is no interface \(name) in the new container")
        }
        return index
    }

    /// Makes the new ones, each after those that it is made of, and gives all what they had; none is brought up yet.
    mutating func make() throws {
        var missing = difference.added(.interface).filter { difference.before[$0.interface] == nil }
        for object in missing where now[object.interface] != nil {
            throw CheckpointError("\(object): the new container comes with an interface of that name")
        }
        while !missing.isEmpty {
            var later: [NetworkObject] = []
            for object in missing {
                if now[object.interface] != nil { continue }  // a pair's other end
                if object.type != "veth", let lower = object.text(InterfaceAttribute.lower), now[lower] == nil {
                    later.append(object)
                    continue
                }
                try about("\(object)") { try make(object) }
                try look()
            }
            guard later.count < missing.count else {
                throw CheckpointError("\(later[0]): what it is made of is not there")
            }
            missing = later
        }
        // To set one may change others.
        for _ in 0..<4 where try changeAll() { try look() }
    }

    private func make(_ object: NetworkObject) throws {
        let kind = object.type
        if kind == "tun" { return try tunnel(object).make() }
        var data = object.attributes.filter {
            InterfaceAttribute.atBirth[kind]?.contains($0.type &- InterfaceAttribute.ofKind) == true
        }.map { NetlinkAttribute(type: $0.type - InterfaceAttribute.ofKind, value: $0.value) }
        var attributes = [InterfaceAttribute.name(object.interface)]
        if let address = object[InterfaceAttribute.address] {
            attributes.append(NetlinkAttribute(type: InterfaceAttribute.address, value: address))
        }
        if let lower = object.text(InterfaceAttribute.lower) {
            if kind == "veth" {
                guard let other = difference.added(.interface).first(where: { $0.interface == lower }) else {
                    throw CheckpointError("its other end is not in the image")
                }
                // VETH_INFO_PEER: a whole message
                let peer = [InterfaceAttribute.name(lower)] + other.attributes.filter { $0.type == 1 }
                data = [
                    NetlinkAttribute(
                        type: 1 | 0x8000,
                        value: InterfaceAttribute.header(index: other.index) + peer.flatMap(\.bytes))
                ]
            } else {
                attributes.append(NetlinkAttribute(type: InterfaceAttribute.lower, try index(lower)))
            }
        }
        attributes.append(InterfaceAttribute.information(kind, data))
        do {
            // NLM_F_CREATE, NLM_F_EXCL
            try netlink.ask(
                "make it", type: UInt16(RTM_NEWLINK), flags: 0x600,
                InterfaceAttribute.header(index: object.index) + attributes.flatMap(\.bytes))
        } catch {
            guard error.errno == .resourceBusy else { throw error }
            throw CheckpointError("its number \(object.index) is another interface's in the new container")
        }
    }

    private func tunnel(_ object: NetworkObject) throws -> Tunnel {
        func byte(_ type: UInt16) -> Bool { object[InterfaceAttribute.ofKind + type]?.first ?? 0 != 0 }
        // IFLA_TUN_TYPE is IFF_TUN or IFF_TAP; IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE
        let kind = object[InterfaceAttribute.ofKind + 3]?.first == 2 ? 2 : 1
        let flags = Int16(kind | (byte(4) ? 0 : 0x1000) | (byte(5) ? 0x4000 : 0) | (byte(7) ? 0x100 : 0))
        return Tunnel(
            name: object.interface, index: object.index, flags: flags,
            owner: object.number(InterfaceAttribute.ofKind + 1), group: object.number(InterfaceAttribute.ofKind + 2))
    }

    // MARK: Changes

    /// What the container had changed of an interface, or a new one has otherwise than one that was just made.
    private func wanted(_ object: NetworkObject) -> [(type: UInt16, value: [UInt8]?)] {
        guard let now = now[object.interface] else { return [] }
        let before = difference.before[object.interface]
        return Set(object.attributes.map(\.type) + (before ?? now).attributes.map(\.type)).sorted()
            .map { ($0, object[$0]) }
            .filter { type, value in now[type] != value && (before == nil || before?[type] != value) }
    }

    /// - Returns: whether there was anything to do.
    private func changeAll() throws -> Bool {
        var hasChanged = false
        for object in difference.added(.interface) {
            let changes = wanted(object)
            if changes.isEmpty { continue }
            hasChanged = true
            try about("\(object)") { try change(object, changes) }
        }
        return hasChanged
    }

    private func change(_ object: NetworkObject, _ changes: [(type: UInt16, value: [UInt8]?)]) throws {
        let index = try index(object.interface)
        var data: [NetlinkAttribute] = []
        for (type, value) in changes {
            let attribute: NetlinkAttribute
            switch type {
            case InterfaceAttribute.master:
                let master = try object.text(type).map { try self.index($0) } ?? 0
                attribute = NetlinkAttribute(type: type, master)
            case InterfaceAttribute.alias: attribute = NetlinkAttribute(type: type, value: value ?? [0])
            case InterfaceAttribute.ofKind..<InterfaceAttribute.ofPort:
                guard let value else { continue }
                data.append(NetlinkAttribute(type: type - InterfaceAttribute.ofKind, value: value))
                continue
            case InterfaceAttribute.ofPort..<InterfaceAttribute.index:
                guard let value, let master = object[InterfaceAttribute.master], now[object.interface]?[10] == master
                else { continue }
                let port = NetlinkAttribute(type: type - InterfaceAttribute.ofPort, value: value)
                attribute = InterfaceAttribute.nested(
                    InterfaceAttribute.kind,
                    [
                        NetlinkAttribute(type: 4, value: Array("bridge".utf8) + [0]),
                        InterfaceAttribute.nested(5, [port]),
                    ])
            default:
                guard let value else { continue }
                attribute = NetlinkAttribute(type: type, value: value)
            }
            try set(index, attribute, "attribute \(type)")
        }
        if data.isEmpty { return }
        // All at once: the timers of a bridge depend on each other.
        try set(index, InterfaceAttribute.information(object.type, data), "what its kind has")
    }

    private func set(_ index: CInt, _ attribute: NetlinkAttribute, _ what: String) throws {
        try netlink.ask(
            "set \(what)", type: UInt16(RTM_NEWLINK), InterfaceAttribute.header(index: index) + attribute.bytes)
    }

    /// Takes down what was down, brings up what was up, and whether it hears all.
    func setFlags() throws {
        for object in difference.added(.interface) {
            let change: UInt32
            if let before = difference.before[object.interface] {
                change = before.flags ^ object.flags
            } else {
                change =
                    InterfaceAttribute.flags & ~(now[object.interface]?.flags ?? 0) & object.flags
                    | (now[object.interface]?.flags ?? 0) & ~object.flags
            }
            if change == 0 { continue }
            try about("\(object)") {
                let header = InterfaceAttribute.header(
                    index: try index(object.interface), flags: object.flags, change: change)
                try netlink.ask("set its flags", type: UInt16(RTM_NEWLINK), header)
            }
        }
    }

    /// Fails if one is not as it was.
    mutating func verify() throws {
        try look()
        for object in difference.added(.interface) {
            let difference = wanted(object)
            guard difference.isEmpty else {
                throw CheckpointError(
                    "\(object): attribute \(difference[0].type) does not come back: it is "
                        + "\((now[object.interface]?[difference[0].type] ?? []).hex), and was \((difference[0].value ?? []).hex)"
                )
            }
            let before = self.difference.before[object.interface]?.flags ?? ~object.flags
            guard let now = now[object.interface], (now.flags ^ object.flags) & (before ^ object.flags) == 0 else {
                throw CheckpointError("\(object): its flags do not come back")
            }
        }
    }
}
