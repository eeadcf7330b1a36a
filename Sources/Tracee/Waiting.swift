import LinuxSystem

/// A moment after which nobody waits any longer. CLOCK_MONOTONIC.
public struct Deadline: Sendable {
    private let end: timespec

    public init(seconds: Int) {
        var now = Self.now()
        now.tv_sec += seconds
        end = now
    }

    public init(milliseconds: Int) {
        var now = Self.now()
        now.tv_nsec += milliseconds * 1_000_000
        now.tv_sec += now.tv_nsec / 1_000_000_000
        now.tv_nsec %= 1_000_000_000
        end = now
    }

    /// For what takes a task microseconds, unless it cannot go on at all.
    public static var patience: Deadline { Deadline(seconds: 10) }

    public var hasPassed: Bool {
        let now = Self.now()
        return (now.tv_sec, now.tv_nsec) >= (end.tv_sec, end.tv_nsec)
    }

    private static func now() -> timespec {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return now
    }
}

/// Keeps SIGCHLD, by which the kernel tells of every stop, for this thread to wait for. Without one, waits work too, in
/// steps of a millisecond.
public final class StopNews {
    private let before = SignalMask.block(SIGCHLD)

    public init() {}

    deinit { before.restore() }

    private static var signals: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGCHLD)
        return set
    }

    /// Sleeps until something happens to any traced task, a millisecond at most.
    static func wait() {
        var set = signals
        var step = timespec(tv_sec: 0, tv_nsec: 1_000_000)
        _ = sigtimedwait(&set, nil, &step)
    }
}

/// Every wait for a traced task watches the task, the clock, and what else its caller waits for; and the deaths of all
/// others: when the container is killed, its first process ends only after this tracer has buried the rest.
extension Ptrace {
    /// The task's next stop if it has come already. waitpid(2) with __WALL.
    public func news() throws(TraceeError) -> Stop? {
        while true {
            var status: CInt = 0
            let result = waitpid(task, &status, Self.all | WNOHANG)
            if result == task { return Stop(status: status) }
            if result == 0 { return nil }
            let error = Errno.current
            if error == .interrupted { continue }
            throw error == .noChildProcess ? .gone(task) : .failed(SystemError(error, "wait for task \(task)"))
        }
    }

    /// Waits for the task's next stop.
    ///
    /// - Parameter meanwhile: called again and again while there is none.
    public func wait(
        until end: Deadline = .patience, meanwhile: () throws(TraceeError) -> Void = {}
    ) throws(TraceeError) -> Stop {
        var others = Self.lookAtOthers
        while true {
            // First, for a loop that meets one stop after the other.
            guard !end.hasPassed else { throw .unexpected(task, "does not stop: it is in \(whereabouts)") }
            if let stop = try news() { return stop }
            buryOthers(ifPassed: &others)
            try meanwhile()
            StopNews.wait()
        }
    }

    /// Brings a task to a stop of ``Stop/interrupted`` or ``Stop/groupStop(_:)`` that was told to come to one
    /// (``interrupt()``, or birth under the tracer).
    ///
    /// A signal that is delivered on the way is delivered: its frame is built before the task stops. Any other stop on
    /// the way takes the interrupt with it, so that it is made again.
    ///
    /// - Returns: nil for a task that does not stop in time: a vfork that waits for its child, a file system that does
    ///   not answer.
    public func waitUntilInterrupted(until end: Deadline = .patience) throws(TraceeError) -> Stop? {
        var others = Self.lookAtOthers
        while true {
            guard let stop = try news() else {
                if end.hasPassed { return nil }
                buryOthers(ifPassed: &others)
                StopNews.wait()
                continue
            }
            switch stop {
            case .interrupted, .groupStop: return stop
            case .signal(let signal):
                try interrupt()
                try resume(signal: signal)
            case .systemCall, .cloned, .event:
                try interrupt()
                try resume()
            case .exited, .killed: throw .gone(task)
            }
        }
    }

    /// Takes note of every death until there is nobody left, or the time is over (a task that the kernel holds in an
    /// uninterruptible sleep).
    public static func buryAll(until end: Deadline = .patience) {
        while !end.hasPassed {
            let result = waitpid(-1, nil, all | WNOHANG)
            if result < 0, Errno.current != .interrupted { return }
            if result == 0 { StopNews.wait() }
        }
    }

    /// proc_pid_stat(5): the state follows the command in parentheses, which may contain anything.
    private var isZombie: Bool {
        guard let stat = try? readText("/proc/\(task)/stat"), let end = stat.lastIndex(of: ")") else { return false }
        return stat[end...].hasPrefix(") Z")
    }

    /// Where in the kernel the task sleeps.
    private var whereabouts: String { (try? readText("/proc/\(task)/wchan")) ?? "?" }

    /// __WALL: children and traced tasks of every kind.
    private static let all: CInt = 0x4000_0000

    /// Only who waits for longer than a stop takes looks at all the others, again and again: there may be thousands.
    private static var lookAtOthers: Deadline { Deadline(milliseconds: 1) }

    private func buryOthers(ifPassed time: inout Deadline) {
        guard time.hasPassed else { return }
        time = Self.lookAtOthers
        // P_ALL
        while let other = Self.someDead(0, 0), other != task { waitpid(other, nil, Self.all | WNOHANG) }
        // A task with a stop to tell hides the dead from that look. A first thread's death is told when the others of its
        // process are buried.
        guard isZombie, let threads = try? directoryEntries("/proc/\(task)/task").compactMap({ pid_t($0) }) else {
            return
        }
        for thread in threads where thread != task {
            // P_PID
            if Self.someDead(1, id_t(thread)) != nil { waitpid(thread, nil, Self.all | WNOHANG) }
        }
    }

    /// The first task of those with something to tell, if that is its death. waitid(2)
    private static func someDead(_ kind: UInt32, _ id: id_t) -> pid_t? {
        var information = siginfo_t()
        // WNOWAIT leaves the news to whoever it is for.
        guard waitid(idtype_t(kind), id, &information, WEXITED | WNOHANG | all | WNOWAIT) == 0 else { return nil }
        let task = clinux_siginfo_pid(information)
        // CLD_EXITED, CLD_KILLED and CLD_DUMPED: of a traced task it tells stops too, although nobody asked for them.
        return task != 0 && (1...3).contains(information.si_code) ? task : nil
    }
}
