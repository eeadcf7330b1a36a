import CheckpointImages
import LinuxSystem
import Tracee

/// Captures one process of a container that stands still: what can be seen from outside (`look`), and what the kernel
/// tells the task alone, by the agent (`ask`). All are looked at before the first one is asked: most that cannot be
/// checkpointed is refused before the container has waited for an agent.
struct ProcessCapture {
    let process: CapturedProcess
    let dump: Dump
    private var ids = TaskKobjIdsEntry()
    /// What another process has, too, that was looked at before.
    private var shared: Set<SharedObject> = []
    /// Threads with a working directory of their own.
    private var apart: [Int] = []
    /// Threads with a table of descriptors of their own.
    private var tables: [(index: Int, id: UInt32)] = []

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
                $0.threads = (process.innerThreads.first == process.pid ? [] : [UInt32(process.pid)])
                $0.threads += process.innerThreads.map { UInt32($0) }
            })
        guard !process.isZombie else { return try captureZombie() }
        ids = try captureIDs()
        if !shared.contains(.memory) {
            let own = try dump.by(MemoryMapping.self) { try MemoryMapping.capture(process, flags: flags, into: dump) }
            dump.account.keep(MemoryMapping.self, count: own.count)
            dump.mappings[ids.vmID] = own
        }
        process.mappings = dump.mappings[ids.vmID] ?? []
        if process === dump.first { dump.rootIDs = ids }
        if !shared.contains(.descriptors) { try captureDescriptors(table: ids.filesID, of: process.task) }
        for (index, table) in tables {
            try about("thread \(process.innerThreads[index])") {
                try captureDescriptors(table: table, of: process.threads[index].tid)
                try ThreadDescriptors.add(table, of: process.innerThreads[index], ids, to: dump)
            }
        }
        try captureDirectories()
    }

    func ask() throws {
        guard !process.isZombie else { return }
        let mappings = process.mappings
        let (stream, guards) = try dump.memories[ids.vmID] ?? dump.pages.add(process, mappings)
        dump.memories[ids.vmID] = (stream, guards)
        dump.pages.name(stream, .pagemap, UInt64(process.pid))

        guard let kernelCode = mappings.first(where: { $0.kind.contains(.vdso) }) else {
            throw CheckpointError("has no vdso mapped, in which the engine begins")
        }
        let cave = try CodeCave.find(in: process, kernelCode.start..<kernelCode.end)
        let session = try AgentSession(
            threads: process.threads, of: process.hostPid, cave: cave, listener: try dump.agentListener(for: process))
        process.session = session
        try ask(session, mappings + guards.map(VmaEntry.init(guardPages:)))
    }

    private func ask(_ session: AgentSession, _ mappings: [VmaEntry]) throws {
        var images = ProcessImages(process, ids)
        images.mm.vmas = mappings
        var program = Program(session.area.main)
        let answers = processKinds.map { (kind: $0, take: $0.ask(process, in: &program, of: dump)) }
        let threadAnswers = try askThread(0, in: &program)
        let results = try session.run(program)
        try results.check()
        for answer in answers { try dump.by(answer.kind) { try answer.take?(results, &images) } }
        try take(threadAnswers, results, ofThread: 0, into: &images)
        let others = try process.threads.indices.dropFirst().map { index in
            var short = Program(session.area.lane(index))
            return (answers: try askThread(index, in: &short), program: short)
        }
        for (index, (other, told)) in zip(others, try session.runBesides(others.map(\.program))).enumerated() {
            try told.check()
            try take(other.answers, told, ofThread: index + 1, into: &images)
        }
        for kind in processKinds {
            try dump.by(kind) { try kind.ask(process, by: session, into: &images, of: dump) }
        }
        // The threads stand again as they were met. A timer that ran out meanwhile has left its signal pending.
        try session.leave()
        process.session = nil

        for kind in processKinds { try dump.by(kind) { try kind.capture(process, into: &images, of: dump) } }
        images.mm.exeFileID = try executable()
        try images.add(to: dump)
    }

    private func askThread(
        _ index: Int, in program: inout Program
    ) throws -> [(kind: any ProcessKind.Type, take: ThreadAnswer?)] {
        let thread = try CapturedThread(index, of: process)
        process.capturedThreads.append(thread)
        return try processKinds.map { kind in
            (kind: kind, take: try dump.by(kind) { try kind.askThread(thread, in: &program, of: dump) })
        }
    }

    private func take(
        _ answers: [(kind: any ProcessKind.Type, take: ThreadAnswer?)], _ results: Program.Results, ofThread index: Int,
        into images: inout ProcessImages
    ) throws {
        for answer in answers {
            try dump.by(answer.kind) { try answer.take?(results, &images.cores[index]) }
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

    /// Which kernel objects are whose.
    private mutating func captureIDs() throws -> TaskKobjIdsEntry {
        let pid = process.task
        var ids: [UInt32] = []
        for object in SharedObject.allCases {
            let id = try dump.objectID(object, of: pid)
            if !dump.isNew(object, id) {
                guard dump.ofThreads[object]?.contains(id) != true else {
                    throw CheckpointError(
                        "shares its \(object.name) with a single thread of another process; "
                            + "this cannot be checkpointed yet")
                }
                shared.insert(object)
            }
            ids.append(id)
        }
        for (index, thread) in process.threads.enumerated().dropFirst() {
            for object in SharedObject.allCases {
                guard try compareObjects(object.rawValue, of: pid, with: thread.tid) != .same else { continue }
                let id = try dump.objectID(object, of: thread.tid)
                if object == .directory || object == .descriptors, dump.isNew(object, id) {
                    dump.ofThreads[object, default: []].insert(id)
                    if object == .directory { apart.append(index) } else { tables.append((index, id)) }
                    continue
                }
                throw CheckpointError(
                    "thread \(process.innerThreads[index]) has a \(object.name) that not all threads of the process share; "
                        + "this cannot be checkpointed yet")
            }
        }
        try InnerCgroup.verify(process, of: dump)
        return TaskKobjIdsEntry.with {
            $0.vmID = ids[0]
            $0.filesID = ids[1]
            $0.fsID = ids[2]
            $0.sighandID = ids[3]
            InnerNamespace.capture(process, into: &$0, of: dump)
        }
    }

    private func captureDescriptors(table: UInt32, of task: pid_t) throws {
        let pidfd = try Pidfd(task: task, of: process.hostPid)
        let numbers = try directoryEntries("/proc/\(task)/fd").compactMap { CInt($0) }.sorted()
        var entries: [FdinfoEntry] = []
        for number in numbers {
            let entry = try about("descriptor \(number)") {
                let file = try OpenFile(process, by: task, number, pidfd: pidfd)
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

    /// Where the process has gone by chroot(2), from the container's root on.
    private func rootDirectory() throws -> String {
        let link = "/proc/\(process.task)/root"
        let own = try status(at: AT_FDCWD, link)
        func isRoot(_ directory: CInt) throws -> Bool {
            let found = try status(of: directory)
            return own.st_ino == found.st_ino && own.st_dev == found.st_dev
        }
        let top = try dump.root(for: process)
        if try isRoot(top) { return "/" }
        let path = try linkTarget(link)
        guard let place = try? openAt(top, path, CLINUX_O_PATH | O_DIRECTORY, resolve: .inRoot),
            try isRoot(place.raw)
        else {
            throw CheckpointError(
                "its root directory (chroot to \(path)) has no such name in the container; this cannot be checkpointed yet"
            )
        }
        return path
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
        for index in apart {
            try about("thread \(process.innerThreads[index])") {
                try ThreadDirectory.capture(index, of: process, into: dump)
            }
        }
    }

    private func directory(_ name: String) throws -> UInt32 {
        let link = "/proc/\(process.task)/\(name)"
        return try about(name == "cwd" ? "working directory" : "root directory") {
            let path = name == "root" ? try rootDirectory() : try linkTarget(link)
            return try dump.files.id(of: path, link: link, flags: O_DIRECTORY, in: dump)
        }
    }

    private func executable() throws -> UInt32 {
        let link = "/proc/\(process.task)/exe"
        return try about("executable") {
            try dump.files.id(of: try linkTarget(link), link: link, flags: O_RDONLY, isMapped: true, in: dump)
        }
    }
}
