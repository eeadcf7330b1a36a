import LinuxSystem

/// Makes addresses, routes, rules and neighbours again, or takes them away. Each message is built from what was understood of
/// its object. rtnetlink(7)
struct RouteReplay: ~Copyable {
    private let netlink: NetlinkSocket
    private let indices: [String: CInt]

    /// In the caller's network namespace.
    init() throws {
        let interfaces = try NetworkObjects.interfaces()
        let opened = try NetlinkSocket(CInt(NETLINK_ROUTE), name: "rtnetlink")
        netlink = opened
        indices = Dictionary(interfaces.map { ($0.interface, $0.index) }, uniquingKeysWith: { $1 })
    }

    private func index(_ name: String?) throws -> CInt {
        guard let name, !name.isEmpty else { return 0 }
        guard let index = indices[name] else {
            throw CheckpointError("there is no interface \(name) in the new container")
        }
        return index
    }

    /// In the order in which the kernel told them. What needs another one is tried again when that is there.
    func add(_ objects: [NetworkObject]) throws {
        var left = objects
        while !left.isEmpty {
            var later: [(object: NetworkObject, error: SystemError)] = []
            for object in left {
                do { try add(object) } catch let error as SystemError {
                    if error.errno == .fileExists { continue }  // as the kernel makes it itself
                    later.append((object, error))
                }
            }
            if later.count == left.count, let first = later.first {
                throw CheckpointError("\(first.object) does not come back: \(first.error)")
            }
            left = later.map(\.object)
        }
    }

    private func add(_ object: NetworkObject) throws {
        let types: [NetworkObject.Kind: Int] = [
            .address: Int(RTM_NEWADDR), .route: Int(RTM_NEWROUTE), .rule: Int(RTM_NEWRULE),
            .neighbour: Int(RTM_NEWNEIGH),
            .forwarding: Int(RTM_NEWNEIGH),
        ]
        guard let type = types[object.kind] else { return }
        let isInternet6 = object.kind == .address && object.family == UInt8(AF_INET6)
        // NLM_F_CREATE; NLM_F_EXCL, or NLM_F_APPEND for routes of IPv4 that differ in nothing but their way
        let flags: UInt16 = object.kind == .forwarding || object.kind == .neighbour ? 0x500 : 0x600
        // Without looking for another one of that address, which would take a second in which nobody can bind to it.
        try ask("add", type, flags, object, addressFlags: isInternet6 ? 2 : 0)  // IFA_F_NODAD
        // NLM_F_REPLACE takes that back.
        if isInternet6, (object.number(8) ?? 0) & 2 == 0 { try ask("set flags of", type, 0x100, object) }
    }

    /// What is not there need not be taken away.
    func remove(_ object: NetworkObject) throws {
        let types: [NetworkObject.Kind: Int] = [
            .address: Int(RTM_DELADDR), .route: Int(RTM_DELROUTE), .rule: Int(RTM_DELRULE),
            .neighbour: Int(RTM_DELNEIGH),
        ]
        guard let type = types[object.kind] else { return }
        do { try ask("remove", type, 0, object) } catch let error as SystemError
            where [.noSuchFileOrDirectory, .noSuchProcess, .addressNotAvailable].contains(error.errno)
        {}
    }

    private func ask(_ verb: String, _ type: Int, _ flags: UInt16, _ object: NetworkObject, addressFlags: UInt32 = 0)
        throws
    {
        let header = object.header
        var body: [UInt8]
        var attributes = object.attributes
        switch object.kind {
        case .address:
            body = [header[0], header[1], 0, header[2]]
            body.append(integer: try index(object.interface))
            attributes.removeAll { $0.type == NetworkObjects.isLimited || $0.type == 8 }
            attributes.append(NetlinkAttribute(type: 8, (object.number(8) ?? 0) | addressFlags))
            if let times = object.passing.first(where: { $0.type == 6 }) {
                attributes.append(NetlinkAttribute(type: 6, value: times.value + [UInt8](repeating: 0, count: 8)))
            }
        case .route:
            // struct rtmsg
            body = Array(header[..<4]) + [0] + Array(header[4..<7]) + [header[7], 0, 0, 0]
            attributes = try attributes.map { attribute in
                switch attribute.type {
                case 3, 4: NetlinkAttribute(type: attribute.type, try index(object.text(attribute.type)))
                case 8:
                    NetlinkAttribute(
                        type: 8 | 0x8000, value: NetlinkAttribute.all(in: attribute.value).flatMap(\.bytes))
                case 9: NetlinkAttribute(type: 9, value: try ways(attribute.value))
                default: attribute
                }
            }
        case .rule:
            // struct fib_rule_hdr
            body = Array(header[..<4]) + [0, 0, 0, header[4], header[5], 0, 0, 0]
        default:
            // struct ndmsg
            body = [header[0], 0, 0, 0]
            body.append(integer: try index(object.interface))
            // NTF_MASTER
            body += [header[1], 0, header[2] | (object.kind == .forwarding ? 4 : 0), 0]
        }
        try netlink.ask("\(verb) \(object)", type: UInt16(type), flags: flags, body + attributes.flatMap(\.bytes))
    }

    /// Of struct rtnexthop.
    private func ways(_ named: [UInt8]) throws -> [UInt8] {
        var bytes: [UInt8] = []
        for hop in NextHop.all(in: named) ?? [] {
            let attributes = NetlinkAttribute.all(in: hop.attributes).flatMap(\.bytes)
            bytes.append(integer: UInt16(8 + attributes.count))
            bytes += [hop.flags, hop.weight]
            bytes.append(integer: try index(hop.interface))
            bytes += attributes
        }
        return bytes
    }
}
