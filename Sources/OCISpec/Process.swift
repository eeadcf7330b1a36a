/// config.json `process`, and the file that `exec --process` reads.
package struct Process: Codable, Equatable, Sendable {
    @OrEmpty package var terminal: Bool = false
    package var consoleSize: ConsoleSize?
    @OrEmpty package var user: User = User()
    @OrEmpty package var args: [String] = []
    @OrEmpty package var env: [String] = []
    package var cwd: String
    package var capabilities: Capabilities?
    @OrEmpty package var rlimits: [Rlimit] = []
    @OrEmpty package var noNewPrivileges: Bool = false
    package var apparmorProfile: String?
    package var oomScoreAdj: Int?
    package var scheduler: Scheduler?
    package var selinuxLabel: String?
    package var ioPriority: IOPriority?
    package var execCPUAffinity: ExecCPUAffinity?

    package init(cwd: String) { self.cwd = cwd }
}

package struct ConsoleSize: Codable, Equatable, Sendable {
    package var height: UInt64
    package var width: UInt64
}

package struct User: Codable, Equatable, Sendable, Emptiable {
    @OrEmpty package var uid: UInt32 = 0
    @OrEmpty package var gid: UInt32 = 0
    package var umask: UInt32?
    @OrEmpty package var additionalGids: [UInt32] = []
    package var username: String?

    package init() {}

    package static var empty: User { User() }
    package var isAbsent: Bool { self == User() }
}

/// The five sets, by names such as `CAP_KILL`. capabilities(7).
package struct Capabilities: Codable, Equatable, Sendable {
    @OrEmpty package var bounding: [String] = []
    @OrEmpty package var effective: [String] = []
    @OrEmpty package var inheritable: [String] = []
    @OrEmpty package var permitted: [String] = []
    @OrEmpty package var ambient: [String] = []

    package init() {}
}

package struct Rlimit: Codable, Equatable, Sendable {
    /// `RLIMIT_NOFILE` and so on.
    package var type: String
    package var hard: UInt64
    package var soft: UInt64
}

/// sched_setattr(2).
package struct Scheduler: Codable, Equatable, Sendable {
    package enum Policy: String, Codable, Sendable {
        case other = "SCHED_OTHER"
        case fifo = "SCHED_FIFO"
        case roundRobin = "SCHED_RR"
        case batch = "SCHED_BATCH"
        case iso = "SCHED_ISO"
        case idle = "SCHED_IDLE"
        case deadline = "SCHED_DEADLINE"
    }

    package enum Flag: String, Codable, Sendable {
        case resetOnFork = "SCHED_FLAG_RESET_ON_FORK"
        case reclaim = "SCHED_FLAG_RECLAIM"
        case deadlineOverrun = "SCHED_FLAG_DL_OVERRUN"
        case keepPolicy = "SCHED_FLAG_KEEP_POLICY"
        case keepParams = "SCHED_FLAG_KEEP_PARAMS"
        case utilClampMin = "SCHED_FLAG_UTIL_CLAMP_MIN"
        case utilClampMax = "SCHED_FLAG_UTIL_CLAMP_MAX"
    }

    package var policy: Policy
    package var nice: Int32?
    package var priority: Int32?
    @OrEmpty package var flags: [Flag] = []
    package var runtime: UInt64?
    package var deadline: UInt64?
    package var period: UInt64?
}

/// ioprio_set(2).
package struct IOPriority: Codable, Equatable, Sendable {
    package enum Class: String, Codable, Sendable {
        case realTime = "IOPRIO_CLASS_RT"
        case bestEffort = "IOPRIO_CLASS_BE"
        case idle = "IOPRIO_CLASS_IDLE"
    }

    package var `class`: Class
    package var priority: Int32?
}

/// Where an exec'd process runs: before it joins the container's cgroup, and after.
package struct ExecCPUAffinity: Codable, Equatable, Sendable {
    package var initial: String?
    package var final: String?
}
