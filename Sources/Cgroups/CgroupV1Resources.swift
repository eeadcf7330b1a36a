import LinuxSystem
import OCISpec

extension CgroupV1 {
    func limit(_ resources: Resources) throws(CgroupError) {
        if let memory = resources.memory { try apply(memory) }
        if let cpu = resources.cpu { try apply(cpu) }
        if let line = resources.pids?.line { try files("pids").set("pids.max", line, field: "pids.limit") }
        if let blockIO = resources.blockIO { try apply(blockIO) }
        // A controller without a hierarchy of its own may be in the v2 one beside them.
        var beside = Resources()
        if paths["hugetlb"] == nil, paths[""] != nil {
            beside.hugepageLimits = resources.hugepageLimits
        } else {
            for limit in resources.hugepageLimits { try files("hugetlb").set(limit, suffix: "limit_in_bytes") }
        }
        if paths["rdma"] == nil, paths[""] != nil {
            beside.rdma = resources.rdma
        } else {
            for (name, limit) in resources.rdma {
                try files("rdma").set("rdma.max", limit.line(name), field: "rdma.\(name)")
            }
        }
        if beside != Resources(), let path = paths[""] {
            let unified = CgroupV2(path: path)
            unified.enableControllersAbove()
            try unified.limit(beside)
        }
        if let network = resources.network { try apply(network) }
        if let name = resources.unified.keys.min() {
            throw CgroupError("linux.resources.unified.\(name): this machine has cgroup v1 hierarchies")
        }
    }

    private func files(_ controller: String) -> ControlFiles {
        ControlFiles(directory: paths[controller], controller: controller)
    }

    /// The kernel starts a new cgroup with its parent's rules; denying all first leaves exactly the exceptions.
    func applyDevices(_ configured: [DeviceCgroup]) throws(CgroupError) {
        let rules = try DeviceRules(configured)
        let files = files("devices")
        guard files.directory != nil else {
            if configured.isEmpty { return }
            throw .missing("devices", for: "devices")
        }
        let (reset, exception) =
            rules.allowsByDefault ? ("devices.allow", "devices.deny") : ("devices.deny", "devices.allow")
        try files.set(reset, "a", field: "devices")
        for rule in rules.exceptions { try files.set(exception, rule.line, field: "devices") }
    }

    private func apply(_ memory: Memory) throws(CgroupError) {
        let files = files("memory")
        try applyLimits(memory, files)
        try files.set("memory.soft_limit_in_bytes", memory.reservation.nonZero, field: "memory.reservation")
        try files.set("memory.kmem.tcp.limit_in_bytes", memory.kernelTCP.nonZero, field: "memory.kernelTCP")
        if let swappiness = memory.swappiness {
            guard swappiness <= 100 else {
                throw CgroupError("linux.resources.memory.swappiness: \(swappiness) is not between 0 and 100")
            }
            try files.set("memory.swappiness", swappiness, field: "memory.swappiness")
        }
        if memory.disableOOMKiller == true {
            try files.set("memory.oom_control", "1", field: "memory.disableOOMKiller")
        }
        // `kernel` and `useHierarchy` are obsolete: the kernel accounts for its memory and for sub-groups always.
    }

    /// The limit can never be above the limit of memory and swap, so the order of the writes depends on the old values.
    private func applyLimits(_ memory: Memory, _ files: ControlFiles) throws(CgroupError) {
        let limit = memory.limit.nonZero
        // Without a limit for memory there is none for swap either, unless one is asked for.
        let swap = memory.swap.nonZero ?? (limit == -1 ? -1 : nil)
        if let limit, limit > 0, memory.checkBeforeUpdate == true, let directory = files.directory {
            let usage = (try? readText("\(directory)/memory.usage_in_bytes")).flatMap { Int64($0.trimmed) } ?? 0
            if usage > limit { throw .inUse(usage, limit: limit) }
        }
        let writeLimit = { () throws(CgroupError) in
            try files.set("memory.limit_in_bytes", limit, field: "memory.limit")
        }
        let writeSwap = { () throws(CgroupError) in
            try files.set("memory.memsw.limit_in_bytes", swap, field: "memory.swap")
        }
        var raises = swap == -1
        if let swap, swap > 0, let directory = files.directory {
            let old = (try? readText("\(directory)/memory.limit_in_bytes")).flatMap { Int64($0.trimmed) }
            raises = old.map { $0 < swap } ?? false
        }
        if raises {
            try writeSwap()
            try writeLimit()
        } else {
            try writeLimit()
            try writeSwap()
        }
    }

