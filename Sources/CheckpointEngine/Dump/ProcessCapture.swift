import CheckpointImages
import LinuxSystem
import Tracee

/// Captures one process of a container that stands still: what can be seen from outside (`look`), and what the kernel
/// tells the task alone, by the agent (`ask`). All are looked at before the first one is asked: most that cannot be
/// checkpointed is refused before the container has waited for an agent.
struct ProcessCapture {
    let process: CapturedProcess
    let dump: Dump
    private var mappings: [VmaEntry] = []
    private var ids = TaskKobjIdsEntry()
    private var peerQuestions: [PeerCredentials.Question] = []

    init(process: CapturedProcess, dump: Dump) {
        self.process = process
        self.dump = dump
    }

    /// - Parameter flags: VmFlags of the mappings, from before the container stood still.
    mutating func look(flags: [Range<UInt64>: MappingFlags]) throws {
        dump.tree.append(
            PstreeEntry.with {
                $0.pid = UInt32(process.pid)
                $0.ppid = UInt32(process.parent?.pid ?? 0)
                $0.pgid = UInt32(process.status.innerGroup)
                $0.sid = UInt32(process.status.innerSession)
                $0.threads = process.isZombie ? [UInt32(process.pid)] : process.innerThreads.map { UInt32($0) }
            })
        guard !process.isZombie else { return try captureZombie() }
        try refuseOtherRoot()
        mappings = try MemoryMapping.capture(process, flags: flags, into: dump)
        ids = try captureIDs()
        if process === dump.first { dump.rootIDs = ids }
        try captureDescriptors(table: ids.filesID)
        try captureDirectories()
        peerQuestions = dump.peerQuestions
        dump.peerQuestions = []
    }

    func ask() throws {
        guard !process.isZombie else { return }
        let (pagemap, guards) = try dump.pages.add(process, mappings)
        try dump.images.add(.pagemap, process.pid, pagemap)

        guard let kernelCode = mappings.first(where: { $0.kind.contains(.vdso) }) else {
            throw CheckpointError("has no vdso mapped, in which the engine begins")
        }
        let cave = try CodeCave.find(in: process, kernelCode.start..<kernelCode.end)
        let session = try AgentSession(threads: process.threads, cave: cave, listener: try dump.agentListener())
        process.session = session
        try ask(session, mappings + guards.map(VmaEntry.init(guardPages:)))
    }

    private func ask(_ session: AgentSession, _ mappings: [VmaEntry]) throws {
        var program = Program(session.area.main)
        let threadQuestion = ThreadState.ask(in: &program)
        let attributes = ProcessAttributes.ask(in: &program)
        let actionQuestion = SignalActions.ask(in: &program)
        let intervalQuestion = IntervalTimer.ask(in: &program)
        let tunablesQuestion = Tunables.ask(in: &program)
        let isFirst = process === dump.first
        let clockQuestion = isFirst ? Clocks.ask(in: &program) : nil
        let interProcess = isFirst ? InterProcess.ask(in: &program) : nil
        let results = try session.run(program)
        try results.check()
        let timers = try PosixTimer.capture(process, session)
        try PeerCredentials.ask(peerQuestions, session, into: dump)
        func answer(
            _ question: ThreadState.Question, _ tunablesQuestion: Tunables.Question, _ results: Program.Results,
            _ index: Int
        ) throws -> (entry: ThreadCoreEntry, tidAddress: UInt64, status: ProcessStatus) {
            let thread = process.threads[index]
            let status = try ProcessStatus(thread: thread.tid, of: process.hostPid)
            let (entry, tidAddress) = try ThreadState.capture(
                question, results, thread, status, process: process, in: dump.userNamespace)
            let tunables = try Tunables.capture(
                tunablesQuestion, results, status, of: process, all: dump.usableCPUs, area: session.area)
            dump.tunables += tunables.line(of: process.innerThreads[index]) ?? ""
            return (entry, tidAddress, status)
        }
        var answers = [try answer(threadQuestion, tunablesQuestion, results, 0)]
        let others = process.threads.indices.dropFirst().map { index in
            var short = Program(session.area.lane(index))
            return (thread: ThreadState.ask(in: &short), tunables: Tunables.ask(in: &short), program: short)
        }
        for (other, told) in zip(others, try session.runBesides(others.map(\.program))) {
            try told.check()
            answers.append(try answer(other.thread, other.tunables, told, answers.count))
        }
        // The threads stand again as they were met. A timer that ran out meanwhile has left its signal pending.
        try session.leave()
        process.session = nil

        if let interProcess { try InterProcess.refuse(interProcess, results) }
        if let clockQuestion {
            try dump.images.add(.timens, 0, entries: [try Clocks.entry(clockQuestion, results)])
        }
        var mm = try ProcessAttributes.memoryLayout(attributes, results, process)
        mm.exeFileID = try executable()
        mm.vmas = mappings
        try dump.images.add(.mm, process.pid, entries: [mm])

        let leader = process.threads[0]
        let waiting = try leader.ptrace.pendingSignals(shared: true)
        let own = try process.threads.map { try $0.ptrace.pendingSignals(shared: false) }
        let stopSignal = process.stopSignal(pending: waiting + own.flatMap { $0 })
        var task = try taskEntry(state: stopSignal == nil ? 1 : 3)
        try ProcessAttributes.capture(attributes, results, process, into: &task)
        task.blkSigset = leader.signalMask
        task.timers = try IntervalTimer.entries(intervalQuestion, results)
        task.timers.posix = timers
        task.rlimits = try ResourceLimits.capture(process.hostPid)
        task.signalsS = PendingSignals.entry(waiting)
        task.sigactions = try SignalActions.entries(actionQuestion, results)
        if let stopSignal { task.stopSigno = UInt32(stopSignal) }
        if let user = LoginUser.capture(process.hostPid) { task.loginuid = user }
        for (index, thread) in process.threads.enumerated() {
            let (entry, tidAddress, status) = answers[index]
            var core = try coreEntry(
                thread, entry, status, tidAddress: tidAddress, signals: own[index], shared: task)
            if index == 0 {
                core.tc = task
                core.ids = ids
            }
            try dump.images.add(.core, process.innerThreads[index], entries: [core])
        }
        try dump.images.add(.ids, process.pid, entries: [ids])
    }

