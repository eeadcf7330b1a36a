import CheckpointImages
import LinuxSystem
import Tracee

/// A thread of a process that is being captured.
struct CapturedThread {
    let process: CapturedProcess
    /// The first one of those that live is 0.
    let index: Int
    let traced: TracedThread
    let status: ProcessStatus
    /// In /proc.
    let path: String
    /// Its id as the container sees it.
    var innerID: pid_t { process.innerThreads[index] }

    init(_ index: Int, of process: CapturedProcess) throws {
        self.process = process
        self.index = index
        traced = process.threads[index]
        path = "/proc/\(process.hostPid)/task/\(traced.tid)"
        status = try ProcessStatus(thread: traced.tid, of: process.hostPid)
    }
}

/// The images of one living process, which its kinds fill in.
struct ProcessImages {
    var mm = MmEntry()
    var task: TaskCoreEntry
    /// One for each thread, without ``task``.
    var cores: [CoreEntry]
    private let process: CapturedProcess
    private let ids: TaskKobjIdsEntry

    init(_ process: CapturedProcess, _ ids: TaskKobjIdsEntry) {
        self.process = process
        self.ids = ids
        task = TaskCoreEntry(of: process, state: 1)
        task.blkSigset = process.threads[0].signalMask
        cores = process.threads.map { _ in CoreEntry.with { $0.mtype = .x8664 } }
    }

    func add(to dump: Dump) throws {
        try dump.images.add(.mm, process.pid, entries: [mm])
        var task = task
        let ended = try EndedLeader.capture(process, into: &task, of: dump)
        let threads = (ended.map { [(process.pid, $0)] } ?? []) + zip(process.innerThreads, cores)
        for (index, (id, core)) in threads.enumerated() {
            var core = core
            if index == 0 {
                core.tc = task
                core.ids = ids
            }
            try dump.images.add(.core, id, entries: [core])
        }
        try dump.images.add(.ids, process.pid, entries: [ids])
    }
}

extension TaskCoreEntry {
    /// - Parameter state: 1 alive, 2 dead, 3 stopped.
    init(of process: CapturedProcess, state: UInt32) {
        self.init()
        taskState = state
        exitCode = 0
        personality = 0
        flags = 0
        blkSigset = 0
        comm = process.name
    }
}
