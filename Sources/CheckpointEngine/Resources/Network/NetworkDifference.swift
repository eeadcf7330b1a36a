import LinuxSystem

/// What a container has made of the network that it started with. `network.stasis` has a line for each object: `+` before
/// one that was added, `-` before one that was taken away; what was changed is both. `=` before an interface of both, for its
/// number.
struct NetworkDifference {
    private(set) var added: [NetworkObject] = []
    private(set) var gone: [NetworkObject] = []
    /// Interfaces that were there before and after.
    private var kept: [NetworkObject] = []
    /// Interfaces as the container started with them, of those that are not gone.
    private(set) var before: [String: NetworkObject] = [:]

    var isEmpty: Bool { added.isEmpty && gone.isEmpty }

    func added(_ kind: NetworkObject.Kind) -> [NetworkObject] { added.filter { $0.kind == kind } }

    init() {}

    init(from start: [NetworkObject], to now: [NetworkObject]) {
        let (before, after) = (Set(start), Set(now))
        added = now.filter { !before.contains($0) }
        gone = start.filter { !after.contains($0) && $0.kind != .visitor }
        // What packets and time have put into a set goes with its table.
        let tables = Set(added.filter { $0.kind == .table }.map(\.tableName))
        added.removeAll { $0.kind == .visitor && !tables.contains($0.tableName) }
        kept = now.filter { $0.kind == .interface && before.contains($0) }
        noteInterfaces()
    }

    private mutating func noteInterfaces() {
        let names = Set(added(.interface).map(\.interface))
        before = Dictionary(
            (gone.filter { $0.kind == .interface && names.contains($0.interface) } + kept).map { ($0.interface, $0) },
            uniquingKeysWith: { $1 })
    }

    // MARK: Text

    var text: String {
        (kept.map { "= \($0.line)" } + gone.map { "- \($0.line)" } + added.map { "+ \($0.line)" })
            .joined(separator: "\n")
    }

    /// Fails if it is no such text, or if it has what no restore makes.
    init(text: String) throws {
        for line in text.split(separator: "\n") {
            let object = try NetworkObject(line: line.dropFirst(2))
            switch line.prefix(2) {
            case "+ ": added.append(object)
            case "- ": gone.append(object)
            case "= " where object.kind == .interface: kept.append(object)
            default: throw CheckpointError("\(NetworkConfiguration.fileName): it is malformed")
            }
        }
        noteInterfaces()
        try check()
    }

    // MARK: What can be had back

    /// Fails, by name, if there is something that no restore makes or takes away.
    func check() throws {
        for object in added {
            do {
                try object.checkMaking()
                if object.kind == .interface {
                    if let old = before[object.interface] {
                        try object.checkChange(of: old)
                    } else {
                        try object.checkBirth()
                    }
                }
            } catch {
                throw CheckpointError("\(object) was added or changed, and a restore would be without it: \(error)")
            }
        }
        let changed = Set(before.keys)
        let kinds: Set<NetworkObject.Kind> = [.address, .route, .rule, .neighbour, .table]
        let tables = Set(gone.filter { $0.kind == .table }.map(\.tableName))
        for object in gone where !kinds.contains(object.kind) {
            // Goes with its interface or table.
            if object.kind == .interface, changed.contains(object.interface) { continue }
            if object.isInTable, tables.contains(object.tableName) { continue }
            throw CheckpointError("\(object) was taken away, and a restore would make it again")
        }
        let ownTables = Set(added.filter { $0.kind == .table }.map(\.tableName))
        for object in added where object.isInTable && !ownTables.contains(object.tableName) {
            throw CheckpointError(
                "\(object) was added or changed, and a restore would be without it: the container started with that table"
            )
        }
        for object in gone { try object.checkForm() }
        let names = Set(added(.interface).map(\.interface)).union(before.keys)
        for object in added where !object.isInTable {
            for name in object.interfaces where !names.contains(name) {
                throw CheckpointError("\(object): there is no interface \(name)")
            }
        }
    }
}

extension NetworkObject {
    /// Those that it names.
    var interfaces: [String] {
        switch kind {
        case .interface:
            [interface] + [InterfaceAttribute.lower, InterfaceAttribute.master].compactMap { text($0) }
        case .route:
            [3, 4].compactMap { text($0) }
                + (self[9].flatMap(NextHop.all) ?? []).map(\.interface).filter { !$0.isEmpty }
        case .address, .forwarding: [interface]
        default: interface.isEmpty ? [] : [interface]
        }
    }

    /// How long its fixed part is, and which attributes it may have.
    private var form: (header: Int, attributes: Set<UInt16>)? {
        switch kind {
        case .address: (3, [1, 2, 3, 4, 8, 9, 11, NetworkObjects.isLimited])
        // RTA_DST, _SRC, _IIF, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _METRICS, _MULTIPATH, _FLOW, _TABLE, _MARK, _VIA, _PREF,
        // _UID, _TTL_PROPAGATE, _IP_PROTO, _SPORT, _DPORT
        case .route: (8, [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 15, 16, 18, 20, 25, 26, 27, 28, 29])
        // All but FRA_UNUSED…
        case .rule:
            (6, [1, 2, 3, 4, 6, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30])
        case .neighbour, .forwarding: (3, [1, 2, 5, 12])
        default: nil
        }
    }

