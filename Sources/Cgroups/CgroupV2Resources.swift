import LinuxSystem
import OCISpec

extension CgroupV2 {
    func apply(_ resources: Resources) throws(CgroupError) {
        try applyDevices(resources.devices)
        if let memory = resources.memory { try apply(memory) }
        if let cpu = resources.cpu { try apply(cpu) }
        if let limit = resources.pids?.limit, limit != 0 {
            try files("pids").set("pids.max", limit > 0 ? String(limit) : "max", field: "pids.limit")
        }
        if let blockIO = resources.blockIO { try apply(blockIO) }
        for limit in resources.hugepageLimits {
            try files("hugetlb").set(
                "hugetlb.\(limit.pageSize).max", limit.limit, field: "hugepageLimits[\(limit.pageSize)]")
        }
        for (name, limit) in resources.rdma {
            try files("rdma").set("rdma.max", limit.line(name), field: "rdma.\(name)")
        }
        for (name, value) in resources.unified.sorted(by: { $0.key < $1.key }) {
            guard !name.contains("/"), let dot = name.firstIndex(of: ".") else {
                throw CgroupError("linux.resources.unified.\(name): not the name of a cgroup file")
            }
            try files(String(name[..<dot])).set(name, value, field: "unified.\(name)")
        }
    }

    private func applyDevices(_ configured: [DeviceCgroup]) throws(CgroupError) {
        let filter = DeviceFilter(try DeviceRules(configured))
        do throws(SystemError) {
            let directory = try openAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY)
            try DeviceProgram(filter.instructions).attach(to: directory.raw)
        } catch {
            throw CgroupError("linux.resources.devices: \(error)")
        }
    }

    private func files(_ controller: String) -> ControlFiles { ControlFiles(directory: path, controller: controller) }

    private func apply(_ memory: Memory) throws(CgroupError) {
        let files = files("memory")
        if let limit = memory.limit.nonZero { try files.set("memory.max", amount(limit), field: "memory.limit") }
        if let swap = try swapAlone(memory) { try files.set("memory.swap.max", amount(swap), field: "memory.swap") }
        if let low = memory.reservation.nonZero {
            try files.set("memory.low", amount(low), field: "memory.reservation")
        }
    }

    private func amount(_ value: Int64) -> String { value < 0 ? "max" : String(value) }

    /// config.json counts memory and swap together, v2 swap alone.
    private func swapAlone(_ memory: Memory) throws(CgroupError) -> Int64? {
        guard let both = memory.swap.nonZero else { return nil }
        if both < 0 { return both }
        guard let limit = memory.limit.nonZero, limit > 0 else {
            throw CgroupError("linux.resources.memory.swap: needs memory.limit")
        }
        guard both >= limit else { throw CgroupError("linux.resources.memory.swap: below memory.limit") }
        return both - limit
    }

    private func apply(_ cpu: CPU) throws(CgroupError) {
        let files = files("cpu")
        if let shares = cpu.shares.nonZero { try files.set("cpu.weight", weight(shares: shares), field: "cpu.shares") }
        let quota = cpu.quota.nonZero
        let period = cpu.period.nonZero
        if quota != nil || period != nil {
            let share = quota.map { $0 > 0 ? String($0) : "max" } ?? "max"
            try files.set(
                "cpu.max", "\(share) \(period ?? 100_000)", field: quota == nil ? "cpu.period" : "cpu.quota")
        }
        try files.set("cpu.max.burst", cpu.burst, field: "cpu.burst")
        try files.set("cpu.idle", cpu.idle, field: "cpu.idle")
        if cpu.realtimePeriod.nonZero != nil || cpu.realtimeRuntime.nonZero != nil {
            throw CgroupError("linux.resources.cpu.realtimeRuntime: cgroup v2 has no such limit")
        }
        let sets = self.files("cpuset")
        if let cpus = cpu.cpus, !cpus.isEmpty { try sets.set("cpuset.cpus", cpus, field: "cpu.cpus") }
        if let mems = cpu.mems, !mems.isEmpty { try sets.set("cpuset.mems", mems, field: "cpu.mems") }
    }

    private func apply(_ io: BlockIO) throws(CgroupError) {
        let files = files("io")
        // 10...1000 of v1 onto 1...10000.
        if let weight = io.weight.nonZero {
            let scaled = 1 + (UInt64(max(weight, 10)) - 10) * 9999 / 990
            try files.set("io.weight", "default \(scaled)", field: "blockIO.weight")
        }
        for (list, key, field) in [
            (io.throttleReadBpsDevice, "rbps", "throttleReadBpsDevice"),
            (io.throttleWriteBpsDevice, "wbps", "throttleWriteBpsDevice"),
            (io.throttleReadIOPSDevice, "riops", "throttleReadIOPSDevice"),
            (io.throttleWriteIOPSDevice, "wiops", "throttleWriteIOPSDevice"),
        ] {
            for device in list {
                let rate = device.rate.nonZero.map(String.init) ?? "max"
                try files.set("io.max", "\(device.major):\(device.minor) \(key)=\(rate)", field: "blockIO.\(field)")
            }
        }
    }
}

/// 2...262144 of v1 onto 1...10000, as runc and systemd do.
func weight(shares: UInt64) -> UInt64 {
    1 + (min(max(shares, 2), 262_144) - 2) * 9999 / 262_142
}
