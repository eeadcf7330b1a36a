import CheckpointImages
import LinuxSystem

/// What the three kinds of System V IPC have in common: they are in an IPC namespace, each with an id, a key, an owner, a
/// creator and a mode. svipc(7).
///
/// A restore makes each under its own id. Who made it, who used it last and when is the kernel's to say, and new.
enum InterProcess: Kind {
    /// What is in the container's namespace, looked at in one visit.
    final class DumpState: KindState {
        fileprivate var objects: [SystemV: [SystemV.Object]]?
        /// The file system of its POSIX message queues; nothing in a kernel without CONFIG_POSIX_MQUEUE.
        fileprivate var queues: OwnedDescriptor?
    }

    private static func visited(by dump: Dump) throws -> DumpState {
        let state = dump[Self.self]
        if state.objects != nil { return state }
        try inNamespace(.ipc, of: dump.first.hostPid) {
            var objects: [SystemV: [SystemV.Object]] = [:]
            for kind in SystemV.allCases { objects[kind] = try kind.objects() }
            state.queues = try MessageQueue.mount()
            state.objects = objects
        }
        return state
    }

    /// Fails if there is anything in the namespace that a process has for itself.
    static func verifyEmpty(of process: CapturedProcess, _ dump: Dump) throws {
        func refuse(_ what: String) -> CheckpointError {
            CheckpointError(
                "\(what) is in an IPC namespace that is not the container's; this cannot be checkpointed yet")
        }
        let names: [(SystemV, String)] = [
            (.sharedMemory, "shared memory segment"), (.semaphores, "semaphore set"), (.messages, "message queue"),
        ]
        try inNamespace(.ipc, of: process.task) {
            for (kind, name) in names {
                if let object = try kind.objects().first { throw refuse("System V \(name) \(object.id)") }
            }
            guard let folder = try MessageQueue.mount() else { return }
            if let queue = try directoryEntries(at: folder.raw, ".").min() { throw refuse("message queue /\(queue)") }
        }
    }

    /// Where the container's POSIX message queues are, for one who asks once.
    static func takeQueues(of dump: Dump) throws -> OwnedDescriptor? { try visited(by: dump).queues.take() }

    /// The objects of the container.
    static func objects(
        _ kind: SystemV, called name: String, _ request: CheckpointRequest, in dump: Dump
    ) throws -> [SystemV.Object] {
        let found = try visited(by: dump).objects?[kind] ?? []
        guard let first = found.first else { return [] }
        guard request.makesIPC else {
            throw CheckpointError(
                "System V \(name) \(first.id): the container shares its IPC namespace (config.json does not make one); "
                    + "what is in there cannot be checkpointed")
        }
        return found
    }

    static func description(_ object: SystemV.Object, in dump: Dump) throws -> IpcDescEntry {
        func id(_ column: Substring) -> UInt32 { UInt32(truncatingIfNeeded: object[column]) }
        let ids = dump.userNamespace
        return try IpcDescEntry.with {
            $0.key = id("key")
            $0.uid = try ids.inside(user: id("uid"))
            $0.gid = try ids.inside(group: id("gid"))
            $0.cuid = try ids.inside(user: id("cuid"))
            $0.cgid = try ids.inside(group: id("cgid"))
            $0.mode = id("perms")
            $0.id = UInt32(bitPattern: object.id)
        }
    }

    /// Fails if an image's objects are none, or more than config.json gives.
    ///
    /// - Parameter modes: the bits that a mode may have.
    static func check(
        _ entries: [IpcDescEntry], called name: String, modes: UInt32 = 0o777, _ restore: RestorePlan
    ) throws {
        guard let first = entries.first else { return }
        let policy = restore.policy
        guard policy.makesIPC else {
            throw CheckpointError("System V \(name) \(first.id): config.json does not make an IPC namespace for it")
        }
        guard Set(entries.map(\.id)).count == entries.count else {
            throw CheckpointError("System V \(name): an id is there twice")
        }
        for entry in entries {
            guard entry.id <= UInt32(Int32.max), entry.mode & ~modes == 0 else {
                throw CheckpointError("System V \(name) \(entry.id): mode \(String(entry.mode, radix: 8))")
            }
            // Whom it was given to may be anybody: that takes no right.
            guard policy.allows(user: entry.cuid), policy.allows(group: entry.cgid) else {
                throw CheckpointError(
                    "System V \(name) \(entry.id): was made by \(entry.cuid):\(entry.cgid), whom config.json does not give"
                )
            }
        }
    }

    /// Makes an object; the caller is in the container's IPC namespace.
    ///
    /// - Parameter mode: for the time of the restore.
    static func make(
        _ kind: SystemV, _ entry: IpcDescEntry, mode: CInt, size: Int = 0, in workshop: Workshop
    ) throws {
        try workshop.asOwner(user: entry.cuid, group: entry.cgid) {
            try kind.make(
                id: CInt(bitPattern: entry.id), key: CInt(bitPattern: entry.key), mode: mode, size: size)
        }
    }

    /// Gives it to whom it belonged.
    static func settle(
        _ kind: SystemV, _ entry: IpcDescEntry, queueBytes: UInt64? = nil, in workshop: Workshop
    ) throws {
        let ids = workshop.userNamespace
        try kind.set(
            CInt(bitPattern: entry.id), user: try ids.outside(user: entry.uid),
            group: try ids.outside(group: entry.gid),
            mode: entry.mode & 0o777, queueBytes: queueBytes)
    }
}
