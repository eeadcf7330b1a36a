import CheckpointImages
import LinuxSystem
import Tracee

/// The mounts of namespaces that are not the container's (``InnerNamespace``): `mountpoints-N.img` of each, as CRIU has them.
///
/// The kernel makes such a namespace as a copy of the one in which its first process was. So a restore does: of the one that becomes
/// it in the fewest steps, the container's or one that was made before (``MountChanges/nearest(_:now:foreign:)``); then
/// ``MountMaker`` takes the steps in there. Copies of shared mounts are their peers, across namespaces. mount_namespaces(7).
enum InnerMounts: Kind {
    // MARK: Dump

    final class DumpState: KindState {
        fileprivate(set) var inner: [Captured] = []
    }

    final class Captured {
        let number: UInt32
        let changes: MountChanges
        let ids: Set<Int>
        /// Its root directory, beneath which paths are as the kernel tells them.
        let root: OwnedDescriptor
        let tops: PeeledMounts

        fileprivate init(
            _ number: UInt32, _ changes: MountChanges, ids: Set<Int>, of process: pid_t, root: consuming OwnedDescriptor
        ) throws {
            (self.number, self.changes, self.ids) = (number, changes, ids)
            self.root = root
            for line in changes.removed { try Self.verifyBeneath(line, changes, self.root.raw) }
            let files = changes.made.filter { $0.isNew && $0.line.type == "tmpfs" }.map(\.line)
            tops = try MadeMount.tops(changes, of: process, root: self.root.raw, files: files)
        }

        /// Fails if there are files in memory where one was taken away: a restore makes those before, and elsewhere it is still there.
        private static func verifyBeneath(_ line: MountLine, _ changes: MountChanges, _ root: CInt) throws {
            guard let place = try? openAt(root, line.point, CLINUX_O_PATH | O_NOFOLLOW, resolve: .inRoot) else {
                return
            }
            let (device, found) = (try MountLine.device(of: place.raw), try status(of: place.raw))
            guard
                changes.now.contains(where: { $0.device == device && $0.type == "tmpfs" && changes.kept[$0.id] != nil })
            else { return }
            let isEmpty =
                try found.isDirectory
                ? directoryEntries(at: place.raw, ".").isEmpty : found.isRegular && found.st_size == 0
            guard isEmpty else {
                throw MountChanges.refuse(
                    line, "was taken away in a mount namespace of its own, and there are files in memory beneath it",
                    "remove them")
            }
        }
    }

    static func capture(_ request: CheckpointRequest, into dump: Dump) throws {
        let state = dump[Self.self]
        for first in InnerNamespace.inner(.mount, in: dump) {
            try about("\(first)") {
                guard let outer = try dump.askForMountChanges() else {
                    throw CheckpointError(
                        "is in a mount namespace of its own, and nobody knows with which mounts the container started")
                }
                let number = try dump.namespaceID("mnt", of: first.task)
                let (table, top) = try PeeledMounts.whole(of: first.task)
                let root = OwnedDescriptor(top)
                let found = MountLine.all(in: table)
                let earlier = [outer.now] + state.inner.map(\.changes.now)
                let now = found.map { line in
                    var line = line
                    // One file system has the same options everywhere.
                    if let same = earlier.joined().first(where: { $0.device == line.device }) {
                        line.superOptions = same.superOptions
                    }
                    return line
                }
                let foreign = Set(try MountLine.all(of: "self").map(\.device))
                let (_, changes) = try MountChanges.nearest(earlier, now: now, foreign: foreign)
                let ids = Set(found.map(\.id))
                state.inner.append(try Captured(number, changes, ids: ids, of: first.task, root: root))
                dump.mountIDs.formUnion(ids)
                dump.account.keep(Self.self)
            }
        }
    }

    static func seal(_ dump: Dump) throws {
        for inner in dump[Self.self].inner {
            try dump.images.add(
                .mounts, inner.number,
                entries: inner.changes.now.map { MadeMount.entry($0, isOutside: false, dump) })
            try MemoryFileSystem.writeMade(inner.changes, inner.tops, dump)
        }
    }

