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

extension Stop {
    /// PTRACE_EVENT_EXIT: on its way out, past its last system call.
    static let exit: CInt = 6

    /// Whether the task has ended.
    var isEnd: Bool {
        switch self {
        case .exited, .killed: true
        default: false
        }
    }
}
