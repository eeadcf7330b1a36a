import CheckpointImages
import LinuxSystem

/// Namespaces that are not the container's, in which processes inside are: made by unshare(2) or clone(2), handed on to
/// children, joined by setns(2). namespaces(7).
///
/// The images tell by ids (`ids-N.img`) who is in which. At the restore the first process in one makes it by a call of
/// its own, which takes the rights that config.json gives; the others are handed it, and join (``NamespaceBirth``).
enum InnerNamespace: Kind {
    /// Those that are carried over.
    static let carried: Namespaces = [.uts, .ipc, .cgroup, .time, .network, .mount]
    /// In which threads of one process can differ.
    private static let ofThreads: Namespaces = [.cgroup, .ipc, .uts, .network, .mount]

    /// One by its number in the images, which no other kind has either.
    struct Name: Hashable {
        let kind: Namespaces
        let number: UInt32
    }

    final class DumpState: KindState {
        /// Of each process, by its task and the file in /proc/PID/ns.
        fileprivate(set) var numbers: [pid_t: [String: UInt32]] = [:]
        /// With the first process that was met in each.
        fileprivate(set) var inner: [(name: Name, process: CapturedProcess)] = []
    }

    // MARK: Dump

    /// Before anything else is looked at: a descriptor may be of a namespace in which a later process is.
    static func capture(_ request: CheckpointRequest, into dump: Dump) throws {
        for process in dump.processes where !process.isZombie { try about("\(process)") { try look(process, dump) } }
    }

    private static func look(_ process: CapturedProcess, _ dump: Dump) throws {
        let state = dump[Self.self]
        var numbers: [String: UInt32] = [:]
        for (kind, file) in Namespaces.files {
            let number = try dump.namespaceID(file, of: process.task)
            numbers[file] = number
            for (thread, id) in zip(process.threads, process.innerThreads).dropFirst() where ofThreads.contains(kind) {
                guard try dump.namespaceID(file, of: thread.tid) == number else {
                    throw CheckpointError(
                        "thread \(id) is in another \(file) namespace than its process; this cannot be checkpointed yet"
                    )
                }
            }
            guard let own = state.numbers[dump.first.task]?[file], own != number else { continue }
            guard carried.contains(kind) else {
                throw CheckpointError(
                    "is in another \(file) namespace than its container; this cannot be checkpointed yet")
            }
            let name = Name(kind: kind, number: number)
            if state.inner.contains(where: { $0.name == name }) { continue }
            try verifyOwner(file, of: process, dump)
            state.inner.append((name, process))
        }
        for file in ["pid", "time"] {
            guard (try? dump.namespaceID(file + "_for_children", of: process.task)) == numbers[file] else {
                throw CheckpointError(
                    "\(file)_for_children: its children are to be in another \(file) namespace; this cannot be checkpointed yet"
                )
            }
        }
        state.numbers[process.task] = numbers
    }

    /// Whose rights count in there, user_namespaces(7): the container's own processes must be able to make it again.
    private static func verifyOwner(_ file: String, of process: CapturedProcess, _ dump: Dump) throws {
        let namespace = try openAt(AT_FDCWD, "/proc/\(process.task)/ns/\(file)", O_RDONLY)
        let raw = namespace.raw
        // NS_GET_USERNS, ioctl_ns(2)
        let owner = OwnedDescriptor(try system("owner of the \(file) namespace") { clinux_ioctl(raw, 0xb701, 0) })
        let (found, own) = (try status(of: owner.raw), try status("/proc/\(dump.first.task)/ns/user"))
        guard found.st_ino == own.st_ino, found.st_dev == own.st_dev else {
            throw CheckpointError(
                "is in a \(file) namespace that belongs to another user namespace than the container's; "
                    + "this cannot be checkpointed yet")
        }
    }

    /// What is in each. Everybody has been looked at, nobody asked.
    static func gather(_ dump: Dump) throws {
        let inner = dump[Self.self].inner
        if inner.isEmpty { return }
        try verifyInside(inner, dump)
        for (name, process) in inner {
            try about("\(process)") {
                switch name.kind {
                case .uts: try HostName.capture(name.number, of: process, into: dump)
                case .ipc: try InterProcess.verifyEmpty(of: process, dump)
                case .cgroup: try InnerCgroup.verifyRoot(of: process, dump)
                case .network: try InnerNetwork.capture(name.number, of: process, into: dump)
                case .time: try Clocks.capture(name.number, of: process, into: dump)
                default: break
                }
                try KernelParameters.capture(name, of: process, into: dump)
            }
            dump.account.keep(Self.self)
        }
    }

