import LinuxSystem

/// Why a traced task stands still, as waitpid(2) and ptrace(2) tell it.
public enum Stop: Equatable, Sendable {
    /// PTRACE_INTERRUPT took effect, or the task was just born under the tracer.
    case interrupted
    /// The task is stopped by job control with this signal.
    case groupStop(CInt)
    /// Entry to or exit from a system call.
    case systemCall
    /// A signal is about to be delivered.
    case signal(CInt)
    /// The task created another one and stands in the system call that did.
    case cloned
    /// Another event of ptrace's.
    case event(CInt)
    case exited(status: CInt)
    case killed(signal: CInt)

    public init(status: CInt) {
        let low = status & 0x7f
        let signal = (status >> 8) & 0xff
        let event = (status >> 16) & 0xff
        switch true {
        case low == 0: self = .exited(status: signal)
        case low != 0x7f: self = .killed(signal: low)
        case event == 128: self = signal == SIGTRAP ? .interrupted : .groupStop(signal)
        case event >= 1 && event <= 3: self = .cloned
        case event != 0: self = .event(event)
        case signal == SIGTRAP | 0x80: self = .systemCall
        default: self = .signal(signal)
        }
    }
}

extension Ptrace {
    /// Waits for the task's next stop. waitpid(2) with __WALL.
    ///
    /// Not just for this task: when the container is killed, its first process ends only after this tracer has buried
    /// the others, and who waited for the first one alone would wait for ever.
    public func wait() throws(TraceeError) -> Stop {
        while true {
            var status: CInt = 0
            let result = waitpid(task, &status, Self.all | WNOHANG)
            if result == task { return Stop(status: status) }
            if result < 0 {
                let error = Errno.current
                if error == .interrupted { continue }
                throw error == .noChildProcess ? .gone(task) : .failed(SystemError(error, "wait for task \(task)"))
            }
            Self.awaitAnybody(burying: task)
        }
    }

    /// __WALL: children and traced tasks of every kind.
    private static let all: CInt = 0x4000_0000

    /// Sleeps until something happens to any traced task; takes note of the death of others than `task`.
    private static func awaitAnybody(burying task: pid_t) {
        var information = siginfo_t()
        // P_ALL; WNOWAIT leaves the news to whoever it is for.
        guard waitid(idtype_t(0), 0, &information, WEXITED | WSTOPPED | all | WNOWAIT) == 0 else { return }
        let other = clinux_siginfo_pid(information)
        guard other != task else { return }
        // CLD_EXITED, CLD_KILLED and CLD_DUMPED; the rest are stops.
        if (1...3).contains(information.si_code) { waitpid(other, nil, all | WNOHANG) } else { sched_yield() }
    }

    /// Brings the task to a stop of ``Stop/interrupted`` or ``Stop/groupStop(_:)``.
    ///
    /// A signal that is delivered on the way is delivered: its frame is built before the task stops.
    public func waitUntilInterrupted() throws(TraceeError) -> Stop {
        while true {
            let stop = try wait()
            switch stop {
            case .interrupted, .groupStop: return stop
            case .signal(let signal): try resume(signal: signal)
            case .systemCall, .cloned, .event: try resume()
            case .exited, .killed: throw .gone(task)
            }
        }
    }
}

extension Ptrace {
    /// ``waitUntilInterrupted()`` with an end: nil for a task in an uninterruptible sleep (a vfork that waits for its
    /// child, a file system that does not answer), which does not stop.
    public func waitUntilInterrupted(milliseconds: Int) throws(TraceeError) -> Stop? {
        var waited = 0
        var pause = 10
        while waited < milliseconds * 1000 {
            var status: CInt = 0
            let result = waitpid(task, &status, 0x4000_0000 | WNOHANG)
            if result < 0 {
                let error = Errno.current
                if error == .interrupted { continue }
                throw error == .noChildProcess ? .gone(task) : .failed(SystemError(error, "wait for task \(task)"))
            }
            if result == 0 {
                usleep(UInt32(pause))
                waited += pause
                pause = min(pause * 2, 1000)
                continue
            }
            let stop = Stop(status: status)
            switch stop {
            case .interrupted, .groupStop: return stop
            case .signal(let signal): try resume(signal: signal)
            case .systemCall, .cloned, .event: try resume()
            case .exited, .killed: throw .gone(task)
            }
        }
        return nil
    }
}
