import CheckpointImages
import LinuxSystem

/// What binds the restored tasks, as the kernel tells it: looked at once more when everything is done, before any of them
/// makes an instruction of its own. Whatever has gone wrong on the way, no thread gets more than its plan says.
struct Confinement {
    let images: RestoreImages
    let policy: RestorePolicy
    private let root: (device: dev_t, inode: ino_t)
    private let namespaces: [String]
    private let cgroups: String
    private let available: UInt64

    /// - Parameter first: the new container's first process, as the runtime has made it.
    init(of first: pid_t, _ images: RestoreImages, _ policy: RestorePolicy) throws {
        self.images = images
        self.policy = policy
        root = try Self.root(of: first)
        namespaces = try Self.namespaces(of: first)
        cgroups = try readText("/proc/\(first)/cgroup")
        available = try ProcessStatus(getpid()).capabilities("Bnd")
    }

    /// Fails if a process is elsewhere than its container, or a thread may do what it may not.
    func verify(_ plan: ProcessPlan) throws {
        let process = plan.stubs[0].tid
        guard try Self.root(of: process) == root else { throw wrong("another root directory than its container") }
        guard try Self.namespaces(of: process) == namespaces else { throw wrong("other namespaces than its container") }
        guard try readText("/proc/\(process)/cgroup") == cgroups else {
            throw wrong("other cgroups than its container")
        }
        guard try directoryEntries("/proc/\(process)/task").count == plan.threads.count else {
            throw wrong("other threads than at the checkpoint")
        }
        for (stub, core) in zip(plan.stubs, plan.cores) {
            try about("thread \(stub.thread)") { try verify(stub.tid, of: process, core) }
        }
    }

    private func verify(_ thread: pid_t, of process: pid_t, _ core: CoreEntry) throws {
        let status = try ProcessStatus(thread: thread, of: process)
        let difference = try Credentials.difference(
            status, from: policy.credentials(of: core), in: images.userNamespace, available: available)
        if let difference { throw wrong(difference) }
        let filters = try Seccomp.filters(of: core, in: images.seccompFilters, configured: policy.seccomp).count
        guard status.seccompMode == (filters == 0 ? 0 : 2), status.seccompFilters ?? filters == filters else {
            throw wrong("\(status.seccompFilters ?? 0) seccomp filters instead of \(filters)")
        }
    }

    private func wrong(_ what: String) -> CheckpointError {
        CheckpointError("has \(what) after everything was set: it was disturbed, and is ended; try again")
    }

    private static func root(of process: pid_t) throws -> (device: dev_t, inode: ino_t) {
        let status = try status(at: AT_FDCWD, "/proc/\(process)/root")
        return (status.st_dev, status.st_ino)
    }

    private static func namespaces(of process: pid_t) throws -> [String] {
        try Namespaces.files.map { try linkTarget("/proc/\(process)/ns/\($0.file)") }
    }
}