    private func coreEntry(
        _ thread: TracedThread, _ state: ThreadCoreEntry, _ status: ProcessStatus, tidAddress: UInt64,
        signals: [SignalInformation], shared: TaskCoreEntry
    ) throws -> CoreEntry {
        guard !thread.ptrace.hasSyscallUserDispatch() else {
            throw CheckpointError(
                "has its system calls dispatched to itself (PR_SET_SYSCALL_USER_DISPATCH); "
                    + "this cannot be checkpointed yet")
        }
        var state = state
        state.signalsP = PendingSignals.entry(signals)
        if let newest = try Seccomp.capture(thread, mode: status.seccompMode, into: dump) {
            state.seccompMode = .filter
            state.seccompFilter = newest
        }
        let pending = PendingSignals.numbers(state.signalsP) + PendingSignals.numbers(shared.signalsS)
        let handled = pending.first { signal in
            thread.signalMask & (1 << UInt64(signal - 1)) == 0 && SignalActions.hasHandler(shared.sigactions, signal)
        }
        let interruption = handled.map { SignalActions.restarts(shared.sigactions, $0) }
        return try CoreEntry.with {
            $0.mtype = .x8664
            $0.threadInfo = try .with {
                $0.clearTidAddr_p = tidAddress
                $0.gpregs = Registers.entry(thread, handlerRestarts: interruption)
                $0.fpregs = try ExtendedState.entry(try thread.extendedState.get())
            }
            $0.threadCore = state
        }
    }

    /// - Parameter state: 1 alive, 2 dead, 3 stopped.
    private func taskEntry(state: UInt32) throws -> TaskCoreEntry {
        TaskCoreEntry.with {
            $0.taskState = state
            $0.exitCode = 0
            $0.personality = 0
            $0.flags = 0
            $0.blkSigset = 0
            $0.comm = process.name
        }
    }

    private func captureZombie() throws {
        var task = try taskEntry(state: 2)
        task.exitCode = UInt32(truncatingIfNeeded: try process.status.stat(52))
        try dump.images.add(
            .core, process.pid,
            entries: [
                CoreEntry.with {
                    $0.mtype = .x8664
                    $0.tc = task
                }
            ])
    }

