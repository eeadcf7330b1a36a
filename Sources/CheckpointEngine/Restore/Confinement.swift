import CheckpointImages
import LinuxSystem

/// What binds the restored tasks, as the kernel tells it: looked at once more when everything is done, before any of them
/// makes an instruction of its own. Whatever has gone wrong on the way, no thread gets more than its plan says.
final class Confinement {
    private let restore: RestorePlan
    private let root: OwnedDescriptor
    /// By their files in /proc/PID/ns.
    private let namespaces: [String: String]
    private let cgroups: String
    private let available: UInt64
    private let first: pid_t
    /// Those that config.json has made.
    private let mounts: String

    /// - Parameter first: the new container's first process, as the runtime has made it.
    init(of first: pid_t, _ restore: RestorePlan) throws {
        self.restore = restore
        root = try openAt(AT_FDCWD, "/proc/\(first)/root", CLINUX_O_PATH | O_DIRECTORY)
        namespaces = try Self.namespaces(of: first)
        cgroups = try readText("/proc/\(first)/cgroup")
        available = try ProcessStatus(getpid()).capabilities("Bnd")
        self.first = first
        mounts = try readText("/proc/\(first)/mountinfo")
    }

    /// Fails if what is mounted is not what config.json and the checkpoint give.
    func verifyMounts() throws {
        let now = try readText("/proc/\(first)/mountinfo")
        let expected = restore[MadeMount.self].expected
        if let difference = try restore[InnerMounts.self].difference() { throw wrong(difference) }
        if expected == nil && now == mounts { return }
        if let difference = (expected ?? ExpectedMounts(mounts)).difference(now) { throw wrong(difference) }
    }

    /// Fails if a process is elsewhere than its container, or a thread may do what it may not.
    func verify(_ plan: ProcessPlan) throws {
        let process = plan.stubs[0].tid
        guard try isRoot(of: plan, process) else { throw wrong("another root directory than it should") }
        let inner = restore[InnerNamespace.self].links[plan.pid] ?? [:]
        guard try Self.namespaces(of: process) == namespaces.merging(inner, uniquingKeysWith: { $1 }) else {
            throw wrong("other namespaces than it should")
        }
        let now = try readText("/proc/\(process)/cgroup")
        guard InnerCgroup.isInPlace(plan, now, own: cgroups, in: restore) else {
            throw wrong("other cgroups than its container")
        }
        try verifyThreads(of: process, plan)
        for (stub, core) in zip(plan.stubs, plan.cores) {
            try about("thread \(stub.thread)") {
                try verify(stub.tid, of: process, core)
                let isApart = plan.threadDirectories[stub.thread] != nil
                guard try !isApart || isRoot(of: plan, stub.tid) else { throw wrong("another root directory") }
            }
        }
        guard let ended = plan.endedLeader else { return }
        let status = try ProcessStatus(plan.stubs[0].hostProcess)
        guard status.isZombie else { throw wrong("a first thread that lives") }
        try about("thread \(plan.pid)") { try verify(status, against: ended) }
    }

    /// Fails if it has more than those of the checkpoint, each of which is looked at by itself. Threads of the kernel's own come
    /// with rings that they submit for.
    private func verifyThreads(of process: pid_t, _ plan: ProcessPlan) throws {
        let tasks = "/proc/\(process)/task"
        let threads = try directoryEntries(tasks)
        if threads.count == plan.everyThread.count { return }
        let others = threads.filter { name in
            pid_t(name).flatMap { try? ProcessStatus($0, path: "\(tasks)/\(name)") }?.isWorker != true
        }
        guard others.count == plan.everyThread.count else { throw wrong("other threads than at the checkpoint") }
    }

    private func verify(_ status: ProcessStatus, against core: CoreEntry) throws {
        let difference = try Credentials.difference(
            status, from: restore.policy.credentials(of: core), in: restore.images.userNamespace, available: available)
        if let difference { throw wrong(difference) }
    }

    private func verify(_ thread: pid_t, of process: pid_t, _ core: CoreEntry) throws {
        let status = try ProcessStatus(thread: thread, of: process)
        try verify(status, against: core)
        let filters = try Seccomp.filters(
            of: core, in: restore.images.seccompFilters, configured: restore.policy.seccomp
        ).count
        let mode = Seccomp.mode(of: core, filters: filters)
        guard status.seccompMode == mode, status.seccompFilters ?? filters == filters else {
            throw wrong("\(status.seccompFilters ?? 0) seccomp filters instead of \(filters)")
        }
    }

    private func wrong(_ what: String) -> CheckpointError {
        CheckpointError("has \(what) after everything was set: it was disturbed, and is ended; try again")
    }

    private func isRoot(of plan: ProcessPlan, _ process: pid_t) throws -> Bool {
        let inner = restore[InnerMounts.self]
        let root = inner.number(of: plan).flatMap { inner.roots[$0] } ?? root.raw
        let other = try plan.root.map {
            try openAt(root, $0, CLINUX_O_PATH | O_DIRECTORY, resolve: .inRoot).release()
        }
        defer { if let other { close(other) } }
        let (wanted, found) = (try status(of: other ?? root), try status(at: AT_FDCWD, "/proc/\(process)/root"))
        return found.st_dev == wanted.st_dev && found.st_ino == wanted.st_ino
    }

    private static func namespaces(of process: pid_t) throws -> [String: String] {
        let files = Namespaces.files.map(\.file) + ["pid_for_children", "time_for_children"]
        return Dictionary(uniqueKeysWithValues: try files.map { ($0, try linkTarget("/proc/\(process)/ns/\($0)")) })
    }
}
