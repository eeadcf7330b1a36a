/// One soft and hard limit. getrlimit(2).
public struct ResourceLimit: Sendable, Equatable {
    public var resource: CInt
    public var soft: UInt64
    public var hard: UInt64

    public init(resource: CInt, soft: UInt64, hard: UInt64) {
        self.resource = resource
        self.soft = soft
        self.hard = hard
    }

    /// The kernel's numbers under the names that OCI uses.
    public static let resources: [String: CInt] = [
        "RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
        "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10,
        "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
    ]

    /// prlimit64(2); `pid` 0 is the caller.
    public func apply(to pid: pid_t = 0) throws(SystemError) {
        var limit = (soft, hard)
        try system("error setting rlimit type \(resource) to \(soft), at most \(hard)") {
            withUnsafePointer(to: &limit) {
                clinux_syscall(Int(SYS_prlimit64), Int(pid), Int(resource), Int(bitPattern: $0), 0, 0, 0)
            }
        }
    }

    /// Lets this process have as many open files as it may.
    public static func raiseOwnOpenFiles() throws(SystemError) {
        var limit = (UInt64(0), UInt64(0))
        try system("limit of open files") {
            withUnsafeMutablePointer(to: &limit) {
                clinux_syscall(Int(SYS_prlimit64), 0, 7, 0, Int(bitPattern: $0), 0, 0)
            }
        }
        if limit.0 < limit.1 { try ResourceLimit(resource: 7, soft: limit.1, hard: limit.1).apply() }
    }
}
