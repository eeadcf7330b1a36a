import OCISpec

/// What the v1 controllers count. The kernel's admin-guide/cgroup-v1.
struct LegacyStatistics {
    let paths: [String: String]

    var json: JSONText {
        .object([
            ("cpu", cpu), ("cpuset", cpuset), ("memory", memory), ("pids", pids), ("blkio", blkio),
            ("hugetlb", hugetlb), ("intel_rdt", .object([])), ("network_interfaces", .literal("null")),
        ])
    }

    private func files(_ controller: String) -> ControlFiles {
        ControlFiles(directory: paths[controller], controller: controller)
    }

    private var cpu: JSONText {
        let files = files("cpuacct")
        var usage = Members()
        usage.addIfAny("total", files.number("cpuacct.usage"))
        let each = (files.read("cpuacct.usage_percpu") ?? "").split(separator: " ").compactMap { UInt64($0) }
        usage.addIfAny("percpu", each.map { .unsigned($0) })
        // A heading, then for each CPU its number, its time for users and its time in the kernel.
        let rows = (files.read("cpuacct.usage_all") ?? "").split(separator: "\n").dropFirst()
            .map { $0.split(separator: " ").compactMap { UInt64($0) } }.filter { $0.count == 3 }
        usage.addIfAny("percpu_kernel", rows.map { .unsigned($0[2]) })
        usage.addIfAny("percpu_user", rows.map { .unsigned($0[1]) })
        // Ticks of 10 ms.
        let ticks = files.table("cpuacct.stat")
        usage.add("kernel", (ticks["system"] ?? 0) * 10_000_000)
        usage.add("user", (ticks["user"] ?? 0) * 10_000_000)
        let stat = self.files("cpu").table("cpu.stat")
        var throttling = Members()
        throttling.addIfAny("periods", stat["nr_periods"])
        throttling.addIfAny("throttledPeriods", stat["nr_throttled"])
        throttling.addIfAny("throttledTime", stat["throttled_time"])
        return .object([("usage", usage.json), ("throttling", throttling.json)])
    }

    private var cpuset: JSONText {
        let files = files("cpuset")
        var members = Members()
        func add(_ name: String) { members.add(name, files.number("cpuset." + name)) }
        members.addIfAny("cpus", files.list("cpuset.cpus"))
        add("cpu_exclusive")
        members.addIfAny("mems", files.list("cpuset.mems"))
        for name in [
            "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page", "memory_spread_slab",
            "memory_pressure", "sched_load_balance",
        ] { add(name) }
        let level = files.read("cpuset.sched_relax_domain_level").flatMap { Int($0) } ?? 0
        members.add("sched_relax_domain_level", .number(level))
        return members.json
    }

    private var memory: JSONText {
        let files = files("memory")
        let stat = files.table("memory.stat")
        var members = Members()
        members.addIfAny("cache", stat["cache"])
        for (name, prefix) in [
            ("usage", "memory"), ("swap", "memory.memsw"), ("kernel", "memory.kmem"), ("kernelTCP", "memory.kmem.tcp"),
        ] {
            var entry = Members()
            entry.add("limit", files.number(prefix + ".limit_in_bytes"))
            entry.addIfAny("usage", files.number(prefix + ".usage_in_bytes"))
            entry.addIfAny("max", files.number(prefix + ".max_usage_in_bytes"))
            entry.add("failcnt", files.number(prefix + ".failcnt"))
            members.add(name, entry.json)
        }
        if !stat.isEmpty { members.add("raw", stat.json) }
        return members.json
    }

    private var pids: JSONText {
        var members = Members()
        members.addIfAny("current", files("pids").number("pids.current"))
        members.addIfAny("limit", files("pids").number("pids.max"))
        return members.json
    }

    /// Of the I/O scheduler BFQ, of CFQ on kernels before 5.0, or of the throttle: the first that has counted.
    private var blkio: JSONText {
        for prefix in ["blkio.bfq.", "blkio.", "blkio.throttle."] {
            var members = Members()
            var isEmpty = true
            for (name, file) in [
                ("ioServiceBytesRecursive", "io_service_bytes_recursive"),
                ("ioServicedRecursive", "io_serviced_recursive"), ("ioQueueRecursive", "io_queued_recursive"),
                ("ioServiceTimeRecursive", "io_service_time_recursive"),
                ("ioWaitTimeRecursive", "io_wait_time_recursive"), ("ioMergedRecursive", "io_merged_recursive"),
                ("ioTimeRecursive", "time_recursive"), ("sectorsRecursive", "sectors_recursive"),
            ] {
                let counts = counts(prefix + file)
                members.addIfAny(name, counts)
                if !counts.isEmpty { isEmpty = false }
            }
            if !isEmpty { return members.json }
        }
        return .object([])
    }

    /// `8:0 Read 4096`, or `8:0 12` in the files that do not tell kinds apart; the sum at the end is left out.
    private func counts(_ file: String) -> [JSONText] {
        (files("blkio").read(file) ?? "").split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard words.count >= 2, words[0] != "Total", let value = UInt64(words[words.count - 1]) else { return nil }
            return deviceCount(words[0], op: words.count > 2 ? String(words[1]) : "", value)
        }
    }

    private var hugetlb: JSONText {
        let files = files("hugetlb")
        return .object(
            files.pageSizes(suffix: ".usage_in_bytes").map { size in
                var entry = Members()
                entry.addIfAny("usage", files.number("hugetlb.\(size).usage_in_bytes"))
                entry.addIfAny("max", files.number("hugetlb.\(size).max_usage_in_bytes"))
                entry.add("failcnt", files.number("hugetlb.\(size).failcnt"))
                return (size, entry.json)
            })
    }
}