    /// Fails for files that a restore would look for in the container's mount namespace alone.
    static func verify(_ file: borrowing OpenFile, _ entry: FileEntry, of dump: Dump) throws {
        guard !dump[Self.self].inner.isEmpty,
            dump.innerMounts(of: file.info.mount) != nil || InnerNamespace.has(file.process, .mount, in: dump)
        else { return }
        let isNamedSocket = entry.hasUsk && !entry.usk.name.isEmpty && entry.usk.name.first != 0
        guard !entry.hasIfy, !entry.hasFifo, !isNamedSocket else {
            throw CheckpointError(
                "\(file.link): watches, FIFOs and sockets with names of processes in mount namespaces of their own "
                    + "cannot be checkpointed yet")
        }
    }

    // MARK: Restore

    struct Planned {
        let number: UInt32
        /// The one that it is a copy of; nil for the container's.
        let base: UInt32?
        let changes: MountChanges
    }

    final class RestoreState: KindState {
        fileprivate(set) var planned: [UInt32: Planned] = [:]
        /// By the ids that mounts have in the images.
        fileprivate var numbers: [Int: UInt32] = [:]
        fileprivate var namespaces: [pid_t: UInt32] = [:]
        fileprivate(set) var roots: [UInt32: CInt] = [:]
        /// With a file that shows what is mounted in there, whatever becomes of the process.
        fileprivate var expected: [(mounts: ExpectedMounts, table: CInt)] = []

        init() {}

        deinit { for descriptor in roots.values + expected.map(\.table) { close(descriptor) } }

        /// The namespace of a file, or of a process; nil for the container's.
        func number(of file: RegFileEntry) -> UInt32? { numbers[Int(file.mntID)] }
        func number(of plan: ProcessPlan) -> UInt32? { namespaces[plan.pid] }

        /// Fails if what is mounted in one is not what the checkpoint gives.
        func difference() throws -> String? {
            for (mounts, table) in expected {
                try system("look at mounts once more") { lseek(table, 0, SEEK_SET) }
                if let difference = mounts.difference(
                    String(decoding: try readAll(table, name: "mountinfo"), as: UTF8.self))
                {
                    return difference
                }
            }
            return nil
        }
    }

    static func plan(_ restore: RestorePlan) throws {
        let state = restore[Self.self]
        let members = restore[InnerNamespace.self].members
        var tables: [(number: UInt32?, lines: [MountLine])] = []
        let processes = restore.first.all
        var sharing: [UInt32: Int] = [:]
        for plan in processes where !plan.isZombie { sharing[plan.ids.fsID, default: 0] += 1 }
        for plan in processes {
            guard let number = members[plan.pid]?.first(where: { $0.kind == .mount })?.number else { continue }
            state.namespaces[plan.pid] = number
            if tables.isEmpty {
                let number = restore.images.inventory.rootIds.mntNsID
                tables.append((nil, try MadeMount.table(number, restore.images)))
            }
            try about("\(plan)") {
                if sharing[plan.ids.fsID, default: 0] > (plan.isZombie ? 0 : 1) {
                    throw CheckpointError(
                        "shares its directories with another process in a mount namespace of its own, which cannot be restored yet"
                    )
                }
                let isJoined = state.planned[number] != nil
                if !isJoined { try self.plan(number, &tables, restore) }
                if isJoined || state.planned[number]?.base != nil { try restore.policy.checkJoiningMounts() }
            }
        }
    }

    private static func plan(
        _ number: UInt32, _ tables: inout [(number: UInt32?, lines: [MountLine])], _ restore: RestorePlan
    ) throws {
        let state = restore[Self.self]
        let name = ImageKind.mounts.fileName(number)
        let now = try MadeMount.table(number, restore.images)
        let known = Set(tables.flatMap(\.lines).map(\.id))
        guard known.isDisjoint(with: now.map(\.id)) else {
            throw CheckpointError("\(name): has a mount of another namespace")
        }
        let (index, changes) = try about(name) { try MountChanges.nearest(tables.map(\.lines), now: now) }
        try MadeMount.check(changes, restore.policy)
        try MadeMount.planContents(of: changes, restore)
        state.planned[number] = Planned(number: number, base: tables[index].number, changes: changes)
        for line in now { state.numbers[line.id] = number }
        tables.append((number, now))
    }

