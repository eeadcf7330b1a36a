import CheckpointImages
import LinuxSystem
import Tracee

/// Memory files: memfd_create(2), and shared anonymous memory that was opened by /proc/PID/map_files.
///
/// As CRIU has it: `memfd.img` has an entry for each, `files.img` one for each open file and mapping of it, and its pages are
/// those of ``SharedMemory``. A restore makes it, lets its processes open, map and fill it, and then gives it owner, mode and
/// seals, in this order: seals forbid what went before, also those that the kernel adds by itself when it is told to seal
/// the execution of a file that may be executed.
enum MemFD: FileKind {
    private static let prefix = "/memfd:"
    private static let suffix = " (deleted)"

    // MARK: Checkpoint

    final class DumpState: KindState {
        fileprivate var inodes: [MemfdInodeEntry] = []
        fileprivate var numbers: [ino_t: UInt32] = [:]
    }

    /// Where the kernel keeps all memory of this kind.
    private static let device: dev_t? = {
        // One that may be executed is made by any kernel.
        guard let file = try? MemoryFile.make("", mayExecute: true) else { return nil }
        return try? status(of: file.raw).st_dev
    }()

    /// Whether memory of this kind is behind a file: of whatever name, that is not on a file system of the container's.
    static func isOne(_ status: stat) -> Bool { status.st_dev == device }

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        try entry(
            path: file.link, link: file.place, status: file.status, flags: file.info.flags,
            position: file.info.position, id: id, in: dump)
    }

    /// The entry for a memory file; `nil` for any other file.
    ///
    /// - Parameter link: what opens it, in /proc.
    static func entry(
        path: String, link: String, status: stat, flags: UInt32, position: UInt64, id: UInt32, in dump: Dump
    ) throws -> FileEntry? {
        guard isOne(status) else { return nil }
        let number = try dump[Self.self].numbers[status.st_ino] ?? captureInode(path, link, status, in: dump)
        return FileEntry.with {
            $0.type = .memfd
            $0.id = id
            $0.memfd = .with {
                $0.id = id
                $0.flags = flags
                $0.pos = position
                $0.fown = .none
                $0.inodeID = number
            }
        }
    }

    private static func captureInode(_ path: String, _ link: String, _ status: stat, in dump: Dump) throws -> UInt32 {
        let name = try name(path)
        let file = try openAt(AT_FDCWD, link, O_RDONLY | MemoryFileSystem.noAccessTime)
        if let name = try attributeNames(file.raw).first(where: MemoryFileSystem.isCarried) {
            throw CheckpointError("\(path): has the extended attribute \(name), which cannot be checkpointed yet")
        }
        let owned = try dump.userNamespace.inside(status)
        let seals = try MemoryFile.seals(of: file.raw)
        let state = dump[Self.self]
        let number = UInt32(state.inodes.count + 1)
        state.numbers[status.st_ino] = number
        state.inodes.append(
            .with {
                $0.name = name
                $0.uid = owned.st_uid
                $0.gid = owned.st_gid
                $0.size = UInt64(status.st_size)
                $0.shmid = SharedMemory.id(of: UInt64(status.st_ino), link: link, in: dump)
                $0.seals = seals
                $0.inodeID = UInt64(number)
                $0.mode = status.st_mode
            })
        return number
    }

    /// What the program called it, by the path that the kernel makes of that.
    private static func name(_ path: String) throws -> String {
        let bare = path.hasSuffix(suffix) ? String(path.dropLast(suffix.utf8.count)) : path
        if bare == SharedMemory.anonymousName { return bare }
        guard bare.hasPrefix(prefix) else {
            throw CheckpointError("\(path): memory of this kind cannot be checkpointed yet")
        }
        let name = String(bare.dropFirst(prefix.utf8.count))
        guard !name.unicodeScalars.contains("\u{FFFD}") else {
            throw CheckpointError("\(path): its name is not UTF-8; such a memory file cannot be checkpointed yet")
        }
        guard name != SharedMemory.anonymousName else {
            throw CheckpointError("\(path): a memory file of this name would pass for shared anonymous memory")
        }
        return name
    }

    static func seal(_ dump: Dump) throws {
        let inodes = dump[Self.self].inodes
        if !inodes.isEmpty { try dump.images.add(.memfdInodes, entries: inodes) }
    }

    // MARK: Restore

    static func plan(_ restore: RestorePlan) throws {
        let images = restore.images
        for file in images.files.all(.memfd) { _ = try SharedMemoryStore.id(of: file, images) }
        for entry in images.memoryFiles.values where entry.name != SharedMemory.anonymousName {
            guard entry.name.utf8.count < 250, !entry.name.utf8.contains(0), entry.size <= UInt64(Int64.max),
                !entry.hasHugetlbFlag, entry.seals & ~MemoryFile.seals == 0,
                [0, UInt32(S_IFREG)].contains(entry.mode & ~0o7777)
            else { throw CheckpointError("memfd.img: file \(entry.inodeID) is none that can be restored") }
            try restore[SharedMemory.self].add(UInt64(entry.shmid), size: entry.size, from: images) { try make(entry) }
        }
    }

    private static func make(_ entry: MemfdInodeEntry) throws -> OwnedDescriptor {
        let isSealed = entry.seals & MemoryFile.sealOfExecution != 0 && entry.mode & 0o111 == 0
        let made = try MemoryFile.make(entry.name, mayExecute: !isSealed)
        let raw = made.raw
        try system("size of memory file \(entry.name)") { ftruncate(raw, off_t(entry.size)) }
        return made
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasMemfd else { return nil }
        let file = entry.memfd
        let flags = CInt(bitPattern: file.flags)
        let made = try open(entry, flags: flags, in: workshop)
        if flags & CLINUX_O_PATH == 0, file.pos > 0 {
            let (raw, position) = (made.raw, off_t(truncatingIfNeeded: file.pos))
            try system("seek to \(file.pos)") { lseek(raw, position, SEEK_SET) }
        }
        return made
    }

    static func open(_ entry: FileEntry, flags: CInt, in workshop: Workshop) throws -> OwnedDescriptor {
        guard let id = try SharedMemoryStore.id(of: entry, workshop.images) else {
            throw CheckpointError("file \(entry.id): is no memory file")
        }
        let made = try workshop[SharedMemory.self].descriptor(id)
        return try reopen(made, as: "memory file", RegularFile.flagsToOpen(flags, of: RegFileEntry()) & ~O_NOFOLLOW)
    }

    /// All who had it before have it open and mapped, and its content is there.
    static func settle(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        for entry in workshop.images.memoryFiles.values {
            guard let file = workshop[SharedMemory.self].made(UInt64(entry.shmid)) else { continue }
            let owner = (
                try workshop.userNamespace.outside(user: entry.uid),
                try workshop.userNamespace.outside(group: entry.gid)
            )
            try about("memory file \(entry.name)") {
                try system("owner") { fchown(file, owner.0, owner.1) }
                if entry.hasMode { try system("mode") { fchmod(file, mode_t(entry.mode & 0o7777)) } }
                let missing = try entry.seals & ~MemoryFile.seals(of: file)
                if missing != 0 { try MemoryFile.add(missing, to: file) }
            }
        }
    }
}
