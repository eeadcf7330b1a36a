/// config.json `linux`. runtime-spec config-linux.md.
package struct Linux: Codable, Equatable, Sendable {
    @OrEmpty package var uidMappings: [IDMapping] = []
    @OrEmpty package var gidMappings: [IDMapping] = []
    @OrEmpty package var sysctl: [String: String] = [:]
    package var resources: Resources?
    package var cgroupsPath: String?
    @OrEmpty package var namespaces: [Namespace] = []
    @OrEmpty package var devices: [Device] = []
    @OrEmpty package var netDevices: [String: NetDevice] = [:]
    package var seccomp: Seccomp?
    /// `private`, `shared`, `slave` or `unbindable`, each also with a leading `r`, as runc takes it.
    package var rootfsPropagation: String?
    @OrEmpty package var maskedPaths: [String] = []
    @OrEmpty package var readonlyPaths: [String] = []
    package var mountLabel: String?
    package var intelRdt: IntelRdt?
    package var memoryPolicy: MemoryPolicy?
    package var personality: Personality?
    package var timeOffsets: TimeOffsets?

    package init() {}
}

package struct Namespace: Codable, Equatable, Sendable {
    package enum Kind: String, Codable, Sendable, CaseIterable {
        case mount, pid, network, uts, ipc, user, cgroup, time
    }

    package var type: Kind
    /// A namespace to join; a new one is made if this is absent or empty.
    package var path: String?

    package init(type: Kind, path: String? = nil) {
        self.type = type
        self.path = path
    }
}

package struct Device: Codable, Equatable, Sendable {
    /// `c` and `u` for character, `b` for block, `p` for a FIFO.
    package var type: String
    package var path: String
    package var major: Int64?
    package var minor: Int64?
    package var fileMode: UInt32?
    package var uid: UInt32?
    package var gid: UInt32?

    package init(type: String, path: String, major: Int64? = nil, minor: Int64? = nil, fileMode: UInt32? = nil) {
        self.type = type
        self.path = path
        self.major = major
        self.minor = minor
        self.fileMode = fileMode
    }
}

/// A host interface that moves into the container, keyed by its host name.
package struct NetDevice: Codable, Equatable, Sendable {
    /// The name inside, if it changes.
    package var name: String?
}

package struct IntelRdt: Codable, Equatable, Sendable {
    package var closID: String?
    @OrEmpty package var schemata: [String] = []
    package var l3CacheSchema: String?
    package var memBwSchema: String?
    @OrEmpty package var enableMonitoring: Bool = false
}

/// set_mempolicy(2).
package struct MemoryPolicy: Codable, Equatable, Sendable {
    package enum Mode: String, Codable, Sendable, CaseIterable {
        case `default` = "MPOL_DEFAULT"
        case bind = "MPOL_BIND"
        case interleave = "MPOL_INTERLEAVE"
        case weightedInterleave = "MPOL_WEIGHTED_INTERLEAVE"
        case preferred = "MPOL_PREFERRED"
        case preferredMany = "MPOL_PREFERRED_MANY"
        case local = "MPOL_LOCAL"
    }

    package enum Flag: String, Codable, Sendable, CaseIterable {
        case numaBalancing = "MPOL_F_NUMA_BALANCING"
        case relativeNodes = "MPOL_F_RELATIVE_NODES"
        case staticNodes = "MPOL_F_STATIC_NODES"
    }

    package var mode: Mode?
    package var nodes: String?
    @OrEmpty package var flags: [Flag] = []
}

/// personality(2).
package struct Personality: Codable, Equatable, Sendable {
    package enum Domain: String, Codable, Sendable {
        case linux = "LINUX"
        case linux32 = "LINUX32"
    }

    package var domain: Domain?
    @OrEmpty package var flags: [String] = []
}

/// time_namespaces(7): the offsets of a new time namespace.
package struct TimeOffsets: Codable, Equatable, Sendable {
    package struct Offset: Codable, Equatable, Sendable {
        package var secs: Int64?
        package var nanosecs: UInt32?
    }

    package var monotonic: Offset?
    package var boottime: Offset?
}
