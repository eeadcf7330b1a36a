/// The firewall of a network namespace, as a line of text for each part of it; see ``NetworkObjects``. What packets change is
/// left out: counters, and elements that come and go.
public enum FirewallRules {
    /// Of the caller's network namespace.
    ///
    /// - Parameter lock: a table to be left out, which the caller has made.
    public static func all(except lock: ConnectionLock? = nil) throws(SystemError) -> [String] {
        try nftables(except: lock?.table) + LegacyTables.all(LegacyTables.ipv4) + LegacyTables.all(LegacyTables.ipv6)
    }

    // MARK: nftables. linux/netfilter/nf_tables.h

    private static func nftables(except own: String?) throws(SystemError) -> [String] {
        let socket: NetlinkSocket
        do throws(SystemError) {
            socket = try NetlinkSocket(12, name: "nftables")  // NETLINK_NETFILTER
        } catch  where error.errno == .protocolNotSupported {
            return []
        }
        func list(_ what: String, _ message: UInt16, _ attributes: [UInt8] = []) throws(SystemError) -> [NetlinkMessage]
        {
            // NFNL_SUBSYS_NFTABLES; struct nfgenmsg: any family
            try socket.ask("list \(what)", type: 10 << 8 | message, isDump: true, [0, 0, 0, 0] + attributes)
                .filter { own == nil || text($0.attributes(after: 4).value(1)) != own }
        }
        let tables: [NetlinkMessage]
        do throws(SystemError) {
            tables = try list("tables of nftables", 1)
        } catch  where [.invalidArgument, .notSupportedOnSocket, .noSuchFileOrDirectory].contains(error.errno) {
            return []  // this kernel has none
        }
        if tables.isEmpty { return [] }
        // A deleted one's handle is never given again, within a table or among tables.
        var lines = tables.map { message in
            let table = message.attributes(after: 4)
            return
                "nftables table \(place(message, table.value(1))), \(handle(table.value(4))), flags \((table.value(2) ?? []).hex)"
        }
        for message in try list("chains of nftables", 4) {
            let chain = message.attributes(after: 4)
            lines.append(
                "nftables chain \(text(chain.value(3))) in \(place(message, chain.value(1))), \(handle(chain.value(2))), hook "
                    + "\((chain.value(4) ?? []).hex), policy \((chain.value(5) ?? []).hex)")
        }
        for message in try list("rules of nftables", 7) {
            let rule = message.attributes(after: 4)
            lines.append(
                "nftables rule in chain \(text(rule.value(2))) of \(place(message, rule.value(1))), \(handle(rule.value(3)))"
            )
        }
        for message in try list("sets of nftables", 10) {
            let set = message.attributes(after: 4)
            let name = "set \(text(set.value(2))) in \(place(message, set.value(1)))"
            lines.append("nftables \(name), \(handle(set.value(16)))")
            // NFT_SET_TIMEOUT, NFT_SET_EVAL: packets add elements, and time takes them away.
            if (set.value(3)?.last ?? 0) & 0x30 != 0 { continue }
            var body = message.body.prefix(4).map { $0 }
            for (type, value) in [(UInt16(1), set.value(1)), (2, set.value(2))] {
                body += NetlinkAttribute(type: type, value: value ?? []).bytes
            }
            let elements = try socket.ask("list elements of nftables \(name)", type: 10 << 8 | 13, isDump: true, body)
            for element in elements.flatMap({ NetlinkAttribute.all(in: $0.attributes(after: 4).value(3) ?? []) }) {
                let parts = NetlinkAttribute.all(in: element.value)
                // Key, data, flags, end of the key; not its counters.
                let told = [1, 2, 3, 10].map { (parts.value($0) ?? []).hex }.joined(separator: " ")
                lines.append("element \(told) of nftables \(name)")
            }
        }
        for (what, message, number) in [("object", UInt16(19), UInt16(6)), ("flow table", 23, 5)] {
            for answer in try list("\(what)s of nftables", message) {
                let object = answer.attributes(after: 4)
                lines.append(
                    "nftables \(what) \(text(object.value(2))) in \(place(answer, object.value(1))), \(handle(object.value(number)))"
                )
            }
        }
        return lines
    }

    private static func text(_ value: [UInt8]?) -> String {
        String(decoding: (value ?? []).prefix { $0 != 0 }, as: UTF8.self)
    }

