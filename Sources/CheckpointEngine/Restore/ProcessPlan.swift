import CheckpointImages
import LinuxSystem
import Tracee

/// A process that is to be restored, and what has become of it so far.
final class ProcessPlan: CustomStringConvertible {
    let pid: pid_t
    let parentPid: pid_t
    let group: pid_t
    let session: pid_t
    /// Those that live.
    let threads: [pid_t]
    /// One for each thread; a zombie has just the first.
    let cores: [CoreEntry]
    let task: TaskCoreEntry
    /// Of a first thread that has ended before the others.
    let endedLeader: CoreEntry?
    /// Its guard pages are in ``guards`` instead, in address order.
    let mm: MmEntry
    let guards: [VmaEntry]
    let pages: StoredPages?
    var memory: ProcessMemory
    let descriptors: [FdinfoEntry]
    let directories: FsEntry
    /// Where it has gone by chroot(2).
    let root: String?
    /// Of threads that have a working directory and umask of their own.
    let threadDirectories: [pid_t: (path: String, umask: UInt32)]
    /// Of threads that share their table with no other.
    let threadTables: [pid_t: [FdinfoEntry]]
    let ids: TaskKobjIdsEntry
    /// Of the objects that it may share, those that it is the last one to be born with, and fills.
    var completed = Set(SharedObject.allCases)
    /// Which of them it is born with, and whose brother it is by then; nil if it is born of its parent's stub.
    var born: Set<SharedObject> = []
    weak var source: ProcessPlan?
    weak var parent: ProcessPlan?
    var children: [ProcessPlan] = []
    /// Those of the process, and those of threads with a table of their own.
    var everyDescriptor: [FdinfoEntry] { descriptors + threadTables.sorted { $0.key < $1.key }.flatMap(\.value) }
    /// The number that the next descriptor of a thread gets once all are in place.
    func freeDescriptor(of thread: pid_t) -> UInt64 {
        let taken = Set((threadTables[thread] ?? descriptors).map(\.fd))
        return UInt64((0...taken.count).first { !taken.contains(UInt32($0)) } ?? 0)
    }
    /// The process under construction, then its other threads; when it has them, those that live.
    var stubs: [Stub] = []
    /// Threads with descriptors of their own, which are born before the others.
    var early: [pid_t: Stub] = [:]

    init(_ entry: PstreeEntry, from images: RestoreImages) throws {
        func id(_ value: UInt32) throws -> pid_t {
            guard value < 1 << 22 else { throw CheckpointError("pstree.img: \(value) is not a process id") }
            return pid_t(value)
        }
        pid = try id(entry.pid)
        parentPid = try id(entry.ppid)
        group = try id(entry.pgid)
        session = try id(entry.sid)
        let pid = pid
        let leader: CoreEntry = try images.directory.entry(.core, pid)
        guard pid > 0, leader.mtype == .x8664, leader.hasTc else {
            throw CheckpointError("core-\(pid).img: not a process of x86-64")
        }
        task = leader.tc
        if leader.tc.taskState == 2 {
            threads = [pid]
            cores = [leader]
            endedLeader = nil
            mm = MmEntry()
            guards = []
            pages = nil
            memory = try ProcessMemory(mm, guards: [], nil)
            descriptors = []
            directories = FsEntry()
            root = nil
            threadDirectories = [:]
            threadTables = [:]
            ids = TaskKobjIdsEntry()
            try checkExitCode()
            return
        }
        let others = try entry.threads.map(id).filter { $0 != pid }
        let images = images
        let otherCores: [CoreEntry] = try others.map { try images.directory.entry(.core, $0) }
        let hasEnded = !leader.hasThreadInfo && leader.hasThreadCore && !others.isEmpty
        endedLeader = hasEnded ? leader : nil
        threads = hasEnded ? others : [pid] + others
        cores = hasEnded ? otherCores : [leader] + otherCores
        for (thread, core) in zip(threads, cores) {
            guard core.hasThreadInfo, core.hasThreadCore, core.threadCore.hasCreds else {
                throw CheckpointError("core-\(thread).img: no registers or no credentials in it")
            }
        }
        var mm: MmEntry = try images.directory.entry(.mm, pid)
        guards = mm.vmas.filter { $0.kind.contains(.guardPages) }.sorted { $0.start < $1.start }
        mm.vmas.removeAll { $0.kind.contains(.guardPages) }
        self.mm = mm
        let pages = try StoredPages(.pagemap, pid, in: images)
        self.pages = pages
        memory = try ProcessMemory(mm, guards: guards, pages)
        var threadDirectories: [pid_t: (path: String, umask: UInt32)] = [:]
        for thread in others where try images.directory.contains(.fs, thread) {
            let entry: FsEntry = try images.directory.entry(.fs, thread)
            threadDirectories[thread] = (try ThreadDirectory.plan(entry, of: thread, in: images), entry.umask)
        }
        self.threadDirectories = threadDirectories
        ids = try images.directory.entry(.ids, pid)
        descriptors = try images.directory.entries(.fdinfo, ids.filesID, as: FdinfoEntry.self).sorted { $0.fd < $1.fd }
        var threadTables: [pid_t: [FdinfoEntry]] = [:]
        for thread in others {
            threadTables[thread] = try ThreadDescriptors.plan(
                of: thread, descriptors, table: ids.filesID, in: images)
        }
        self.threadTables = threadTables
        directories = try images.directory.entry(.fs, pid)
        guard let root = images.files[directories.rootID], root.hasReg, !root.reg.ext else {
            throw CheckpointError("fs-\(pid).img: its root directory is file \(directories.rootID), which is none")
        }
        self.root = root.reg.name == "/" ? nil : root.reg.name
        try check()
    }

