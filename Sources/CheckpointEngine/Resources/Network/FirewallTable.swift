import LinuxSystem

/// Tables of nftables, with all that is in them, as ``NetworkObject``s. What packets change is not compared: counters, and
/// elements that come and go. linux/netfilter/nf_tables.h
enum FirewallTable {
    /// An attribute of our own: a rule's place in its chain.
    static let position: UInt16 = 1000

    /// NFNL_SUBSYS_NFTABLES
    static let subsystem: UInt16 = 10 << 8

    /// Of the caller's network namespace.
    static func all(except own: String?) throws -> [NetworkObject] {
        let socket: NetlinkSocket
        do {
            socket = try NetlinkSocket(12, name: "nftables")  // NETLINK_NETFILTER
        } catch {
            guard error.errno == .protocolNotSupported else { throw error }
            return []
        }
        func list(_ what: String, _ message: UInt16, _ attributes: [UInt8] = [], family: UInt8 = 0) throws
            -> [NetlinkMessage]
        {
            // struct nfgenmsg: any family
            try socket.ask(
                "list \(what)", type: subsystem | message, isDump: true, [family, 0, 0, 0] + attributes
            ).filter { $0.body.count >= 4 && (own == nil || text($0.attributes(after: 4).value(1)) != own) }
        }
        let tables: [NetlinkMessage]
        do {
            tables = try list("tables of nftables", 1)
        } catch let error as SystemError
            where [.invalidArgument, .notSupportedOnSocket, .noSuchFileOrDirectory].contains(error.errno)
        {
            return []  // this kernel has none
        }
        if tables.isEmpty { return [] }
        // NFTA_TABLE_NAME, _FLAGS, _USERDATA, _OWNER
        var objects = tables.map { object(.table, $0, [1, 2, 6, 7]) }
        // NFTA_CHAIN_TABLE, _NAME, _HOOK, _POLICY, _TYPE, _COUNTERS, _FLAGS, _USERDATA
        objects += try list("chains of nftables", 4).map { object(.chain, $0, [1, 3, 4, 5, 7, 10, 12], counters: [8]) }
        // NFTA_OBJ_TABLE, _NAME, _TYPE, _DATA, _USERDATA
        for message in try list("objects of nftables", 19) {
            let type = message.attributes(after: 4).value(3)?.last ?? 0
            objects.append(object(.object, message, [1, 2, 3, 4, 8]) { $0 == 4 ? quiet(type, $1) : $1 })
        }
        objects += try list("flow tables of nftables", 23).map { object(.flowtable, $0, [1, 2, 3]) }
        for message in try list("sets of nftables", 10) {
            // All but NFTA_SET_HANDLE, _PAD, and what it counts
            objects.append(
                object(.set, message, Set(Array(1...13) + [15, 17, 18])) {
                    $0 == 17 || $0 == 18 ? quiet($0 == 18, $1) : $1
                })
            let set = message.attributes(after: 4)
            // NFT_SET_TIMEOUT, NFT_SET_EVAL: packets add elements, and time takes them away.
            let comesAndGoes = (set.value(3)?.last ?? 0) & 0x30 != 0
            let names = set.filter { $0.type <= 2 }.sorted
            let answers = try list(
                "elements of nftables", 13, names.flatMap(\.bytes), family: message.body[0])
            for element in answers.flatMap({ NetlinkAttribute.all(in: $0.attributes(after: 4).value(3) ?? []) }) {
                let still = quietElement(element.value)
                objects.append(
                    NetworkObject(
                        comesAndGoes ? .visitor : .element, header: [message.body[0]],
                        names + [NetlinkAttribute(type: 3, value: still)],
                        passing: still == element.value ? [] : [NetlinkAttribute(type: 3, value: element.value)]))
            }
        }
        var places: [[UInt8]: UInt32] = [:]
        for message in try list("rules of nftables", 7) {
            // NFTA_RULE_TABLE, _CHAIN, _EXPRESSIONS, _USERDATA
            let rule = message.attributes(after: 4)
            let chain = [message.body[0]] + (rule.value(1) ?? []) + (rule.value(2) ?? [])
            places[chain, default: 0] += 1
            objects.append(
                object(.statement, message, [1, 2, 4, 7], [NetlinkAttribute(type: position, places[chain] ?? 0)]) {
                    $0 == 4 ? quiet(true, $1) : $1
                })
        }
        return objects
    }