    /// Fails if one is known outside of the container: it would be there twice after the restore.
    private static func verifyInside(_ inner: [(name: Name, process: CapturedProcess)], _ dump: Dump) throws {
        let links = try inner.map { name, process in
            try linkTarget("/proc/\(process.task)/ns/\(name.kind.description)")
        }
        let mounts = try readText("/proc/self/mountinfo")
        let inside = Set(dump.processes.map(\.hostPid))
        let others = try directoryEntries("/proc").compactMap { pid_t($0) }.filter { !inside.contains($0) }
        for ((name, process), link) in zip(inner, links) {
            let isHeld = others.contains { (try? linkTarget("/proc/\($0)/ns/\(name.kind.description)")) == link }
            guard !isHeld, !mounts.contains(" \(link) ") else {
                throw CheckpointError(
                    "\(process): is in a \(name.kind) namespace that is in use outside of the container, too")
            }
        }
    }

    /// Whether a process is in one of a kind.
    static func has(_ process: CapturedProcess, _ kind: Namespaces, in dump: Dump) -> Bool {
        let numbers = dump[Self.self].numbers
        return numbers[process.task]?[kind.description] != numbers[dump.first.task]?[kind.description]
    }

    /// The first process that was met in each namespace of a kind.
    static func inner(_ kind: Namespaces, in dump: Dump) -> [CapturedProcess] {
        dump[Self.self].inner.filter { $0.name.kind == kind }.map(\.process)
    }

    static func capture(_ process: CapturedProcess, into ids: inout TaskKobjIdsEntry, of dump: Dump) {
        let numbers = dump[Self.self].numbers[process.task] ?? [:]
        for (kind, file) in Namespaces.files { ids[kind] = numbers[file] }
    }

    // MARK: Restore

    final class RestoreState: KindState {
        /// Of each process that has some, in the order of ``Namespaces/files``.
        fileprivate(set) var members: [pid_t: [Name]] = [:]
        /// As long as the restore lasts.
        var made: [Name: CInt] = [:]
        /// What /proc/PID/ns must say of a process, where that is not what it says of the container's first one.
        var links: [pid_t: [String: String]] = [:]

        /// Networks whose `lo` is up.
        fileprivate(set) var up: Set<Name> = []
        /// Those of processes that are in others than the container's.
        var networks: [pid_t: UInt32] {
            members.compactMapValues { names in names.first { $0.kind == .network }?.number }
        }

        func has(_ name: Name) -> Bool { members.values.contains { $0.contains(name) } }
    }

    static func plan(_ restore: RestorePlan) throws {
        let state = restore[Self.self]
        var planned: Set<Name> = []
        for plan in restore.first.all where !plan.isZombie {
            try about("\(plan)") {
                for (kind, file) in Namespaces.files {
                    guard let number = plan.ids[kind], let own = restore.first.ids[kind], number != own else {
                        continue
                    }
                    guard carried.contains(kind) else {
                        throw CheckpointError(
                            "is in another \(file) namespace than its container, which cannot be restored")
                    }
                    try restore.policy.checkMaking(kind)
                    let name = Name(kind: kind, number: number)
                    state.members[plan.pid, default: []].append(name)
                    guard planned.insert(name).inserted else { continue }
                    if kind == .uts { try HostName.plan(number, restore) }
                    if kind == .time { try Clocks.plan(number, of: plan, restore) }
                    if kind == .network, try InnerNetwork.plan(number, restore) { state.up.insert(name) }
                    try KernelParameters.plan(name, restore)
                }
            }
        }
        try InnerNetwork.planSockets(restore)
    }
}

extension TaskKobjIdsEntry {
    /// The number of the process's namespace of a kind; nil if the image does not tell.
    subscript(kind: Namespaces) -> UInt32? {
        get {
            switch kind {
            case .pid: hasPidNsID ? pidNsID : nil
            case .network: hasNetNsID ? netNsID : nil
            case .ipc: hasIpcNsID ? ipcNsID : nil
            case .uts: hasUtsNsID ? utsNsID : nil
            case .mount: hasMntNsID ? mntNsID : nil
            case .user: hasUserNsID ? userNsID : nil
            case .cgroup: hasCgroupNsID ? cgroupNsID : nil
            case .time: hasTimeNsID ? timeNsID : nil
            default: nil
            }
        }
        set {
            guard let newValue else { return }
            switch kind {
            case .pid: pidNsID = newValue
            case .network: netNsID = newValue
            case .ipc: ipcNsID = newValue
            case .uts: utsNsID = newValue
            case .mount: mntNsID = newValue
            case .user: userNsID = newValue
            case .cgroup: cgroupNsID = newValue
            case .time: timeNsID = newValue
            default: break
            }
        }
    }
}
