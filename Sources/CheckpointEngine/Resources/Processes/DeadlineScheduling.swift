import LinuxSystem

/// SCHED_DEADLINE of a thread: so much time before the deadline of each period, all in nanoseconds. sched_setattr(2).
struct DeadlineScheduling: Equatable, Sendable {
    var runtime, deadline, period: UInt64
    /// SCHED_FLAG_RESET_ON_FORK, _RECLAIM, _DL_OVERRUN
    var flags: UInt64
}

extension DeadlineScheduling {
    init?(of thread: pid_t) throws {
        var attributes = SchedulingAttributes(policy: 0)
        let size = MemoryLayout<SchedulingAttributes>.size
        try withUnsafeMutablePointer(to: &attributes) {
            _ = try systemCall(
                "sched_getattr", Int(SYS_sched_getattr), Int(thread), Int(bitPattern: $0), size, 0)
        }
        guard attributes.policy == SchedulingAttributes.deadlinePolicy else { return nil }
        (runtime, deadline, period) = (attributes.runtime, attributes.deadline, attributes.period)
        flags = attributes.flags & Self.known
    }

    private static let known: UInt64 = 7

    init?(_ text: Substring) {
        let numbers = text.split(separator: ":").compactMap { UInt64($0) }
        // What the kernel itself takes: 2^63 ns, and no deadline before the time is used or after the next period.
        guard numbers.count == 4, numbers[0] >= 1024, numbers[0] <= numbers[1], numbers[1] <= numbers[2],
            numbers[2] < 1 << 63, numbers[3] <= Self.known
        else { return nil }
        (runtime, deadline, period, flags) = (numbers[0], numbers[1], numbers[2], numbers[3])
    }

    var text: String { "\(runtime):\(deadline):\(period):\(flags)" }

    /// By the engine, whose right it takes, and when no task is to be made any more: such a thread cannot clone others.
    func apply(to thread: pid_t) throws {
        var attributes = SchedulingAttributes(policy: SchedulingAttributes.deadlinePolicy)
        (attributes.runtime, attributes.deadline, attributes.period) = (runtime, deadline, period)
        attributes.flags = flags
        try withUnsafeMutablePointer(to: &attributes) {
            _ = try systemCall(
                "sched_setattr (SCHED_DEADLINE)", Int(SYS_sched_setattr), Int(thread), Int(bitPattern: $0), 0)
        }
    }
}

extension SchedulingAttributes {
    /// SCHED_DEADLINE
    static let deadlinePolicy: UInt32 = 6
}