    /// Whether a process can end like that, as wait(2) tells it.
    static func isEnd(_ code: UInt32) -> Bool {
        let signal = CInt(truncatingIfNeeded: code & 0x7f)
        let harmless = [SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH]
        return signal <= 64 && !harmless.contains(signal)
    }

    /// A signal that does not end the process would leave it running without a life of its own.
    private func checkExitCode() throws {
        guard Self.isEnd(task.exitCode), task.comm.utf8.count <= Self.nameLimit else {
            throw CheckpointError("core-\(pid).img: no process ends with exit code \(task.exitCode)")
        }
    }

    /// The kernel keeps 15 bytes; what is not UTF-8 takes three when it is replaced.
    private static let nameLimit = 45

    /// Numbers that decide how large a program becomes must not exceed what the kernel itself would keep.
    private func checkThread(_ core: CoreEntry) throws {
        // NGROUPS_MAX
        guard core.threadCore.creds.groups.count <= 65_536, core.threadCore.comm.utf8.count <= Self.nameLimit else {
            throw CheckpointError("\(self): its groups or its name are too many or too long")
        }
    }

    private func check() throws {
        guard task.comm.utf8.count <= Self.nameLimit else {
            throw CheckpointError("core-\(pid).img: a name of \(task.comm.utf8.count) bytes")
        }
        for (_, core) in everyThread { try checkThread(core) }
        if let endedLeader {
            guard EndedLeader.isEnd(task.exitCode), endedLeader.threadCore.hasCreds else {
                throw CheckpointError(
                    "core-\(pid).img: no first thread ends with exit code \(task.exitCode), or without credentials")
            }
        }
        var end: UInt64 = 0
        for mapping in mm.vmas {
            let isKernels = mapping.kind.contains(.vsyscall)
            guard mapping.start < mapping.end, mapping.start >= end, mapping.start % 4096 == 0, mapping.end % 4096 == 0,
                isKernels
                    ? mapping.start == 0xffff_ffff_ff60_0000 && mapping.length == 4096
                    : mapping.end <= 0x7fff_ffff_f000
            else {
                throw CheckpointError("mm-\(pid).img: a mapping at \(RemoteAddress(mapping.start)) is not possible")
            }
            end = mapping.end
        }
        var around = mm.vmas[...]
        for pages in guards {
            around = around.drop { $0.end <= pages.start }
            guard let mapping = around.first, pages.start < pages.end, pages.start % 4096 == 0, pages.end % 4096 == 0,
                mapping.start <= pages.start, pages.end <= mapping.end,
                mapping.kind.isDisjoint(with: [.vdso, .vvar, .vsyscall])
            else {
                throw CheckpointError("mm-\(pid).img: guard pages at \(RemoteAddress(pages.start)) are in no mapping")
            }
        }
        for table in threadTables.values + [descriptors] {
            for (first, second) in zip(table, table.dropFirst()) where first.fd == second.fd {
                throw CheckpointError("descriptor \(first.fd) of task \(pid) is there twice")
            }
        }
        guard mm.mmSavedAuxv.count <= 128, everyDescriptor.allSatisfy({ $0.fd < 1 << 20 }) else {
            throw CheckpointError("mm-\(pid).img or its descriptors: a number is too large")
        }
        if let root, !root.isAbsolutePath {
            throw CheckpointError("fs-\(pid).img: its root directory is not called by an absolute path")
        }
        guard mm.aios.isEmpty else { throw CheckpointError("task \(pid): asynchronous I/O cannot be restored yet") }
    }