    private static func place(_ message: NetlinkMessage, _ table: [UInt8]?) -> String {
        let families: [UInt8: String] = [1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"]
        return "\(families[message.body.first ?? 0] ?? "?") \(text(table))"
    }

    /// A number in the network's order.
    private static func handle(_ value: [UInt8]?) -> String {
        "handle \((value ?? []).reduce(UInt64(0)) { $0 << 8 | UInt64($1) })"
    }
}

/// iptables as it was before nftables. linux/netfilter_ipv4/ip_tables.h, netfilter_ipv6/ip6_tables.h
private struct LegacyTables {
    let name: String
    let family: CInt
    let level: CInt
    /// Where the mark of a walk, the counters and the first match of an entry are.
    let walk: Int
    let counters: Int
    let end: Int

    static let ipv4 = LegacyTables(name: "ip", family: AF_INET, level: 0, walk: 92, counters: 96, end: 112)
    static let ipv6 = LegacyTables(name: "ip6", family: AF_INET6, level: 41, walk: 144, counters: 152, end: 168)

    /// One line for each table that somebody has put a rule or policy into: to look at a table makes it.
    static func all(_ kind: LegacyTables) throws(SystemError) -> [String] {
        let names: String
        do throws(SystemError) {
            names = try readText("/proc/thread-self/net/\(kind.name)_tables_names")
        } catch  where error.errno == .noSuchFileOrDirectory {
            return []
        }
        if names.isEmpty { return [] }
        let raw: CInt = 255  // IPPROTO_RAW
        let socket = OwnedDescriptor(
            CInt(
                try systemCall(
                    "open \(kind.name)tables", Int(SYS_socket), Int(kind.family),
                    Int(SOCK_RAW.rawValue) | Int(O_CLOEXEC),
                    Int(raw))))
        var lines: [String] = []
        for table in names.split(separator: "\n") {
            let what = "\(kind.name)tables table \(table)"
            // struct ipt_getinfo
            var information = Array(table.utf8) + [UInt8](repeating: 0, count: 84 - table.utf8.count)
            try kind.ask("get \(what)", socket.raw, 64, &information)
            let (count, size) = (
                information.integer(UInt32.self, at: 76) ?? 0, information.integer(UInt32.self, at: 80) ?? 0
            )
            // struct ipt_get_entries
            var entries = Array(table.utf8) + [UInt8](repeating: 0, count: 40 + Int(size) - table.utf8.count)
            for byte in 0..<4 { entries[32 + byte] = UInt8(truncatingIfNeeded: size >> (8 * byte)) }
            try kind.ask("get rules of \(what)", socket.raw, 65, &entries)
            let rules = kind.withoutCounts(Array(entries[40...]))
            let hooks = (information.integer(UInt32.self, at: 32) ?? 0).nonzeroBitCount
            if count == hooks + 1, kind.accepts(rules) { continue }
            lines.append("\(what) with \(count) rules and policies, \(rules.digest)")
        }
        return lines
    }

    private func ask(
        _ attempt: String, _ socket: CInt, _ option: CInt, _ bytes: inout [UInt8]
    ) throws(SystemError) {
        var size = socklen_t(bytes.count)
        try system(attempt) {
            bytes.withUnsafeMutableBytes { getsockopt(socket, level, option, $0.baseAddress, &size) }
        }
    }

    /// The entries one after the other: each says where the next one is.
    private func each(_ entries: [UInt8], _ body: (Int, Int) -> Void) {
        var start = 0
        // The two offsets stand before the mark of the walk.
        while let target = entries.integer(UInt16.self, at: start + walk - 4),
            let next = entries.integer(UInt16.self, at: start + walk - 2), Int(next) >= end, target >= end
        {
            body(start, Int(target))
            start += Int(next)
        }
    }

    private func withoutCounts(_ entries: [UInt8]) -> [UInt8] {
        var rules = entries
        each(entries) { start, _ in
            for place in Array(start + walk..<start + walk + 4) + Array(start + counters..<start + counters + 16)
            where place < rules.count {
                rules[place] = 0
            }
        }
        return rules
    }

    /// Whether all that is there are policies that accept, as the kernel makes them, and the error at the end.
    private func accepts(_ entries: [UInt8]) -> Bool {
        var verdicts: [Int32] = []
        each(entries) { start, target in
            // struct xt_standard_target: NF_ACCEPT is -1 - 1; that of an error begins with its name.
            verdicts.append(entries.integer(Int32.self, at: start + target + 32) ?? 0)
        }
        return verdicts.dropLast().allSatisfy { $0 == -2 }
    }
}

extension [UInt8] {
    /// FNV-1a: to be told from others, and not by who wants them taken for the same.
    fileprivate var digest: String {
        String(reduce(UInt64(0xcbf2_9ce4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }, radix: 16)
    }
}
