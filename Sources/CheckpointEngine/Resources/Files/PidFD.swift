import CheckpointImages
import LinuxSystem
import Tracee

/// pidfd_open(2): a process by descriptor. Those of a process that has ended, and that nobody waits for any more, are made of
/// one that ends the same way.
enum PidFD: FileKind {
    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.link == "anon_inode:[pidfd]" else { return nil }
        guard let process = file.info.value("Pid").flatMap({ pid_t($0) }) else {
            throw CheckpointError("the kernel does not tell the process of a pidfd")
        }
        if process == -1, let code = Pidfd.exitCode(file.descriptor.raw) {
            FileNote.add(.exitCode, id, [code], to: dump)
        }
        let inner = process == -1 ? -1 : dump.innerPids[process]
        guard let inner else {
            let thread = dump.processes.first { $0.threadNumbers[process] != nil }
            throw CheckpointError(
                thread.map { "a pidfd of a thread of \($0) (PIDFD_THREAD) cannot be checkpointed yet" }
                    ?? "a pidfd of process \(process), which is outside the container, cannot be checkpointed")
        }
        return FileEntry.with {
            $0.type = .pidfd
            $0.id = id
            $0.pidfd = .with {
                $0.id = id
                $0.ino = UInt32(truncatingIfNeeded: file.status.st_ino)
                $0.flags = file.info.flags
                $0.nspid = inner
                $0.fown = .none
            }
        }
    }

    static func plan(_ restore: RestorePlan) throws {
        let ids = Set(restore.first.all.map(\.pid))
        for entry in restore.images.files.all(.pidfd) {
            guard entry.pidfd.nspid == -1 || ids.contains(entry.pidfd.nspid) else {
                throw CheckpointError(
                    "file \(entry.id): a pidfd of \(entry.pidfd.nspid), which is no process of the checkpoint")
            }
        }
        for (id, numbers) in FileNote.numbers(.exitCode, in: restore) {
            guard numbers.count == 1, ProcessPlan.isEnd(numbers[0]) else {
                throw CheckpointError("\(FileNote.fileName): file \(id): no process ends with exit code \(numbers)")
            }
        }
    }

    /// When all processes are there, those that have ended too.
    static func furnish(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        let entries = workshop.images.files.all(.pidfd).sorted { $0.id < $1.id }
        guard !entries.isEmpty else { return }
        let tasks = Dictionary(first.all.map { ($0.pid, $0.stubs[0].hostProcess) }, uniquingKeysWith: { one, _ in one })
        for entry in entries { if let task = tasks[entry.pidfd.nspid] { try open(entry, task, in: workshop) } }
        let ended = Dictionary(grouping: entries.filter { $0.pidfd.nspid == -1 }, by: \.pidfd.ino)
        let codes = FileNote.numbers(.exitCode, in: workshop)
        let growth = Growth(first, area, workshop.images)
        for entries in ended.values {
            let code = entries.lazy.compactMap { codes[$0.id]?.first }.first ?? 0
            try growth.withEndedProcess(code: code) { task in
                for entry in entries { try open(entry, task, in: workshop) }
            }
        }
    }

    private static func open(_ entry: FileEntry, _ task: pid_t, in workshop: Workshop) throws {
        // PIDFD_NONBLOCK, PIDFD_THREAD
        let flags = CInt(bitPattern: entry.pidfd.flags) & (O_NONBLOCK | O_EXCL)
        try about("file \(entry.id)") { workshop.adopt(try Pidfd(pid: task, flags: flags).release(), as: entry.id) }
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasPidfd else { return nil }
        throw CheckpointError("a pidfd of \(entry.pidfd.nspid), which is no process of the checkpoint")
    }
}
