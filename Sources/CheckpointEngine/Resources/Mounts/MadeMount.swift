import CheckpointImages
import LinuxSystem
import Tracee

/// Mounts that the container's program has made, changed or taken away since it started: `mountpoints-N.img` has all that
/// it has now, as CRIU's does, and ``startName`` those of the start, as /proc/PID/mountinfo told them, without what is the
/// host's. Both are written only if there is a difference. ``MountChanges`` makes steps of it, ``MountMaker`` takes them:
/// in the container's first process, with the rights that config.json gives.
enum MadeMount: Kind {
    static let startName = "mounts.stasis"

    /// The content of a tmpfs that was made inside.
    static func contentName(_ id: Int) -> String { "tmpfs-mount-\(id).stasis" }

    final class DumpState: KindState {
        fileprivate(set) var tops: PeeledMounts?
    }

    final class RestoreState: KindState {
        fileprivate(set) var changes: MountChanges?
        /// By the mount's id in the image.
        fileprivate(set) var contents: [Int: MemoryFileImage] = [:]
        fileprivate(set) var expected: ExpectedMounts?
        /// Of file systems that were made.
        var devices: Set<String> = []
    }

    // MARK: Checkpoint

    static func capture(_ request: CheckpointRequest, into dump: Dump) throws {
        guard let changes = dump.mountChanges else { return }
        let files = changes.now.filter { changes.holdsFiles($0) && !request.hostMounts.contains($0.point) }
        dump[Self.self].tops = try tops(changes, of: request.firstProcess, root: dump.root.raw, files: files)
        dump.account.keep(Self.self, count: changes.made.count + changes.changed.count + changes.removed.count)
    }

    /// What lies on mounts of files in memory. Fails if there are terminals on those that were made.
    static func tops(
        _ changes: MountChanges, of process: pid_t, root: CInt, files: [MountLine]
    ) throws -> PeeledMounts {
        let terminals = changes.made.filter { $0.isNew && $0.line.type == "devpts" }
        let tops = try PeeledMounts(
            of: process, root: root, wanted: Set((files + terminals.map(\.line)).map(\.id)))
        for terminal in terminals {
            guard let top = tops[terminal.line.id] else { continue }
            if let name = try directoryEntries(at: top, ".").first(where: { $0 != "ptmx" }) {
                throw MountChanges.refuse(
                    terminal.line, "has a pseudoterminal (\(name)), and was made after the container's program started",
                    "close it")
            }
        }
        return tops
    }

    static func seal(_ dump: Dump) throws {
        guard let changes = dump.mountChanges else { return }
        let lines = changes.now.map { entry($0, isOutside: changes.kept[$0.id] != nil, dump) }
        try dump.images.add(.mounts, try dump.namespaceID("mnt", of: dump.first.hostPid), entries: lines)
        let ids = Set(changes.start.map(\.id))
        let texts = dump.request.start?.mounts.split(separator: "\n") ?? []
        let start = texts.compactMap { text -> String? in
            guard let line = MountLine.all(in: String(text)).first, ids.contains(line.id) else { return nil }
            // They are the last field.
            return text.dropLast(line.superOptions.count) + options(of: line, dump) + "\n"
        }
        try dump.images.add(startName, Array(start.joined().utf8))
    }

    static func entry(_ line: MountLine, isOutside: Bool, _ dump: Dump) -> MntEntry {
        var line = line
        line.superOptions = options(of: line, dump)
        return line.entry(isOutside: isOutside)
    }

    /// With the ids that the container sees. A file system of somebody else's may have others.
    private static func options(of line: MountLine, _ dump: Dump) -> Substring {
        let users = dump.userNamespace
        return MountOption.exchangingIDs(
            line, user: { (try? users.inside(user: $0)) ?? $0 }, group: { (try? users.inside(group: $0)) ?? $0 })
    }

    // MARK: Plan

    static func plan(_ restore: RestorePlan) throws {
        let images = restore.images
        guard try images.directory.contains(startName) else { return }
        let number = images.inventory.rootIds.mntNsID
        let changes = try about("\(ImageKind.mounts.fileName(number)), \(startName)") {
            try MountChanges(
                start: MountLine.all(in: String(decoding: try images.directory.bytes(startName), as: UTF8.self)),
                now: try table(number, images))
        }
        let state = restore[Self.self]
        if changes.isEmpty { return }
        try check(changes, restore.policy)
        state.changes = changes
        try planContents(of: changes, restore)
    }

    /// The mounts of a namespace.
    static func table(_ number: UInt32, _ images: RestoreImages) throws -> [MountLine] {
        let entries: [MntEntry] = try images.directory.entries(.mounts, number)
        guard entries.count <= MountChanges.most else { throw CheckpointError("too many mounts") }
        return try entries.map { try MountLine($0) }
    }

    static func planContents(of changes: MountChanges, _ restore: RestorePlan) throws {
        let (state, images) = (restore[Self.self], restore.images)
        for made in changes.made where made.isNew && made.line.type == "tmpfs" {
            let name = contentName(made.line.id)
            guard try images.directory.contains(name) else { throw CheckpointError("\(name) is not there") }
            state.contents[made.line.id] = try about(name) {
                try MemoryFileImage(name, try images.directory.open(name))
            }
        }
    }

    private static let administration: UInt64 = 1 << 21

    static func check(_ changes: MountChanges, _ policy: RestorePolicy) throws {
        if changes.isEmpty { return }
        let named = changes.made.first?.line ?? changes.changed.first?.new ?? changes.removed.first
        let what = named.map { "the mount of type \($0.type) at \($0.point)" } ?? ""
        guard policy.makesMounts else {
            throw CheckpointError(
                "\(what) was made, changed or taken away since the start, and config.json makes no mount namespace to do "
                    + "that again in")
        }
        guard policy.capabilities & administration != 0 else {
            throw CheckpointError(
                "\(what) was made, changed or taken away since the start, and config.json does not grant CAP_SYS_ADMIN to do that again"
            )
        }
        var calls: [(name: String, number: CInt)] = []
        if !changes.made.isEmpty || !changes.changed.isEmpty { calls.append(("mount", CInt(SYS_mount))) }
        if !changes.removed.isEmpty { calls.append(("umount2", CInt(SYS_umount2))) }
        for call in calls where policy.seccomp?.allows(call: Int(call.number)) == false {
            throw CheckpointError(
                "\(what) was made, changed or taken away since the start, and the seccomp filter of config.json does not allow \(call.name)"
            )
        }
    }

    // MARK: Restore

    static func surround(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        let state = workshop[Self.self]
        guard let changes = state.changes else { return }
        var maker = try MountMaker(changes, first, workshop, area)
        try maker.run()
        (state.expected, state.devices) = (maker.expected, maker.devices)
    }
}

extension MountChanges.Made {
    var isNew: Bool { if case .new = origin { true } else { false } }
}

extension MountChanges {
    /// Whether a mount's files go with the container: of a tmpfs of its own that is mounted as a whole.
    func holdsFiles(_ line: MountLine) -> Bool {
        line.type == "tmpfs" && line.root == "/"
            && (kept[line.id] != nil || made.contains { $0.line.id == line.id && $0.isNew })
    }
}
