import LinuxSystem

/// Makes tables of nftables again, all in one transaction. Of a dumped object's attributes those that say where the kernel has
/// it (handles, positions) are left out; of numbers for sets within a transaction it wants one for each.
struct FirewallReplay {
    private var requests: [NetlinkMessage] = []

    /// In the caller's network namespace.
    ///
    /// - Parameters:
    ///   - gone: tables to be taken away.
    ///   - added: all that is in new ones.
    static func run(gone: [NetworkObject], added: [NetworkObject]) throws {
        if gone.isEmpty, added.isEmpty { return }
        var replay = FirewallReplay()
        for table in gone { replay.request(2, flags: 0, table, table.attributes.filter { $0.type == 1 }) }
        // NLM_F_CREATE, NLM_F_EXCL, NLM_F_APPEND
        for table in added.filter({ $0.kind == .table }) { replay.request(0, flags: 0x600, table, table.whole) }
        for object in added.filter({ $0.kind == .object }) { replay.request(18, flags: 0x600, object, object.whole) }
        // Elements and rules may lead to chains, rules look into sets, and those without a name take no element once they do.
        for chain in added.filter({ $0.kind == .chain }) {
            // NFTA_CHAIN_COUNTERS
            replay.request(3, flags: 0x400, chain, chain.whole + chain.passing.filter { $0.type == 8 })
        }
        var sets: [String: NetworkObject] = [:]
        for (number, set) in added.filter({ $0.kind == .set }).enumerated() {
            sets[set.setName] = set
            // NFTA_SET_ID
            let attributes =
                set.whole.filter { $0.type != 10 } + [NetlinkAttribute(type: 10, UInt32(number + 1).bigEndian)]
            replay.request(9, flags: 0x400, set, attributes)
        }
        try replay.add(added.filter { $0.kind == .element || $0.kind == .visitor }, sets)
        for rule in added.filter({ $0.kind == .statement }) {
            replay.request(6, flags: 0xc00, rule, rule.whole.filter { $0.type != FirewallTable.position })
        }
        // NETLINK_NETFILTER
        try NetlinkSocket(12, name: "nftables").transact("make the firewall's rules", replay.requests)
    }

    private mutating func add(_ elements: [NetworkObject], _ sets: [String: NetworkObject]) throws {
        for (name, elements) in Dictionary(grouping: elements, by: \.setName).sorted(by: { $0.key < $1.key }) {
            guard let set = sets[name], let first = elements.first else {
                throw CheckpointError("\(elements[0]): there is no such set")
            }
            var values = elements.compactMap { $0.whole.value(3) }
            // NFT_SET_INTERVAL: an end before the beginning of the next one.
            if (set[3]?.last ?? 0) & 4 != 0 {
                values = values.map { ($0.order, $0) }.sorted { $0.0.lexicographicallyPrecedes($1.0) }.map(\.1)
            }
            let names = first.attributes.filter { $0.type <= 2 }
            var batch: [UInt8] = []
            for value in values {
                // NFTA_LIST_ELEM; an attribute holds less than 64 KiB.
                let element = NetlinkAttribute(type: 1 | 0x8000, value: value).bytes
                if batch.count + element.count > 60_000 {
                    request(12, flags: 0x400, first, names + [NetlinkAttribute(type: 3 | 0x8000, value: batch)])
                    batch = []
                }
                batch += element
            }
            request(12, flags: 0x400, first, names + [NetlinkAttribute(type: 3 | 0x8000, value: batch)])
        }
    }

    /// Which attributes are made of others: NLA_F_NESTED says so.
    private static let nested: [NetworkObject.Kind: Set<UInt16>] = [
        .chain: [4, 8], .set: [9, 17, 18], .object: [4], .statement: [4],
    ]

    private mutating func request(
        _ message: UInt16, flags: UInt16, _ object: NetworkObject, _ attributes: [NetlinkAttribute]
    ) {
        let body = attributes.flatMap { attribute in
            let isNested = Self.nested[object.kind]?.contains(attribute.type) == true
            return NetlinkAttribute(type: attribute.type | (isNested ? 0x8000 : 0), value: attribute.value).bytes
        }
        // struct nfgenmsg
        requests.append(
            NetlinkMessage(
                type: FirewallTable.subsystem | message, flags: flags, body: [object.family, 0, 0, 0] + body))
    }
}

extension NetworkObject {
    fileprivate var setName: String { tableName + " " + (text(2) ?? "") }

    /// Whether it tells interfaces by their numbers: `meta` of an incoming or outgoing one, and what leads to one.
    var usesInterfaceNumbers: Bool {
        guard kind == .statement else { return false }
        return NetlinkAttribute.all(in: self[4] ?? []).contains { element in
            let expression = NetlinkAttribute.all(in: element.value)
            let name = String(decoding: (expression.value(1) ?? []).prefix { $0 != 0 }, as: UTF8.self)
            // NFTA_META_KEY: NFT_META_IIF, NFT_META_OIF
            let key = NetlinkAttribute.all(in: expression.value(2) ?? []).value(2)?.last ?? 0
            return name == "meta" && [4, 5].contains(key) || ["fib", "fwd", "dup"].contains(name)
        }
    }
}

extension [UInt8] {
    /// An element's key and, of equal ones, ends first: NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_FLAGS
    fileprivate var order: [UInt8] {
        let parts = NetlinkAttribute.all(in: self)
        let key = NetlinkAttribute.all(in: parts.value(1) ?? []).value(1) ?? []
        return key + [(parts.value(3)?.last ?? 0) & 1 != 0 ? 0 : 1]
    }
}
