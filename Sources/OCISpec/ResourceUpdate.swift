/// Changes to limits, as `update` takes them: what a change leaves out, and 0 where 0 says nothing, stays as it was.
extension Resources {
    package func updated(with change: Resources) -> Resources {
        var result = self
        if let memory = change.memory { result.memory = (result.memory ?? Memory()).updated(with: memory) }
        if let cpu = change.cpu { result.cpu = (result.cpu ?? CPU()).updated(with: cpu) }
        if let pids = change.pids, pids.limit != nil { result.pids = pids }
        if let io = change.blockIO { result.blockIO = (result.blockIO ?? BlockIO()).updated(with: io) }
        for limit in change.hugepageLimits {
            result.hugepageLimits.removeAll { $0.pageSize == limit.pageSize }
            result.hugepageLimits.append(limit)
        }
        if let network = change.network { result.network = network }
        result.rdma.merge(change.rdma) { $1 }
        result.unified.merge(change.unified) { $1 }
        return result
    }
}

extension Resources {
    /// Only the parts that a change speaks of, as they are here: what puts it back.
    package func restricted(to change: Resources) -> Resources {
        var result = Resources()
        if change.memory != nil { result.memory = memory }
        if change.cpu != nil { result.cpu = cpu }
        if change.pids != nil { result.pids = pids }
        if change.blockIO != nil { result.blockIO = blockIO }
        result.hugepageLimits = hugepageLimits.filter { limit in
            change.hugepageLimits.contains { $0.pageSize == limit.pageSize }
        }
        result.rdma = rdma.filter { change.rdma[$0.key] != nil }
        result.unified = unified.filter { change.unified[$0.key] != nil }
        return result
    }
}

extension Memory {
    fileprivate func updated(with change: Memory) -> Memory {
        var result = self
        result.limit.replace(with: change.limit)
        result.reservation.replace(with: change.reservation)
        result.swap.replace(with: change.swap)
        result.kernelTCP.replace(with: change.kernelTCP)
        if let swappiness = change.swappiness { result.swappiness = swappiness }
        if let isDisabled = change.disableOOMKiller { result.disableOOMKiller = isDisabled }
        if let check = change.checkBeforeUpdate { result.checkBeforeUpdate = check }
        // Without a limit for memory there is none for both together, unless one is asked for.
        if change.limit == -1, change.swap ?? 0 == 0 { result.swap = -1 }
        return result
    }
}

extension CPU {
    fileprivate func updated(with change: CPU) -> CPU {
        var result = self
        result.shares.replace(with: change.shares)
        result.quota.replace(with: change.quota)
        result.period.replace(with: change.period)
        result.realtimeRuntime.replace(with: change.realtimeRuntime)
        result.realtimePeriod.replace(with: change.realtimePeriod)
        if let burst = change.burst { result.burst = burst }
        if let idle = change.idle { result.idle = idle }
        if let cpus = change.cpus, !cpus.isEmpty { result.cpus = cpus }
        if let mems = change.mems, !mems.isEmpty { result.mems = mems }
        return result
    }
}

extension BlockIO {
    fileprivate func updated(with change: BlockIO) -> BlockIO {
        var result = self
        result.weight.replace(with: change.weight)
        result.leafWeight.replace(with: change.leafWeight)
        for device in change.weightDevice {
            result.weightDevice.removeAll { $0.major == device.major && $0.minor == device.minor }
            result.weightDevice.append(device)
        }
        result.throttleReadBpsDevice.replace(with: change.throttleReadBpsDevice)
        result.throttleWriteBpsDevice.replace(with: change.throttleWriteBpsDevice)
        result.throttleReadIOPSDevice.replace(with: change.throttleReadIOPSDevice)
        result.throttleWriteIOPSDevice.replace(with: change.throttleWriteIOPSDevice)
        return result
    }
}

extension Optional where Wrapped: BinaryInteger {
    /// Clients write 0 for a limit that they do not set.
    fileprivate mutating func replace(with new: Wrapped?) {
        if let new, new != 0 { self = new }
    }
}

extension [BlockIO.ThrottleDevice] {
    fileprivate mutating func replace(with new: Self) {
        for device in new {
            removeAll { $0.major == device.major && $0.minor == device.minor }
            append(device)
        }
    }
}