    /// - Parameters:
    ///   - kept: the attributes that a new one can be given.
    ///   - quiet: takes out of the value of an attribute what packets change.
    private static func object(
        _ kind: NetworkObject.Kind, _ message: NetlinkMessage, _ kept: Set<UInt16>, counters: Set<UInt16> = [],
        _ own: [NetlinkAttribute] = [], quiet: (UInt16, [UInt8]) -> [UInt8] = { $1 }
    ) -> NetworkObject {
        let all = message.attributes(after: 4)
        var (attributes, passing) = (own, all.filter { counters.contains($0.type) })
        for attribute in all where kept.contains(attribute.type) {
            let still = quiet(attribute.type, attribute.value)
            attributes.append(NetlinkAttribute(type: attribute.type, value: still))
            if still != attribute.value { passing.append(attribute) }
        }
        return NetworkObject(kind, header: [message.body[0]], attributes.sorted, passing: passing)
    }

    private static func text(_ value: [UInt8]?) -> String {
        String(decoding: (value ?? []).prefix { $0 != 0 }, as: UTF8.self)
    }

    // MARK: What packets change

    /// Expressions without what they have counted.
    ///
    /// - Parameter isList: whether these are several (NFTA_LIST_ELEM), or one.
    private static func quiet(_ isList: Bool, _ value: [UInt8]) -> [UInt8] {
        if isList {
            return NetlinkAttribute.all(in: value)
                .flatMap { NetlinkAttribute(type: $0.type, value: quiet(false, $0.value)).bytes }
        }
        // NFTA_EXPR_NAME, NFTA_EXPR_DATA
        let expression = NetlinkAttribute.all(in: value)
        let name = text(expression.value(1))
        return expression.flatMap { attribute -> [UInt8] in
            if attribute.type != 2 { return attribute.bytes }
            let data = NetlinkAttribute.all(in: attribute.value)
            switch name {
            case "counter", "last": return []
            // NFTA_QUOTA_CONSUMED
            case "quota":
                return NetlinkAttribute(type: 2, value: data.filter { $0.type != 4 }.flatMap(\.bytes)).bytes
            // NFTA_DYNSET_EXPR, NFTA_DYNSET_EXPRESSIONS are templates.
            default: return attribute.bytes
            }
        }
    }

    /// Of an object of this type.
    private static func quiet(_ type: UInt8, _ data: [UInt8]) -> [UInt8] {
        switch type {
        case 1: []  // NFT_OBJECT_COUNTER
        case 2: NetlinkAttribute.all(in: data).filter { $0.type != 4 }.flatMap(\.bytes)  // NFT_OBJECT_QUOTA
        default: data
        }
    }

    /// NFTA_SET_ELEM_EXPIRATION, _EXPR, _EXPRESSIONS
    private static func quietElement(_ value: [UInt8]) -> [UInt8] {
        NetlinkAttribute.all(in: value).flatMap { attribute -> [UInt8] in
            switch attribute.type {
            case 5: []
            case 7: NetlinkAttribute(type: 7, value: quiet(false, attribute.value)).bytes
            case 11: NetlinkAttribute(type: 11, value: quiet(true, attribute.value)).bytes
            default: attribute.bytes
            }
        }
    }

    // MARK: What can be had back

    /// Expressions whose state is in what they tell. Not those of iptables (`match`, `target`), which hold what only the program
    /// that made them knows, nor those that need a file or a helper.
    private static let expressions: Set<String> = [
        "bitwise", "byteorder", "cmp", "connlimit", "counter", "ct", "dup", "dynset", "exthdr", "fib", "fwd", "hash",
        "immediate", "last", "limit", "log", "lookup", "masq", "meta", "nat", "notrack", "numgen", "objref",
        "osf", "payload", "quota", "range", "redir", "reject", "rt", "socket", "synproxy", "tproxy", "xfrm",
    ]

    private static let families: Set<UInt8> = [1, 2, 3, 5, 7, 10]

