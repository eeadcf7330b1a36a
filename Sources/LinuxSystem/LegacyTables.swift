/// iptables as it was before nftables. linux/netfilter_ipv4/ip_tables.h, netfilter_ipv6/ip6_tables.h
package struct LegacyTables {
    private let name: String
    private let family: CInt
    private let level: CInt
    /// Where the mark of a walk, the counters and the first match of an entry are.
    private let walk: Int
    private let counters: Int
    private let end: Int

    private static let ipv4 = LegacyTables(name: "ip", family: AF_INET, level: 0, walk: 92, counters: 96, end: 112)
    private static let ipv6 = LegacyTables(name: "ip6", family: AF_INET6, level: 41, walk: 144, counters: 152, end: 168)

    /// Of the caller's network namespace: one line of text for each table that somebody has put a rule or policy into, for to
    /// look at a table makes it. Counters are left out.
    package static func all() throws(SystemError) -> [String] { try all(ipv4) + all(ipv6) }

    private static func all(_ kind: LegacyTables) throws(SystemError) -> [String] {
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