    /// Makes what is mounted in a new one, by the process that has just got it.
    static func recreate(_ number: UInt32, by plan: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        let state = workshop[Self.self]
        guard let planned = state.planned[number] else {
            throw CheckpointError("mount namespace \(number) is not there")
        }
        var maker = try MountMaker(planned.changes, plan, workshop, area)
        try maker.run(isInner: true)
        let table = try openAt(AT_FDCWD, "/proc/\(plan.stubs[0].hostProcess)/mountinfo", O_RDONLY)
        state.expected.append((maker.expected, table.release()))
        workshop[MadeMount.self].devices.formUnion(maker.devices)
        state.roots[number] = try openAt(
            AT_FDCWD, "/proc/\(plan.stubs[0].hostProcess)/root", CLINUX_O_PATH | O_DIRECTORY
        ).release()
    }
}

extension MountChanges {
    /// The one of several namespaces' mounts whose copy becomes `now` in the fewest steps.
    ///
    /// - Parameter bases: of which the first ones' file systems are nobody's but theirs and their copies'.
    static func nearest(
        _ bases: [[MountLine]], now: [MountLine], foreign: Set<String> = []
    ) throws -> (index: Int, changes: MountChanges) {
        var best: (index: Int, changes: MountChanges)?
        var failure: (any Error)?
        for (index, base) in bases.enumerated() {
            do {
                let changes = try MountChanges(start: base, now: now, foreign: foreign)
                if best.map({ changes.count < $0.changes.count }) ?? true { best = (index, changes) }
            } catch { failure = failure ?? error }
        }
        guard let best else { throw failure ?? CheckpointError("its mounts are those of no other namespace") }
        let others = Set(bases.joined().map(\.device))
        if let shared = best.changes.made.first(where: { $0.isNew && $0.isApart && others.contains($0.line.device) }) {
            throw refuse(
                shared.line, "is mounted in a mount namespace that is no copy of this one, too", "unmount it")
        }
        return best
    }

    fileprivate var count: Int { removed.count + made.count + changed.count }
}

extension MountChanges.Made {
    /// Whether it is a file system that no other mount would show.
    fileprivate var isApart: Bool { !MountOption.isShared(line.type) && line.type != "proc" }
}

extension Dump {
    func innerMounts(of mount: Int) -> InnerMounts.Captured? {
        self[InnerMounts.self].inner.first { $0.ids.contains(mount) }
    }

    /// The root directory of the mount namespace that has a mount.
    func root(of mount: Int) -> CInt { innerMounts(of: mount)?.root.raw ?? root.raw }

    /// The root directory of a process's mount namespace.
    func root(for process: CapturedProcess) throws -> CInt {
        let inner = self[InnerMounts.self].inner
        if inner.isEmpty { return root.raw }
        let number = try namespaceID("mnt", of: process.task)
        return inner.first { $0.number == number }?.root.raw ?? root.raw
    }

    /// The mount on which something in /proc lies, where there are several namespaces of them; else -1.
    func mount(of link: String) throws -> Int {
        if self[InnerMounts.self].inner.isEmpty { return -1 }
        let place = try openAt(AT_FDCWD, link, CLINUX_O_PATH)
        return try DescriptorInfo(process: getpid(), number: place.raw).mount
    }
}

extension Workshop {
    /// The root directory beneath which a file's path leads to it.
    func root(of file: RegFileEntry) -> CInt {
        let state = self[InnerMounts.self]
        return state.number(of: file).flatMap { state.roots[$0] } ?? root
    }

    /// Whether a file's path does not lead to it for the task that opens it.
    func isElsewhere(_ file: RegFileEntry, for opener: Opener) -> Bool {
        let state = self[InnerMounts.self]
        return state.number(of: file) != state.number(of: opener.plan)
    }
}
