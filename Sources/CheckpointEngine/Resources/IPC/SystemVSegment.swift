import CheckpointImages
import LinuxSystem
import Tracee

/// System V shared memory: shmget(2), shmat(2).
///
/// As CRIU has it: an entry in `ipcns-shm-N.img`, its pages as those of ``SharedMemory`` under the segment's id, and in the
/// processes' mappings the id. The engine has each attached from its making until all processes do, since the sysctl
/// kernel.shm_rmid_forced takes away what nobody has.
enum SystemVSegment: Kind {
    /// IPC_RMID came while it was attached; SHM_LOCK.
    private static let removed: UInt32 = 0o1000
    private static let locked: UInt32 = 0o2000

    // MARK: Checkpoint

    final class DumpState: KindState {
        fileprivate var entries: [(entry: IpcShmEntry, attachments: Int)] = []
        /// The mappings of each that were met: what opens them, and the key that it was made with.
        fileprivate var mappings: [UInt32: [(link: String, key: UInt32)]] = [:]
    }

    /// Whether a mapping is of a segment, whose id /proc/PID/maps tells as an inode.
    ///
    /// - Parameter link: what opens it, in /proc.
    static func has(_ line: MemoryMapLine, _ link: String, in dump: Dump) throws -> Bool {
        guard try line.name.hasPrefix("/SYSV") && MemFD.isOne(status(at: AT_FDCWD, link)) else { return false }
        let key = UInt32(line.name.dropFirst(5).prefix(8), radix: 16) ?? 0
        dump[Self.self].mappings[UInt32(truncatingIfNeeded: line.inode), default: []].append((link, key))
        return true
    }

    static func capture(_ request: CheckpointRequest, into dump: Dump) throws {
        let found = try InterProcess.objects(.sharedMemory, called: "shared memory segment", request, in: dump)
        dump[Self.self].entries = try found.map { object in
            let entry = try IpcShmEntry.with {
                $0.desc = try InterProcess.description(object, in: dump)
                $0.size = UInt64(object["size"])
                $0.inPagemaps = true
            }
            return (entry, object["nattch"])
        }
        dump.account.keep(Self.self, count: found.count)
    }

    static func seal(_ dump: Dump) throws {
        var (entries, mappings) = (dump[Self.self].entries, dump[Self.self].mappings)
        for index in entries.indices {
            let (entry, attachments) = entries[index]
            let mapped = mappings.removeValue(forKey: entry.desc.id) ?? []
            try about("System V shared memory segment \(entry.desc.id)") {
                guard attachments == mapped.count else {
                    throw CheckpointError("is attached outside the container, or there is another one of this id")
                }
                let file = try open(entry, mapped.first?.link, in: dump)
                try dump.pages.add(file, as: .shmemPagemap, UInt64(entry.desc.id))
            }
            // One that was removed has lost its key, but is called by it in /proc/PID/maps.
            if let mapping = mapped.first { entries[index].entry.desc.key = mapping.key }
        }
        if let other = mappings.keys.first {
            throw CheckpointError("a process has segment \(other) of another IPC namespace attached")
        }
        guard !entries.isEmpty else { return }
        let number = dump.rootIDs?.ipcNsID ?? 0
        try dump.images.add(.ipcSharedMemory, number, entries: entries.map(\.entry))
    }

    /// - Parameter link: of a process that has it attached, if one has.
    private static func open(_ entry: IpcShmEntry, _ link: String?, in dump: Dump) throws -> OwnedDescriptor {
        if let link {
            return try openAt(AT_FDCWD, link, O_RDONLY | MemoryFileSystem.noAccessTime)
        }
        let file = try inNamespace(.ipc, of: dump.first.hostPid) {
            // Whoever attaches it has to let go of it, too, and would be the last.
            guard try readText("/proc/sys/kernel/shm_rmid_forced").first == "0" else {
                throw CheckpointError(
                    "is attached by nobody under the sysctl kernel.shm_rmid_forced; this cannot be checkpointed")
            }
            return try AttachedSegment(CInt(bitPattern: entry.desc.id), size: entry.size).file()
        }
        guard MemFD.isOne(try status(of: file.raw)) else {
            throw CheckpointError("has huge pages (SHM_HUGETLB); this cannot be checkpointed yet")
        }
        return file
    }

    // MARK: Restore

    final class RestoreState: KindState {
        fileprivate var entries: [UInt32: (entry: IpcShmEntry, pages: StoredPages)] = [:]
        fileprivate var attached: [Attachment] = []
    }

    fileprivate final class Attachment {
        let segment: AttachedSegment
        init(_ segment: consuming AttachedSegment) { self.segment = segment }
    }

