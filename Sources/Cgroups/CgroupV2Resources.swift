import Glibc
import LinuxSystem
import OCISpec

extension CgroupV2 {
    func limit(_ resources: Resources) throws(CgroupError) {
        if let memory = resources.memory { try apply(memory) }
        if let cpu = resources.cpu { try apply(cpu) }
        if let line = resources.pids?.line { try files("pids").set("pids.max", line, field: "pids.limit") }
        if let blockIO = resources.blockIO { try apply(blockIO) }
        for limit in resources.hugepageLimits {
            try files("hugetlb").set(limit, suffix: "max")
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

    func applyDevices(_ configured: [DeviceCgroup]) throws(CgroupError) {
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
        if let limit = memory.limit.nonZero, limit > 0, memory.checkBeforeUpdate == true {
            let usage = files.read("memory.current").flatMap { Int64($0) } ?? 0
            if usage > limit { throw .inUse(usage, limit: limit) }
        }
        if let swap = try swapAlone(memory, files) {
            try files.set("memory.swap.max", amount(swap), field: "memory.swap")
        }
        if let limit = memory.limit.nonZero { try files.set("memory.max", amount(limit), field: "memory.limit") }
        if let low = memory.reservation.nonZero {
            try files.set("memory.low", amount(low), field: "memory.reservation")
        }
        // swappiness, disableOOMKiller and kernel limits have no equal here, and runc passes over them too.
    }

    private func amount(_ value: Int64) -> String { value < 0 ? "max" : String(value) }

    /// config.json counts memory and swap together, v2 swap alone. An update may leave the memory's limit as it is.
    private func swapAlone(_ memory: Memory, _ files: ControlFiles) throws(CgroupError) -> Int64? {
        // Without a limit for memory there is none for swap either, unless one is asked for.
        guard let both = memory.swap.nonZero else {
            return memory.limit == -1 && files.has("memory.swap.max") ? -1 : nil
        }
        if both < 0 { return both }
        let limit = memory.limit.nonZero ?? files.read("memory.max").flatMap { Int64($0) }
        guard let limit, limit > 0 else { throw CgroupError("linux.resources.memory.swap: needs memory.limit") }
        guard both >= limit else { throw CgroupError("linux.resources.memory.swap: below memory.limit") }
        return both - limit
    }

    private func apply(_ cpu: CPU) throws(CgroupError) {
        let files = files("cpu")
        if let shares = cpu.shares.nonZero { try files.set("cpu.weight", weight(shares: shares), field: "cpu.shares") }
        let quota = cpu.quota.nonZero
        let period = cpu.period.nonZero
        if quota != nil || period != nil {
            // One file for both; what is not asked for stays.
            let old = files.read("cpu.max")?.split(separator: " ").map(String.init) ?? []
            let share = quota.map { $0 > 0 ? String($0) : "max" } ?? old.first ?? "max"
            let length = period.map(String.init) ?? (old.count > 1 ? old[1] : "100000")
            try files.set("cpu.max", "\(share) \(length)", field: quota == nil ? "cpu.period" : "cpu.quota")
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
        if files.has("io.bfq.weight") {
            try files.set("io.bfq.weight", io.weight.nonZero, field: "blockIO.weight")
            for device in io.weightDevice {
                guard let weight = device.weight.nonZero else { continue }
                try files.set(
                    "io.bfq.weight", "\(device.major):\(device.minor) \(weight)", field: "blockIO.weightDevice")
            }
        } else {
            if let weight = io.weight.nonZero {
                try files.set("io.weight", "default \(scaled(weight))", field: "blockIO.weight")
            }
            for device in io.weightDevice {
                guard let weight = device.weight.nonZero else { continue }
                try files.set(
                    "io.weight", "\(device.major):\(device.minor) \(scaled(weight))", field: "blockIO.weightDevice")
            }
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

/// 10...1000 of v1 onto 1...10000.
func scaled(_ weight: UInt16) -> UInt64 {
    1 + (UInt64(min(max(weight, 10), 1000)) - 10) * 9999 / 990
}

/// Shares of v1, 2...262144, as weights, 1...10000, by the curve that runc 1.4 and crun 1.24 have: the default 1024
/// becomes the default 100, and the ends meet.
func weight(shares: UInt64) -> UInt64 {
    if shares <= 2 { return 1 }
    if shares >= 262_144 { return 10_000 }
    let log = log2(Double(shares))
    return UInt64(pow(10, (log * log + 125 * log) / 612 - 7.0 / 34).rounded(.up))
}
