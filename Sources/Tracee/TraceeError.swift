import LinuxSystem

/// Why something could not be done to a traced task.
public enum TraceeError: Error, CustomStringConvertible, Sendable {
    /// The task died or is not stopped under this tracer any more.
    case gone(pid_t)
    /// The kernel refused a call of the tracer's.
    case failed(SystemError)
    /// The kernel refused a call that was injected into the task.
    case refused(pid_t, call: String, errno: Errno)
    /// The task did something that this tracer does not understand.
    case unexpected(pid_t, String)

    public var description: String {
        switch self {
        case .gone(let task): "task \(task) is gone"
        case .failed(let error): error.description
        case .refused(let task, let call, let errno): "in task \(task): \(call): \(errno)"
        case .unexpected(let task, let what): "task \(task): \(what)"
        }
    }
}
