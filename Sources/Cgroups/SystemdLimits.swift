import DBus
import LinuxSystem
import OCISpec

// Limits as properties. systemd writes a unit's control files anew when it is reloaded, so what it is not told is lost
// then; what it has no property for stays as the driver has written it.

extension [SystemdProperty] {
    init(_ resources: Resources, isV2: Bool) throws(CgroupError) {
        self = []
        if let memory = resources.memory { append(memory, isV2: isV2) }
        if let cpu = resources.cpu { try append(cpu, isV2: isV2) }
        if let limit = resources.pids?.limit { add("TasksMax", limit < 0 ? .max : UInt64(Swift.max(limit, 1))) }
        if let weight = resources.blockIO?.weight.nonZero {
            if isV2 { add("IOWeight", scaled(weight)) } else { add("BlockIOWeight", UInt64(weight)) }
        }
        for (name, value) in resources.unified.sorted(by: { $0.key < $1.key }) { try append(unified: name, value) }
    }

    private mutating func add(_ name: String, _ value: UInt64) { append(SystemdProperty(name, .uint64(value))) }

    private mutating func append(_ memory: Memory, isV2: Bool) {
        func bytes(_ value: Int64) -> UInt64 { value < 0 ? .max : UInt64(value) }
        let limit = memory.limit.nonZero
        if let limit { add(isV2 ? "MemoryMax" : "MemoryLimit", bytes(limit)) }
        guard isV2 else { return }
        if let low = memory.reservation.nonZero { add("MemoryLow", bytes(low)) }
        // config.json counts memory and swap together. What cannot be told apart the driver refuses.
        if let both = memory.swap.nonZero {
            if both < 0 {
                add("MemorySwapMax", .max)
            } else if let limit, limit > 0, both >= limit {
                add("MemorySwapMax", UInt64(both - limit))
            }
        }
    }

    private mutating func append(_ cpu: CPU, isV2: Bool) throws(CgroupError) {
        if let shares = cpu.shares.nonZero {
            if isV2 { add("CPUWeight", weight(shares: shares)) } else { add("CPUShares", shares) }
        }
        if let period = cpu.period.nonZero { add("CPUQuotaPeriodUSec", period) }
        if let quota = cpu.quota.nonZero {
            add("CPUQuotaPerSecUSec", quotaPerSecond(quota: quota, period: cpu.period.nonZero ?? 100_000))
        }
        if let cpus = cpu.cpus, !cpus.isEmpty { append(SystemdProperty("AllowedCPUs", try bitMask(cpus))) }
        if let mems = cpu.mems, !mems.isEmpty { append(SystemdProperty("AllowedMemoryNodes", try bitMask(mems))) }
    }

    /// The files of `unified` that systemd writes.
    private mutating func append(unified name: String, _ value: String) throws(CgroupError) {
        let number = value == "max" ? UInt64.max : UInt64(value)
        let properties = [
            "cpu.weight": "CPUWeight", "memory.min": "MemoryMin", "memory.low": "MemoryLow",
            "memory.high": "MemoryHigh", "memory.max": "MemoryMax", "memory.swap.max": "MemorySwapMax",
            "pids.max": "TasksMax",
        ]
        switch name {
        case "cpuset.cpus": append(SystemdProperty("AllowedCPUs", try bitMask(value)))
        case "cpuset.mems": append(SystemdProperty("AllowedMemoryNodes", try bitMask(value)))
        case "cpu.max":
            let parts = value.split(separator: " ")
            let period = parts.count > 1 ? UInt64(parts[1]) : 100_000
            guard let first = parts.first, let period, period > 0 else { return }
            if parts.count > 1 { add("CPUQuotaPeriodUSec", period) }
            add("CPUQuotaPerSecUSec", quotaPerSecond(quota: Int64(first) ?? -1, period: period))
        default:
            // Values in other forms, such as "10M" or "50%", the kernel judges.
            if let property = properties[name], let number { add(property, number) }
        }
    }
}

/// systemd counts in steps of 10 ms a second, and would round down to none.
private func quotaPerSecond(quota: Int64, period: UInt64) -> UInt64 {
    if quota < 0 { return .max }
    let (product, overflow) = UInt64(quota).multipliedReportingOverflow(by: 1_000_000)
    let exact = overflow ? UInt64.max / 2 : product / period
    return (exact + 9_999) / 10_000 * 10_000
}

/// `0-2,7` as systemd has it: the lowest bit of the first byte is 0.
func bitMask(_ list: String) throws(CgroupError) -> DBusValue {
    var bytes: [UInt8] = []
    for part in list.split(separator: ",") {
        let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int(String($0).trimmed) }
        guard let first = ends.first ?? nil, let last = ends.last ?? nil, ends.count <= 2, 0...8191 ~= first,
            first...8191 ~= last
        else { throw CgroupError("linux.resources.cpu: \(list) is not a list of processors or nodes") }
        for number in first...last {
            while bytes.count <= number / 8 { bytes.append(0) }
            bytes[number / 8] |= 1 << (number % 8)
        }
    }
    return .array(of: "y", bytes.map { .byte($0) })
}

extension DeviceRules {
    /// What systemd shall let through: on v2 by a program of its own beside the driver's, on v1 in the same lists.
    var systemdProperties: [SystemdProperty] {
        let drivers = (try? readText("/proc/devices")) ?? ""
        return systemdProperties(drivers: drivers)
    }

    /// - Parameter drivers: `/proc/devices`. systemd knows a whole major number only by its driver's name.
    func systemdProperties(drivers: String) -> [SystemdProperty] {
        // It has no list of what is denied.
        if allowsByDefault { return [SystemdProperty("DevicePolicy", .string("auto"))] }
        let names = driverNames(drivers)
        var allowed: [DBusValue] = []
        for rule in exceptions {
            let kind = rule.kind == .character ? "char" : "block"
            let device: String? =
                switch (rule.major, rule.minor) {
                case (let major?, let minor?): "/dev/\(kind)/\(major):\(minor)"
                case (let major?, nil): names["\(kind) \(major)"].map { "\(kind)-\($0)" }
                case (nil, nil): "\(kind)-*"
                // Any device with this minor number: systemd cannot say that.
                case (nil, _?): nil
                }
            if let device { allowed.append(.structure([.string(device), .string(rule.access.letters)])) }
        }
        return [
            SystemdProperty("DevicePolicy", .string("strict")),
            SystemdProperty("DeviceAllow", .array(of: "(ss)", allowed)),
        ]
    }

    private func driverNames(_ text: String) -> [String: String] {
        var kind = "char"
        var names: [String: String] = [:]
        for line in text.split(separator: "\n") {
            if line.hasPrefix("Block") { kind = "block" }
            let fields = line.split(separator: " ")
            guard fields.count == 2, Int(fields[0]) != nil else { continue }
            let key = "\(kind) \(fields[0])"
            if names[key] == nil { names[key] = String(fields[1]) }
        }
        return names
    }
}
