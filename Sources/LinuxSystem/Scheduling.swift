import Glibc

/// `struct sched_attr`, as long as kernel 5.3 made it. sched_setattr(2).
public struct SchedulingAttributes: Sendable {
    private var size = UInt32(MemoryLayout<SchedulingAttributes>.size)
    public var policy: UInt32
    public var flags: UInt64 = 0
    public var nice: Int32 = 0
    public var priority: UInt32 = 0
    /// Nanoseconds, for deadline scheduling.
    public var runtime: UInt64 = 0
    public var deadline: UInt64 = 0
    public var period: UInt64 = 0
    private var clampMinimum: UInt32 = 0
    private var clampMaximum: UInt32 = 0

    public init(policy: UInt32) { self.policy = policy }

    /// Sets them for the calling thread.
    public func apply() throws(SystemError) {
        var attributes = self
        _ = try withUnsafeMutablePointer(to: &attributes) { pointer throws(SystemError) in
            try systemCall("set scheduling policy", Int(SYS_sched_setattr), 0, Int(bitPattern: pointer), 0)
        }
    }
}

extension CallingProcess {
    /// - Parameter class: 1 realtime, 2 best effort, 3 idle. ioprio_set(2).
    public static func setIOPriority(class: Int, level: Int) throws(SystemError) {
        let thisProcess = 1  // IOPRIO_WHO_PROCESS
        _ = try systemCall("set I/O priority", Int(SYS_ioprio_set), thisProcess, 0, `class` << 13 | level)
    }

    /// personality(2): 0 is Linux, 8 a 32-bit one.
    public static func setPersonality(_ personality: Int) throws(SystemError) {
        _ = try systemCall("set personality", Int(SYS_personality), personality)
    }

    /// The CPUs that the calling thread may run on. sched_setaffinity(2).
    public static func setAffinity(_ cpus: Set<Int>) throws(SystemError) {
        try LinuxSystem.setAffinity(cpus, of: 0)
    }

    /// Every CPU that the thread's cpuset has, of as many as the kernel can be built for.
    public static func resetAffinity() throws(SystemError) {
        let mask = [UInt](repeating: .max, count: 8192 / UInt.bitWidth)
        _ = try mask.withUnsafeBufferPointer { mask throws(SystemError) in
            try systemCall(
                "run on all CPUs", Int(SYS_sched_setaffinity), 0, mask.count * UInt.bitWidth / 8,
                Int(bitPattern: mask.baseAddress))
        }
    }

    /// Where memory comes from. set_mempolicy(2).
    public static func setMemoryPolicy(_ mode: Int, nodes: Set<Int>) throws(SystemError) {
        let mask = nodes.isEmpty ? [] : bitmap(nodes)
        _ = try mask.withUnsafeBufferPointer { mask throws(SystemError) in
            if mask.isEmpty { return try systemCall("set memory policy", Int(SYS_set_mempolicy), mode, 0, 0) }
            // The kernel counts one bit less than it is told.
            return try systemCall(
                "set memory policy", Int(SYS_set_mempolicy), mode, Int(bitPattern: mask.baseAddress),
                mask.count * UInt.bitWidth + 1)
        }
    }
}

/// The CPUs that a thread may run on; 0 is the calling one. sched_setaffinity(2).
public func setAffinity(_ cpus: Set<Int>, of thread: pid_t) throws(SystemError) {
    let mask = bitmap(cpus)
    _ = try mask.withUnsafeBufferPointer { mask throws(SystemError) in
        try systemCall(
            "run on CPUs \(cpus.sorted())", Int(SYS_sched_setaffinity), Int(thread), mask.count * UInt.bitWidth / 8,
            Int(bitPattern: mask.baseAddress))
    }
}

private func bitmap(_ numbers: Set<Int>) -> [UInt] {
    var words = [UInt](repeating: 0, count: (numbers.max() ?? 0) / UInt.bitWidth + 1)
    for number in numbers { words[number / UInt.bitWidth] |= 1 << (number % UInt.bitWidth) }
    return words
}

/// The numbers of a list such as `0-3,7`, nil if it is none. cpuset(7), "List format".
public func parseNumberList(_ list: String, below limit: Int = 1 << 16) -> Set<Int>? {
    var numbers: Set<Int> = []
    for part in list.split(separator: ",", omittingEmptySubsequences: false) {
        let trimmed = part.drop { $0 == " " }.prefix { $0 != " " }
        let ends = trimmed.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        guard ends.count <= 2, let first = ends[0], let last = ends[ends.count - 1], first <= last, last < limit
        else { return nil }
        numbers.formUnion(first...last)
    }
    return numbers
}