    /// Fails if it is none of its kind.
    func checkForm() throws {
        for name in interfaces { try Self.checkName(name) }
        guard let form else { return }
        guard header.count == form.header else { throw CheckpointError("its header is malformed") }
        for attribute in attributes {
            guard form.attributes.contains(attribute.type) else {
                throw CheckpointError(
                    "its attribute \(attribute.type)\(Self.names[attribute.type].map { " (\($0))" } ?? "") is not carried over"
                )
            }
            guard attribute.value.count <= 4096 else {
                throw CheckpointError("its attribute \(attribute.type) is too long")
            }
        }
        let families: [CInt] =
            kind == .forwarding ? [AF_BRIDGE] : [AF_INET, AF_INET6]
        guard families.contains(CInt(family)) else { throw CheckpointError("it is of family \(family)") }
        if kind == .address, self[NetworkObjects.isLimited] != nil,
            passing.first(where: { $0.type == 6 })?.value.count != 8
        {
            throw CheckpointError("its lifetime is missing")
        }
        if kind == .route {
            if let hops = self[9], NextHop.all(in: hops) == nil { throw CheckpointError("its ways are malformed") }
            for hop in self[9].flatMap(NextHop.all) ?? [] {
                // RTA_GATEWAY, RTA_FLOW, RTA_VIA
                guard NetlinkAttribute.all(in: hop.attributes).allSatisfy({ [5, 11, 18].contains($0.type) }) else {
                    throw CheckpointError("one of its ways has what is not carried over")
                }
            }
        }
    }

    private static let names: [UInt16: String] = [
        21: "encapsulation", 22: "encapsulation", 23: "a lifetime", 30: "a nexthop object",
    ]

    private static func checkName(_ name: String) throws {
        let isName =
            (1...15).contains(name.utf8.count) && name != "." && name != ".."
            && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && !"/:%".utf8.contains($0) }
        guard isName else { throw CheckpointError("no interface is called `\(name.prefix(40))` after a restore") }
    }

    func checkMaking() throws {
        try checkForm()
        switch kind {
        case .address, .route, .rule, .neighbour, .forwarding: return
        case .interface: try checkInterface()
        case .table, .chain, .set, .element, .visitor, .object, .statement: try FirewallTable.check(self)
        default: throw CheckpointError("this kind of object is not carried over")
        }
    }

    private static let plain: Set<UInt16> = [1, 2, 4, 5, 10, 13, 17, 18, 20, 27]

    private func checkInterface() throws {
        guard header.count == 4, index > 0 else { throw CheckpointError("its header is malformed") }
        let known = InterfaceAttribute.kinds[type] ?? []
        for attribute in attributes {
            let (type, size) = (attribute.type, attribute.value.count)
            let isKnown =
                switch type {
                case InterfaceAttribute.ofKind..<InterfaceAttribute.ofPort:
                    known.contains(type - InterfaceAttribute.ofKind)
                case InterfaceAttribute.ofPort..<InterfaceAttribute.index:
                    InterfaceAttribute.port.contains(type - InterfaceAttribute.ofPort)
                default: Self.plain.contains(type)
                }
            guard isKnown, size <= 256 else {
                if type == InterfaceAttribute.otherNamespace {
                    throw CheckpointError("its other end is in another network namespace")
                }
                if type == InterfaceAttribute.program { throw CheckpointError("it has an XDP program") }
                throw CheckpointError("its attribute \(type) is not carried over")
            }
        }
    }

    /// What can be changed of one that the container started with.
    func checkChange(of old: NetworkObject) throws {
        for type in Set(attributes.map(\.type) + old.attributes.map(\.type)) where self[type] != old[type] {
            let plain = Self.plain.subtracting([InterfaceAttribute.lower, InterfaceAttribute.kind])
            let isPort = (InterfaceAttribute.ofPort..<InterfaceAttribute.index).contains(type)
            guard plain.contains(type) || isPort else {
                throw CheckpointError("its attribute \(type) is another one, and the container started with it")
            }
        }
    }

    /// What a new interface must be.
    func checkBirth() throws {
        guard InterfaceAttribute.kinds[type] != nil else {
            throw CheckpointError(
                type.isEmpty ? "it was not made in the container" : "interfaces of kind \(type) are not carried over")
        }
        if type == "veth" || type == "vlan" || type == "macvlan", text(InterfaceAttribute.lower) == nil {
            throw CheckpointError("its other end is not in the container")
        }
        // IFLA_BR_VLAN_FILTERING
        if type == "bridge", self[InterfaceAttribute.ofKind + 7]?.first ?? 0 != 0 {
            throw CheckpointError("it filters VLANs")
        }
        if type == "tun" {
            // IFLA_TUN_PERSIST, IFLA_TUN_OWNER
            guard self[InterfaceAttribute.ofKind + 6]?.first == 1 else {
                throw CheckpointError("it goes when the program that holds it does")
            }
        }
    }
}