    private func apply(_ cpu: CPU) throws(CgroupError) {
        let files = files("cpu")
        try files.set("cpu.shares", cpu.shares.nonZero, field: "cpu.shares")
        // The kernel checks each value against the other at once, so which comes first depends on which way they go.
        try eitherOrder(
            { () throws(CgroupError) in
                try files.set("cpu.cfs_period_us", cpu.period.nonZero, field: "cpu.period")
                try files.set("cpu.cfs_quota_us", cpu.quota.nonZero, field: "cpu.quota")
            },
            { () throws(CgroupError) in
                try files.set("cpu.cfs_quota_us", cpu.quota.nonZero, field: "cpu.quota")
                try files.set("cpu.cfs_period_us", cpu.period.nonZero, field: "cpu.period")
            })
        try files.set("cpu.cfs_burst_us", cpu.burst, field: "cpu.burst")
        try eitherOrder(
            { () throws(CgroupError) in
                try files.set("cpu.rt_period_us", cpu.realtimePeriod.nonZero, field: "cpu.realtimePeriod")
                try files.set("cpu.rt_runtime_us", cpu.realtimeRuntime.nonZero, field: "cpu.realtimeRuntime")
            },
            { () throws(CgroupError) in
                try files.set("cpu.rt_runtime_us", cpu.realtimeRuntime.nonZero, field: "cpu.realtimeRuntime")
                try files.set("cpu.rt_period_us", cpu.realtimePeriod.nonZero, field: "cpu.realtimePeriod")
            })
        try files.set("cpu.idle", cpu.idle, field: "cpu.idle")
        let sets = self.files("cpuset")
        if let cpus = cpu.cpus, !cpus.isEmpty { try sets.set("cpuset.cpus", cpus, field: "cpu.cpus") }
        if let mems = cpu.mems, !mems.isEmpty { try sets.set("cpuset.mems", mems, field: "cpu.mems") }
    }

    private func apply(_ io: BlockIO) throws(CgroupError) {
        let files = files("blkio")
        // BFQ's file where that scheduler is there, CFQ's on kernels before 5.0.
        let weights = files.has("blkio.bfq.weight") ? "blkio.bfq.weight" : "blkio.weight"
        try files.set(weights, io.weight.nonZero, field: "blockIO.weight")
        try files.set("blkio.leaf_weight", io.leafWeight.nonZero, field: "blockIO.leafWeight")
        for device in io.weightDevice {
            let name = "\(device.major):\(device.minor)"
            if let weight = device.weight.nonZero {
                try files.set("\(weights)_device", "\(name) \(weight)", field: "blockIO.weightDevice")
            }
            if let weight = device.leafWeight.nonZero {
                try files.set("blkio.leaf_weight_device", "\(name) \(weight)", field: "blockIO.weightDevice")
            }
        }
        for (list, file, field) in [
            (io.throttleReadBpsDevice, "read_bps", "throttleReadBpsDevice"),
            (io.throttleWriteBpsDevice, "write_bps", "throttleWriteBpsDevice"),
            (io.throttleReadIOPSDevice, "read_iops", "throttleReadIOPSDevice"),
            (io.throttleWriteIOPSDevice, "write_iops", "throttleWriteIOPSDevice"),
        ] {
            for device in list {
                try files.set(
                    "blkio.throttle.\(file)_device", "\(device.major):\(device.minor) \(device.rate ?? 0)",
                    field: "blockIO.\(field)")
            }
        }
    }

    private func apply(_ network: Network) throws(CgroupError) {
        try files("net_cls").set("net_cls.classid", network.classID.nonZero, field: "network.classID")
        for priority in network.priorities {
            try files("net_prio").set(
                "net_prio.ifpriomap", "\(priority.name) \(priority.priority)", field: "network.priorities")
        }
    }
}

private func eitherOrder(
    _ first: () throws(CgroupError) -> Void, _ second: () throws(CgroupError) -> Void
) throws(CgroupError) {
    do throws(CgroupError) {
        try first()
    } catch {
        // The error of the usual order is the one that means something.
        do { try second() } catch _ { throw error }
    }
}