    static func plan(_ restore: RestorePlan) throws {
        let images = restore.images
        let number = images.inventory.rootIds.ipcNsID
        let isThere = try images.directory.contains(.ipcSharedMemory, number)
        let entries: [IpcShmEntry] = isThere ? try images.directory.entries(.ipcSharedMemory, number) : []
        try InterProcess.check(
            entries.map(\.desc), called: "shared memory segment", modes: 0o777 | removed | locked, restore)
        for entry in entries {
            let id = entry.desc.id
            let pages = try StoredPages(.shmemPagemap, id, in: images)
            guard entry.inPagemaps, !entry.hasHugetlbFlag, entry.size > 0, entry.size < 1 << 46,
                pages.end <= room(entry)
            else { throw CheckpointError("ipcns-shm-\(number).img: segment \(id) is none that can be restored") }
            // CAP_IPC_LOCK
            guard entry.desc.mode & locked == 0 || restore.policy.capabilities & 1 << 14 != 0 else {
                throw CheckpointError("segment \(id) is locked (SHM_LOCK), and config.json does not give CAP_IPC_LOCK")
            }
            restore[Self.self].entries[id] = (entry, pages)
        }
        for plan in restore.first.all {
            for mapping in plan.mm.vmas where mapping.kind.contains(.systemV) {
                guard plan.ids[.ipc] == restore.first.ids[.ipc] else {
                    throw CheckpointError(
                        "\(plan): has System V segment \(mapping.shmid) attached, and is in another IPC namespace than its "
                            + "container; this cannot be restored yet")
                }
                guard let (entry, _) = restore[Self.self].entries[UInt32(truncatingIfNeeded: mapping.shmid)],
                    mapping.pgoff % 4096 == 0, mapping.pgoff < room(entry),
                    mapping.length <= room(entry) - mapping.pgoff
                else {
                    throw CheckpointError(
                        "\(plan): mapping \(RemoteAddress(mapping.start)) is of segment \(mapping.shmid), which is not there"
                    )
                }
            }
        }
    }

    private static func room(_ entry: IpcShmEntry) -> UInt64 { (entry.size + 4095) & ~4095 }

    /// The room that a task needs to attach the largest.
    static func largest(in workshop: Workshop) -> UInt64 {
        workshop[Self.self].entries.values.map { room($0.entry) }.max() ?? 0
    }

    static func recreate(in workshop: Workshop) throws {
        let entries = workshop[Self.self].entries.values.map(\.entry).sorted {
            ($0.desc.mode & removed, $1.desc.id) > ($1.desc.mode & removed, $0.desc.id)
        }
        if entries.isEmpty { return }
        try inNamespace(.ipc, of: workshop.firstProcess) {
            for entry in entries {
                try InterProcess.make(.sharedMemory, entry.desc, mode: 0o777, size: Int(entry.size), in: workshop)
                let id = CInt(bitPattern: entry.desc.id)
                workshop[Self.self].attached.append(Attachment(try AttachedSegment(id, size: entry.size)))
                // It can be attached by its id still, and another one may have its key.
                if entry.desc.mode & removed != 0 { try SystemV.sharedMemory.remove(id) }
            }
        }
    }

    /// The first process fills them, so that they are charged to the container.
    static func furnish(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        var runner = ProgramRunner(first.stubs[0], area)
        for (id, (entry, pages)) in workshop[Self.self].entries.sorted(by: { $0.key < $1.key }) {
            if pages.isEmpty { continue }
            try runner.add { attach(id, at: area.end, flags: 0, in: &$0) }
            try PageFill.run(shared: pages, at: area.end, from: workshop.images, by: &runner)
            try runner.add { $0.call("munmap of segment \(id)", Int(SYS_munmap), [area.end.raw, room(entry)]) }
        }
        try runner.flush()
    }

    private static func attach(_ id: UInt32, at place: RemoteAddress, flags: UInt64, in program: inout Program) {
        program.call("shmat \(id)", Int(SYS_shmat), [UInt64(id), place.raw, flags], expecting: Int(place.raw))
    }

    /// Makes a mapping, which may be a part of what was attached: the rest was unmapped.
    ///
    /// - Parameter place: room for the whole segment meanwhile.
    static func map(_ mapping: VmaEntry, by place: RemoteAddress, in workshop: Workshop, _ program: inout Program) {
        let id = UInt32(truncatingIfNeeded: mapping.shmid)
        guard let (entry, _) = workshop[Self.self].entries[id] else { return }
        let isReadOnly = mapping.hasFdflags && mapping.fdflags & UInt32(O_ACCMODE) == UInt32(O_RDONLY)
        let isCode = mapping.prot & UInt32(PROT_EXEC) != 0
        // SHM_RDONLY, SHM_EXEC
        attach(id, at: place, flags: (isReadOnly ? 0o10000 : 0) | (isCode ? 0o100000 : 0), in: &program)
        let range = "\(RemoteAddress(mapping.start))-\(RemoteAddress(mapping.end)) of segment \(id)"
        program.call(
            "mremap to \(range)", Int(SYS_mremap),
            [place.raw + mapping.pgoff, mapping.length, mapping.length, 3, mapping.start],
            expecting: Int(mapping.start))
        program.call("munmap of segment \(id)", Int(SYS_munmap), [place.raw, room(entry)])
        program.call("mprotect of \(range)", Int(SYS_mprotect), [mapping.start, mapping.length, UInt64(mapping.prot)])
    }

    /// Everyone has it attached again.
    static func settle(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        let state = workshop[Self.self]
        if state.entries.isEmpty { return }
        try inNamespace(.ipc, of: workshop.firstProcess) {
            for (id, (entry, _)) in state.entries {
                try InterProcess.settle(.sharedMemory, entry.desc, in: workshop)
                if entry.desc.mode & locked != 0 { try SystemV.lock(CInt(bitPattern: id)) }
            }
        }
        state.attached = []
    }
}
