import CheckpointImages
import LinuxSystem
import Tracee

/// A process of the container while it is being dumped.
final class CapturedProcess: CustomStringConvertible {
    /// As the engine sees it.
    let hostPid: pid_t
    /// The thread by which /proc shows its memory and files: the first one, or where that has ended, the next.
    let task: pid_t
    /// As the container sees it.
    let pid: pid_t
    let name: String
    /// Of ``task``.
    let status: ProcessStatus
    /// Of a first thread that has ended before the others.
    let endedLeader: ProcessStatus?
    weak var parent: CapturedProcess?
    /// Whether `exec` put it in.
    var isGuest = false
    /// Those that live, in the order in which they were made; empty for a zombie.
    var threads: [TracedThread] = []
    /// Which of them has an id.
    lazy var threadNumbers = Dictionary(
        threads.enumerated().map { ($1.tid, $0) }, uniquingKeysWith: { first, _ in first })
    /// The threads' ids as the container sees them.
    var innerThreads: [pid_t] = []
    /// Those that have answered.
    var capturedThreads: [CapturedThread] = []
    var session: AgentSession?
    /// Of its memory, guard pages apart.
    var mappings: [VmaEntry] = []

    init(hostPid: pid_t, parent: CapturedProcess?) throws {
        self.hostPid = hostPid
        self.parent = parent
        let first = try ProcessStatus(hostPid)
        let others = first.isZombie ? try directoryEntries("/proc/\(hostPid)/task").compactMap { pid_t($0) } : []
        // A first thread that has ended before the others looks like a process that has.
        let living = others.lazy.compactMap { try? ProcessStatus($0) }.first { !$0.isZombie && !$0.isWorker }
        endedLeader = living == nil ? nil : first
        status = living ?? first
        task = status.task
        pid = first.innerPid
        name = commandName(hostPid)
    }

    /// The signal by which job control will have the process stopped once it goes on; nil if it will run.
    ///
    /// - Parameter pending: all signals that wait for it or one of its threads.
    func stopSignal(pending: [SignalInformation]) -> CInt? {
        threads.lazy.compactMap { $0.stopSignal(pending: pending) }.first
    }

    var isZombie: Bool { status.isZombie }

    /// One of its open files, as the engine's own.
    func descriptor(_ number: CInt) throws -> OwnedDescriptor { try Pidfd(task: task, of: hostPid).descriptor(number) }

    /// As messages name it.
    var description: String { "task \(pid) (\(name))" }
}

extension ProcessStatus {
    /// Whether it is a thread of the kernel's that works for io_uring (PF_IO_WORKER).
    var isWorker: Bool { ((try? stat(9)) ?? 0) & 0x10 != 0 }
}

extension Pidfd {
    /// Of a process, by one of its threads: once the first one has ended, only the others have its files. PIDFD_THREAD,
    /// kernel 6.9.
    init(task: pid_t, of process: pid_t) throws(SystemError) {
        try self.init(pid: task, flags: task == process ? 0 : O_EXCL)
    }
}
