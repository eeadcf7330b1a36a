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
    public func wait() throws(TraceeError) -> Stop {
        var status: CInt = 0
        do {
            try system("wait for task \(task)") { waitpid(task, &status, 0x4000_0000) }
        } catch {
            throw error.errno == .noChildProcess ? .gone(task) : .failed(error)
        }
        return Stop(status: status)
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
    /// ``waitUntilInterrupted()`` with an end: a task in an uninterruptible sleep (a vfork that waits for its child, a
    /// file system that does not answer) does not stop.
    public func waitUntilInterrupted(milliseconds: Int) throws(TraceeError) -> Stop {
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
        throw .unexpected(task, "does not stop: it is in an uninterruptible sleep (vfork, or a device that hangs)")
    }
}
