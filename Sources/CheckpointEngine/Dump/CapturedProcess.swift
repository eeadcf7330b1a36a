import LinuxSystem
import Tracee

/// A process of the container while it is being dumped.
final class CapturedProcess: CustomStringConvertible {
    /// As the engine sees it.
    let hostPid: pid_t
    /// As the container sees it.
    let pid: pid_t
    let name: String
    let status: ProcessStatus
    weak var parent: CapturedProcess?
    /// The first is the process's own; empty for a zombie.
    var threads: [TracedThread] = []
    /// Which of them has an id.
    lazy var threadNumbers = Dictionary(
        threads.enumerated().map { ($1.tid, $0) }, uniquingKeysWith: { first, _ in first })
    /// The threads' ids as the container sees them.
    var innerThreads: [pid_t] = []
    var session: AgentSession?

    init(hostPid: pid_t, parent: CapturedProcess?) throws {
        self.hostPid = hostPid
        self.parent = parent
        status = try ProcessStatus(hostPid)
        pid = status.innerPid
        name = commandName(hostPid)
    }

    var isZombie: Bool { status.isZombie }

    /// As messages name it.
    var description: String { "task \(pid) (\(name))" }
}
