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
    /// Whether `exec` put it in.
    var isGuest = false
    /// The first is the process's own; empty for a zombie.
    var threads: [TracedThread] = []
    /// Which of them has an id.
    lazy var threadNumbers = Dictionary(
        threads.enumerated().map { ($1.tid, $0) }, uniquingKeysWith: { first, _ in first })
    /// The threads' ids as the container sees them.
    var innerThreads: [pid_t] = []
    /// Those that have answered.
    var capturedThreads: [CapturedThread] = []
    var session: AgentSession?

    init(hostPid: pid_t, parent: CapturedProcess?) throws {
        self.hostPid = hostPid
        self.parent = parent
        status = try ProcessStatus(hostPid)
        pid = status.innerPid
        name = commandName(hostPid)
    }

    /// The signal by which job control will have the process stopped once it goes on; nil if it will run.
    ///
    /// - Parameter pending: all signals that wait for it or one of its threads.
    func stopSignal(pending: [SignalInformation]) -> CInt? {
        threads.lazy.compactMap { $0.stopSignal(pending: pending) }.first
    }

    /// A first thread that has ended before the others looks like a process that has.
    var hasLostLeader: Bool {
        isZombie && ((try? directoryEntries("/proc/\(hostPid)/task").count) ?? 0) > 1
    }

    var isZombie: Bool { status.isZombie }

    /// As messages name it.
    var description: String { "task \(pid) (\(name))" }
}