    static func check(_ object: NetworkObject) throws {
        guard object.header.count == 1, families.contains(object.header[0]) else {
            throw CheckpointError("it is of family \(object.header.first ?? 0)")
        }
        // Which attributes are numbers, names, lists.
        let kept: Set<UInt16> =
            switch object.kind {
            case .table: [1, 2, 6]
            case .chain: [1, 3, 4, 5, 7, 8, 10, 12]
            case .set: Set(Array(1...13) + [15, 17, 18])
            case .object: [1, 2, 3, 4, 8]
            case .statement: [1, 2, 4, 7, position]
            default: [1, 2, 3]
            }
        for attribute in object.attributes + object.passing where !kept.contains(attribute.type) {
            if object.kind == .table, attribute.type == 7 {
                throw CheckpointError("it goes with the program that owns it")
            }
            throw CheckpointError("its attribute \(attribute.type) is not carried over")
        }
        for attribute in object.whole + object.passing {
            switch (object.kind, attribute.type) {
            case (.table, 2):
                // NFT_TABLE_F_DORMANT
                guard attribute.value.count == 4, attribute.value[0..<3] == [0, 0, 0], attribute.value[3] & ~1 == 0
                else {
                    throw CheckpointError("it goes with the program that owns it")
                }
            case (.chain, 10):
                // NFT_CHAIN_HW_OFFLOAD, NFT_CHAIN_BINDING
                guard (attribute.value.last ?? 0) & 6 == 0 else {
                    throw CheckpointError("it is a part of a rule, or a device's")
                }
            case (.object, 3):
                // NFT_OBJECT_COUNTER, _QUOTA, _LIMIT, _CONNLIMIT, _SYNPROXY
                guard [1, 2, 4, 5, 10].contains(attribute.value.last ?? 0) else {
                    throw CheckpointError("objects of type \(attribute.value.last ?? 0) are not carried over")
                }
            case (.statement, 4), (.set, 18): try checkExpressions(isList: true, attribute.value)
            case (.set, 17): try checkExpressions(isList: false, attribute.value)
            case (.element, 3), (.visitor, 3): try checkElement(attribute.value)
            case (.chain, 4), (.chain, 8), (.set, 9), (.object, 4):
                guard isNested(attribute.value) else {
                    throw CheckpointError("its attribute \(attribute.type) is malformed")
                }
            default: break
            }
        }
        guard object[1] != nil else { throw CheckpointError("it is in no table") }
    }

    private static func isNested(_ value: [UInt8]) -> Bool {
        value.isEmpty || NetlinkAttribute.all(in: value).reduce(0) { $0 + $1.bytes.count } == (value.count + 3) & ~3
    }

    private static func checkExpressions(isList: Bool, _ value: [UInt8]) throws {
        guard isNested(value) else { throw CheckpointError("its expressions are malformed") }
        if isList {
            for element in NetlinkAttribute.all(in: value) { try checkExpressions(isList: false, element.value) }
            return
        }
        let expression = NetlinkAttribute.all(in: value)
        let name = text(expression.value(1))
        guard expressions.contains(name) else {
            let isOld = ["match", "target"].contains(name)
            // NFTA_MATCH_NAME, NFTA_TARGET_NAME
            let what = NetlinkAttribute.all(in: expression.value(2) ?? []).value(1)
            throw CheckpointError(
                isOld
                    ? "it has the \(name) \(text(what)) of iptables, of which nftables knows too little"
                    : "its expression `\(name.prefix(40))` is not carried over")
        }
        guard expression.allSatisfy({ $0.type <= 2 }), isNested(expression.value(2) ?? []) else {
            throw CheckpointError("its expression \(name) is malformed")
        }
        if name == "dynset" {
            let data = NetlinkAttribute.all(in: expression.value(2) ?? [])
            if let inner = data.value(7) { try checkExpressions(isList: false, inner) }
            if let inner = data.value(10) { try checkExpressions(isList: true, inner) }
        }
    }

    private static func checkElement(_ value: [UInt8]) throws {
        guard isNested(value) else { throw CheckpointError("it is malformed") }
        for attribute in NetlinkAttribute.all(in: value) {
            switch attribute.type {
            case 7: try checkExpressions(isList: false, attribute.value)
            case 11: try checkExpressions(isList: true, attribute.value)
            case 1...6, 9, 10: break
            default: throw CheckpointError("its attribute \(attribute.type) is not carried over")
            }
        }
    }
}

extension NetworkObject {
    var isInTable: Bool {
        [.table, .chain, .set, .element, .visitor, .object, .flowtable, .statement].contains(kind)
    }

    /// With its family.
    var tableName: String { "\(family) \(text(1) ?? "")" }
}
