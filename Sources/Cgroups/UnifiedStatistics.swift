import OCISpec

/// What cgroup v2 counts, under the names that v1 made known. The kernel's admin-guide/cgroup-v2.
struct UnifiedStatistics {
    let files: ControlFiles

    var json: JSONText {
        .object([
            ("cpu", cpu), ("cpuset", cpuset), ("memory", memory), ("pids", pids), ("blkio", io),
            ("hugetlb", hugetlb), ("intel_rdt", .object([])), ("network_interfaces", .literal("null")),
        ])
    }

    private var cpu: JSONText {
        let stat = files.table("cpu.stat")
        func nanoseconds(_ name: String) -> UInt64 { (stat[name] ?? 0) * 1000 }
        var usage = Members()
        usage.addIfAny("total", nanoseconds("usage_usec"))
        usage.add("kernel", nanoseconds("system_usec"))
        usage.add("user", nanoseconds("user_usec"))
        var throttling = Members()
        throttling.addIfAny("periods", stat["nr_periods"])
        throttling.addIfAny("throttledPeriods", stat["nr_throttled"])
        throttling.addIfAny("throttledTime", nanoseconds("throttled_usec"))
        var members = Members()
        members.add("usage", usage.json)
        members.add("throttling", throttling.json)
        addPressure("cpu", to: &members)
        return members.json
    }

    /// v2 has no such counts; the names stay for those who look for them.
    private var cpuset: JSONText {
        var members = Members()
        for name in [
            "cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page",
            "memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level",
        ] { members.add(name, 0) }
        return members.json
    }

    private var memory: JSONText {
        let stat = files.table("memory.stat")
        let usage = files.number("memory.current") ?? 0
        var members = Members()
        members.addIfAny("cache", stat["file"])
        members.add("usage", entry(limit: limit("memory.max"), usage: usage, peak: files.number("memory.peak")))
        // v1 counts memory and swap together.
        let swap = limit("memory.swap.max")
        let (sum, overflows) = swap.addingReportingOverflow(limit("memory.max"))
        let both = overflows ? .max : sum
        members.add("swap", entry(limit: both, usage: usage + (files.number("memory.swap.current") ?? 0), peak: nil))
        members.add("kernel", entry(limit: 0, usage: 0, peak: nil))
        members.add("kernelTCP", entry(limit: 0, usage: 0, peak: nil))
        if !stat.isEmpty { members.add("raw", stat.json) }
        addPressure("memory", to: &members)
        return members.json
    }

    private func limit(_ file: String) -> UInt64 {
        files.read(file) == "max" ? .max : files.number(file) ?? 0
    }

    private func entry(limit: UInt64, usage: UInt64, peak: UInt64?) -> JSONText {
        var entry = Members()
        entry.add("limit", limit)
        entry.addIfAny("usage", usage)
        entry.addIfAny("max", peak)
        entry.add("failcnt", 0)
        return entry.json
    }

    private var pids: JSONText {
        var members = Members()
        members.addIfAny("current", files.number("pids.current"))
        members.addIfAny("limit", files.number("pids.max"))
        return members.json
    }

    private var io: JSONText {
        var bytes: [JSONText] = []
        var operations: [JSONText] = []
        for line in (files.read("io.stat") ?? "").split(separator: "\n") {
            let words = line.split(separator: " ")
            for word in words.dropFirst() {
                let parts = word.split(separator: "=")
                guard parts.count == 2, let value = UInt64(parts[1]) else { continue }
                switch parts[0] {
                case "rbytes": bytes.append(deviceCount(words[0], op: "Read", value))
                case "wbytes": bytes.append(deviceCount(words[0], op: "Write", value))
                case "rios": operations.append(deviceCount(words[0], op: "Read", value))
                case "wios": operations.append(deviceCount(words[0], op: "Write", value))
                default: break
                }
            }
        }
        var members = Members()
        members.addIfAny("ioServiceBytesRecursive", bytes)
        members.addIfAny("ioServicedRecursive", operations)
        addPressure("io", to: &members)
        return members.json
    }

    private var hugetlb: JSONText {
        .object(
            files.pageSizes(suffix: ".current").map { size in
                var entry = Members()
                entry.addIfAny("usage", files.number("hugetlb.\(size).current"))
                entry.add("failcnt", files.table("hugetlb.\(size).events")["max"])
                return (size, entry.json)
            })
    }

    /// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`. Kernel 4.20, CONFIG_PSI.
    private func addPressure(_ controller: String, to members: inout Members) {
        guard let text = files.read("\(controller).pressure") else { return }
        let kinds: [(String, JSONText)] = text.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard let kind = words.first else { return nil }
            let values: [(String, JSONText)] = words.dropFirst().compactMap { word in
                let parts = word.split(separator: "=")
                guard parts.count == 2, Double(parts[1]) != nil else { return nil }
                return (String(parts[0]), .literal(shortest(parts[1])))
            }
            return (String(kind), .object(values))
        }
        if !kinds.isEmpty { members.add("psi", .object(kinds)) }
    }

    /// A decimal number as Go writes it: `0.50` is `0.5`, `0.00` is `0`.
    private func shortest(_ number: Substring) -> String {
        var number = number
        guard number.contains(".") else { return String(number) }
        while number.last == "0" { number.removeLast() }
        if number.last == "." { number.removeLast() }
        return String(number)
    }
}
