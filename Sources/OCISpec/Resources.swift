/// config.json `linux.resources`, and what `update --resources` reads.
package struct Resources: Codable, Equatable, Sendable {
    @OrEmpty package var devices: [DeviceCgroup] = []
    package var memory: Memory?
    package var cpu: CPU?
    package var pids: Pids?
    package var blockIO: BlockIO?
    @OrEmpty package var hugepageLimits: [HugepageLimit] = []
    package var network: Network?
    @OrEmpty package var rdma: [String: Rdma] = [:]
    @OrEmpty package var unified: [String: String] = [:]

    package init() {}
}

/// One rule of the device cgroup: later rules win.
package struct DeviceCgroup: Codable, Equatable, Sendable {
    package var allow: Bool
    /// `a`, `c` or `b`; absent means all.
    package var type: String?
    package var major: Int64?
    package var minor: Int64?
    /// Some of `r`, `w` and `m` (mknod).
    package var access: String?

    package init(
        allow: Bool, type: String? = nil, major: Int64? = nil, minor: Int64? = nil, access: String? = nil
    ) {
        self.allow = allow
        self.type = type
        self.major = major
        self.minor = minor
        self.access = access
    }
}

/// Bytes; -1 is no limit.
package struct Memory: Codable, Equatable, Sendable {
    package var limit: Int64?
    package var reservation: Int64?
    /// Memory and swap together, as cgroup v1 counts.
    package var swap: Int64?
    package var kernel: Int64?
    package var kernelTCP: Int64?
    package var swappiness: UInt64?
    package var disableOOMKiller: Bool?
    package var useHierarchy: Bool?
    package var checkBeforeUpdate: Bool?

    package init() {}
}

package struct CPU: Codable, Equatable, Sendable {
    package var shares: UInt64?
    package var quota: Int64?
    package var burst: UInt64?
    package var period: UInt64?
    package var realtimeRuntime: Int64?
    package var realtimePeriod: UInt64?
    package var cpus: String?
    package var mems: String?
    package var idle: Int64?

    package init() {}
}

package struct Pids: Codable, Equatable, Sendable {
    /// Absent is no limit.
    package var limit: Int64?

    package init(limit: Int64) { self.limit = limit }
}

package struct BlockIO: Codable, Equatable, Sendable {
    package struct WeightDevice: Codable, Equatable, Sendable {
        package var major: Int64
        package var minor: Int64
        package var weight: UInt16?
        package var leafWeight: UInt16?
    }

    package struct ThrottleDevice: Codable, Equatable, Sendable {
        package var major: Int64
        package var minor: Int64
        package var rate: UInt64?
    }

    package var weight: UInt16?
    package var leafWeight: UInt16?
    @OrEmpty package var weightDevice: [WeightDevice] = []
    @OrEmpty package var throttleReadBpsDevice: [ThrottleDevice] = []
    @OrEmpty package var throttleWriteBpsDevice: [ThrottleDevice] = []
    @OrEmpty package var throttleReadIOPSDevice: [ThrottleDevice] = []
    @OrEmpty package var throttleWriteIOPSDevice: [ThrottleDevice] = []

    package init() {}
}

package struct HugepageLimit: Codable, Equatable, Sendable {
    /// `2MB`, `1GB`.
    package var pageSize: String
    package var limit: UInt64
}

package struct Network: Codable, Equatable, Sendable {
    package struct Priority: Codable, Equatable, Sendable {
        package var name: String
        package var priority: UInt32
    }

    package var classID: UInt32?
    @OrEmpty package var priorities: [Priority] = []
}

package struct Rdma: Codable, Equatable, Sendable {
    package var hcaHandles: UInt32?
    package var hcaObjects: UInt32?
}
