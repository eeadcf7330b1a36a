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
        mappings = try dump.by(MemoryMapping.self) { try MemoryMapping.capture(process, flags: flags, into: dump) }
        dump.account.keep(MemoryMapping.self, count: mappings.count)
        ids = try captureIDs()
        if process === dump.first { dump.rootIDs = ids }
        try captureDescriptors(table: ids.filesID)
        try captureDirectories()
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
        var images = ProcessImages(process, ids)
        var program = Program(session.area.main)
        let answers = processKinds.map { (kind: $0, take: $0.ask(process, in: &program, of: dump)) }
        let threadAnswers = processKinds.map { (kind: $0, take: $0.askThread(in: &program)) }
        let results = try session.run(program)
        try results.check()
        for answer in answers { try dump.by(answer.kind) { try answer.take?(results, &images) } }
        try take(threadAnswers, results, ofThread: 0, into: &images)
        let others = process.threads.indices.dropFirst().map { index in
            var short = Program(session.area.lane(index))
            return (answers: processKinds.map { (kind: $0, take: $0.askThread(in: &short)) }, program: short)
        }
        for (other, told) in zip(others, try session.runBesides(others.map(\.program))) {
            try told.check()
            try take(other.answers, told, ofThread: process.capturedThreads.count, into: &images)
        }
        for kind in processKinds {
            try dump.by(kind) { try kind.ask(process, by: session, into: &images, of: dump) }
        }
        // The threads stand again as they were met. A timer that ran out meanwhile has left its signal pending.
        try session.leave()
        process.session = nil

        for kind in processKinds { try dump.by(kind) { try kind.capture(process, into: &images, of: dump) } }
        images.mm.exeFileID = try executable()
        images.mm.vmas = mappings
        try images.add(to: dump)
    }

    private func take(
        _ answers: [(kind: any ProcessKind.Type, take: ThreadAnswer?)], _ results: Program.Results, ofThread index: Int,
        into images: inout ProcessImages
    ) throws {
        let thread = try CapturedThread(index, of: process)
        process.capturedThreads.append(thread)
        for answer in answers {
            try dump.by(answer.kind) { try answer.take?(results, thread, dump, &images.cores[index]) }
        }
    }

    private func captureZombie() throws {
        var task = TaskCoreEntry(of: process, state: 2)
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
                for attribute in fileAttributes {
                    try dump.by(attribute) { try attribute.captureDescriptor(file, id: shared.id, into: dump) }
                }
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
            try dump.files.id(of: path, link: link, flags: O_DIRECTORY, in: dump)
        }
    }

    private func executable() throws -> UInt32 {
        let link = "/proc/\(process.hostPid)/exe"
        return try about("executable") {
            try dump.files.id(of: try linkTarget(link), link: link, flags: O_RDONLY, isMapped: true, in: dump)
        }
    }
}
