import OCISpec

/// The limits that `update` is given by flags.
package struct ResourceFlags: Sendable {
    private let values: [String: String?]

    /// - Parameter values: by the flags' names; nil and empty ones were not given.
    package init(_ values: [String: String?]) { self.values = values }

    package func resources() throws(RuntimeError) -> Resources {
        for name in ["l3-cache-schema", "mem-bw-schema"] where value(name) != nil {
            throw RuntimeError("--\(name): Intel RDT is not enabled: no resctrl file system is mounted")
        }
        var resources = Resources()
        var memory = Memory()
        memory.limit = try bytes("memory")
        memory.reservation = try bytes("memory-reservation")
        memory.swap = try bytes("memory-swap")
        // Obsolete: the kernel has one limit for its own memory and the processes'. Still read, so that nonsense is told.
        let obsolete = [try bytes("kernel-memory"), try bytes("kernel-memory-tcp")]
        if obsolete.contains(where: { $0 != nil }) {
            Warnings.add("Kernel memory settings are ignored and will be removed")
        }
        if memory != Memory() { resources.memory = memory }
        var cpu = CPU()
        cpu.shares = try number("cpu-share")
        cpu.quota = try number("cpu-quota")
        cpu.period = try number("cpu-period")
        cpu.burst = try number("cpu-burst")
        cpu.realtimePeriod = try number("cpu-rt-period")
        cpu.realtimeRuntime = try number("cpu-rt-runtime")
        cpu.idle = try number("cpu-idle")
        cpu.cpus = value("cpuset-cpus")
        cpu.mems = value("cpuset-mems")
        if cpu != CPU() { resources.cpu = cpu }
        if let limit: Int64 = try number("pids-limit") { resources.pids = Pids(limit: limit) }
        if let weight: UInt16 = try number("blkio-weight") {
            var io = BlockIO()
            io.weight = weight
            resources.blockIO = io
        }
        return resources
    }

    private func value(_ name: String) -> String? {
        guard let value = values[name] ?? nil, !value.isEmpty else { return nil }
        return value
    }

    private func number<Value: FixedWidthInteger>(_ name: String) throws(RuntimeError) -> Value? {
        guard let text = value(name) else { return nil }
        guard let number = Value(text) else {
            throw RuntimeError(
                "invalid value for \(name): \"\(text)\" is not a number from \(Value.min) to \(Value.max)")
        }
        return number
    }

    private func bytes(_ name: String) throws(RuntimeError) -> Int64? {
        guard let text = value(name) else { return nil }
        if text == "-1" { return -1 }
        guard let bytes = Self.bytes(text) else {
            throw RuntimeError("invalid value for \(name): invalid size: '\(text)'")
        }
        return bytes
    }

    /// A number, with a fraction if need be, and a unit: `b`, `k`, `m`, `g`, `t` or `p` in either case, each but the
    /// first 1024 times the one before, with `b` or `ib` behind it or not.
    static func bytes(_ text: String) -> Int64? {
        let digits = text.prefix { $0.isASCII && $0.isNumber || $0 == "." }
        var unit = Substring(text.dropFirst(digits.count).lowercased())
        if unit.hasPrefix(" ") { unit = unit.dropFirst() }
        guard let number = Double(digits), number.isFinite else { return nil }
        var scale = 1.0
        if let index = ["k", "m", "g", "t", "p"].firstIndex(of: unit.prefix(1)) {
            for _ in 0...index { scale *= 1024 }
            unit = unit.dropFirst()
            guard ["", "b", "ib"].contains(unit) else { return nil }
        } else {
            guard ["", "b"].contains(unit) else { return nil }
        }
        return Int64(exactly: (number * scale).rounded(.towardZero))
    }
}