    /// Which kernel objects are whose. Only threads share theirs; processes that do are refused.
    private func captureIDs() throws -> TaskKobjIdsEntry {
        let pid = process.hostPid
        let kinds: [(kind: CInt, name: String)] = [
            (1, "memory"), (2, "table of descriptors"), (3, "working directory"), (4, "signal actions"),
        ]
        var ids: [UInt32] = []
        for (kind, name) in kinds {
            let id = try dump.objectID(kind, of: pid)
            guard dump.isNew(kind, id) else {
                throw CheckpointError("shares its \(name) with another process; this cannot be checkpointed yet")
            }
            ids.append(id)
        }
        for (index, thread) in process.threads.enumerated().dropFirst() {
            for (kind, name) in kinds {
                let same = try systemCall("kcmp", Int(SYS_kcmp), Int(pid), Int(thread.tid), Int(kind), 0, 0)
                guard same == 0 else {
                    throw CheckpointError(
                        "thread \(process.innerThreads[index]) has a \(name) of its own; this cannot be checkpointed yet"
                    )
                }
            }
        }
        let first = dump.first.hostPid
        for (_, file) in Namespaces.files where try dump.namespaceID(file, of: pid) != dump.namespaceID(file, of: first)
        {
            throw CheckpointError("is in another \(file) namespace than its container; this cannot be checkpointed yet")
        }
        guard try readText("/proc/\(pid)/cgroup") == readText("/proc/\(first)/cgroup") else {
            throw CheckpointError("is in a cgroup of its own below its container's; this cannot be checkpointed yet")
        }
        // KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND
        return try TaskKobjIdsEntry.with {
            $0.vmID = ids[0]
            $0.filesID = ids[1]
            $0.fsID = ids[2]
            $0.sighandID = ids[3]
            $0.pidNsID = try dump.namespaceID("pid", of: pid)
            $0.netNsID = try dump.namespaceID("net", of: pid)
            $0.ipcNsID = try dump.namespaceID("ipc", of: pid)
            $0.utsNsID = try dump.namespaceID("uts", of: pid)
            $0.mntNsID = try dump.namespaceID("mnt", of: pid)
            $0.userNsID = try dump.namespaceID("user", of: pid)
            $0.cgroupNsID = try dump.namespaceID("cgroup", of: pid)
            $0.timeNsID = try dump.namespaceID("time", of: pid)
        }
    }

    private func captureDescriptors(table: UInt32) throws {
        let pidfd = try Pidfd(pid: process.hostPid)
        let numbers = try directoryEntries("/proc/\(process.hostPid)/fd").compactMap { CInt($0) }.sorted()
        var entries: [FdinfoEntry] = []
        for number in numbers {
            let entry = try about("descriptor \(number)") {
                let file = try OpenFile(process, number, pidfd: pidfd)
                let shared = try dump.files.known(file, into: dump)
                try FileLock.capture(file, id: shared.id, into: dump)
                return FdinfoEntry.with {
                    $0.id = shared.id
                    $0.flags = file.info.closesOnExec ? 1 : 0
                    $0.type = shared.type
                    $0.fd = UInt32(number)
                }
            }
            entries.append(entry)
        }
        try dump.images.add(.fdinfo, table, entries: entries)
    }

    private func refuseOtherRoot() throws {
        let root = try linkTarget("/proc/\(process.hostPid)/root")
        // Seen from outside, the root of a mount namespace of its own is `/`.
        let rootStatus = try status(at: AT_FDCWD, "/proc/\(process.hostPid)/root")
        let containerRoot = try status(of: dump.root.raw)
        guard rootStatus.st_ino == containerRoot.st_ino, rootStatus.st_dev == containerRoot.st_dev else {
            throw CheckpointError(
                "has another root directory than its container (chroot to \(root)); this cannot be checkpointed yet")
        }
    }

    private func captureDirectories() throws {
        try dump.images.add(
            .fs, process.pid,
            entries: [
                try FsEntry.with {
                    $0.cwdID = try directory("cwd")
                    $0.rootID = try directory("root")
                    $0.umask = process.status.umask
                }
            ])
    }

    private func directory(_ name: String) throws -> UInt32 {
        let link = "/proc/\(process.hostPid)/\(name)"
        let path = name == "root" ? "/" : try linkTarget(link)
        return try about(name == "cwd" ? "working directory" : "root directory") {
            try dump.files.id(of: path, try status(at: AT_FDCWD, link), flags: O_DIRECTORY, in: dump)
        }
    }

    private func executable() throws -> UInt32 {
        let link = "/proc/\(process.hostPid)/exe"
        return try about("executable") {
            try dump.files.id(
                of: try linkTarget(link), try status(at: AT_FDCWD, link), flags: O_RDONLY, isMapped: true, in: dump)
        }
    }
}
