import LinuxSystem
import Tracee

/// A process that somebody has killed while the container was looked at: what made the checkpoint fail, whatever call met
/// it first (with ESRCH, mostly).
enum Death {
    /// The error that tells of it, `nil` if all live.
    static func first(of request: CheckpointRequest, _ processes: [CapturedProcess]) -> CheckpointError? {
        if let cause = cause(request.firstProcess) {
            return CheckpointError("container \(request.container) \(cause) while it was being checkpointed")
        }
        for process in processes where !process.isZombie {
            guard let cause = cause(process.task) else { continue }
            return CheckpointError("\(process) \(cause) while its container was being checkpointed")
        }
        return nil
    }

    /// `was killed (signal 9)`, `ended`; `nil` for a process that lives.
    private static func cause(_ pid: pid_t) -> String? {
        // A task that was killed fails every call before it is a zombie. The container still stands: no more than one file is read.
        for _ in 0..<100 {
            guard let status = try? ProcessStatus(statOf: pid) else { return "ended" }
            if status.isZombie { return cause(ofZombie: status) }
            guard status.isKilled else { return nil }
            usleep(10_000)
        }
        return "was killed (signal 9)"
    }

    private static func cause(ofZombie status: ProcessStatus) -> String {
        // What wait(2) will tell its parent: a signal in the low seven bits.
        let code = (try? status.stat(52)) ?? 0
        return code & 0x7f == 0 ? "ended" : "was killed (signal \(code & 0x7f))"
    }
}