    /// The threads, and before them a first one that has ended.
    var everyThread: [(id: pid_t, core: CoreEntry)] {
        let ended = endedLeader.map { [(id: pid, core: $0)] } ?? []
        return ended + zip(threads, cores).map { (id: $0, core: $1) }
    }

    var credentials: [CredsEntry] { everyThread.map(\.core).filter(\.hasThreadCore).map(\.threadCore.creds) }

    /// Whether another process has an object, too.
    func shares(_ object: SharedObject) -> Bool { born.contains(object) || !completed.contains(object) }

    var isZombie: Bool { task.taskState == 2 }
    var isStopped: Bool { task.taskState == 3 }
    /// What stops it again: job control's own signal where that would do it, SIGSTOP in any case.
    var stopSignal: CInt {
        let signal = CInt(truncatingIfNeeded: task.stopSigno)
        guard [SIGTSTP, SIGTTIN, SIGTTOU].contains(signal), !SignalActions.isChanged(task.sigactions, signal),
            cores.allSatisfy({ $0.threadCore.blkSigset & 1 << UInt64(signal - 1) == 0 }), !isOrphaned
        else { return SIGSTOP }
        return signal
    }

    /// Whether nobody in its session watches over its group, which then ignores stops of the terminal's. credentials(7).
    private var isOrphaned: Bool {
        var first = self
        while let parent = first.parent { first = parent }
        return !first.all.contains { member in
            guard member.group == group, let parent = member.parent else { return false }
            return parent.session == session && parent.group != group
        }
    }

    var isSessionLeader: Bool { session == pid }

    var description: String { "task \(pid) (\(task.comm))" }

    /// The tree of a checkpoint; the first process has no parent.
    static func tree(from images: RestoreImages) throws -> ProcessPlan {
        var plans: [pid_t: ProcessPlan] = [:]
        var order: [ProcessPlan] = []
        for entry in images.tree {
            let plan = try ProcessPlan(entry, from: images)
            guard plans.updateValue(plan, forKey: plan.pid) == nil else {
                throw CheckpointError("pstree.img: task \(plan.pid) is there twice")
            }
            order.append(plan)
        }
        guard let first = order.first else { throw CheckpointError("pstree.img: no process in it") }
        guard !first.isZombie, first.endedLeader == nil else {
            throw CheckpointError("pstree.img: its first process has ended")
        }
        for plan in order.dropFirst() {
            guard let parent = plans[plan.parentPid], parent !== plan, !parent.isZombie else {
                throw CheckpointError("pstree.img: task \(plan.pid) has no parent \(plan.parentPid)")
            }
            plan.parent = parent
            parent.children.append(plan)
        }
        guard first.all.count == order.count else { throw CheckpointError("pstree.img: the processes are no tree") }
        try SharedObject.plan(first)
        return first
    }

    /// Ids that belong to somebody among them, or to a session or group of theirs.
    var allIDs: Set<pid_t> { Set(all.flatMap { $0.threads + [$0.pid, $0.session, $0.group] }) }

    /// This process and all below it, parents first.
    var all: [ProcessPlan] {
        var found: [ProcessPlan] = []
        var next = [self]
        while let plan = next.popLast() {
            found.append(plan)
            next += plan.children.reversed()
        }
        return found
    }
}

extension String {
    /// Whether it is an absolute path that a stub has room for. path_resolution(7) PATH_MAX.
    var isAbsolutePath: Bool { hasPrefix("/") && !utf8.contains(0) && utf8.count < 4096 }
}
