import CheckpointImages
import LinuxSystem

/// An open file of the container's, in the engine's hands: the very same one, by pidfd_getfd(2), or by a look at what is
/// under way to a process (``UnixSocketQueue``).
struct OpenFile: ~Copyable {
    let process: CapturedProcess
    /// Whose table has it by this number: the process's, or the engine's while it is under way.
    let task: pid_t
    let number: CInt
    let descriptor: OwnedDescriptor
    /// What /proc/PID/fd/N points at: a path, or `pipe:[123]`, `anon_inode:[eventfd]` and the like.
    let link: String
    let info: DescriptorInfo
    let status: stat

    /// - Parameter task: a thread of the process, which has it by this number.
    init(_ process: CapturedProcess, by task: pid_t, _ number: CInt, pidfd: borrowing Pidfd) throws {
        try self.init(process, in: task, number, try pidfd.descriptor(number))
    }

    /// One that waits in a socket of the process; `descriptor` is the engine's.
    init(underWay descriptor: borrowing OwnedDescriptor, to process: CapturedProcess) throws {
        try self.init(process, in: getpid(), descriptor.raw, try descriptor.duplicate())
    }

    private init(
        _ process: CapturedProcess, in task: pid_t, _ number: CInt, _ taken: consuming OwnedDescriptor
    ) throws {
        let link = try linkTarget("/proc/\(task)/fd/\(number)")
        let info = try DescriptorInfo(process: task, number: number)
        let status = try LinuxSystem.status(of: taken.raw)
        self.process = process
        self.task = task
        self.number = number
        self.link = link
        self.info = info
        self.status = status
        descriptor = taken
    }

    /// Whether no process may have it open.
    var isUnderWay: Bool { task == getpid() }
    /// Whether it was met in a table of descriptors that a thread has for itself.
    var isOfThread: Bool { task != process.task && !isUnderWay }
    /// What leads to it, in /proc.
    var place: String { "/proc/\(task)/fd/\(number)" }
    /// As messages name it.
    var holder: String {
        isUnderWay ? "\(process): under way to it in a unix socket" : "\(process): descriptor \(number)"
    }
}

/// The open files of a dump: each once, however many descriptors share it.
final class OpenFiles {
    private var known: [Identity: KernelOrder<Known>] = [:]
    private var places: [Place: UInt32] = [:]
    private let image: ImageStream
    private var nextID: UInt32 = 1

    private struct Identity: Hashable {
        var device: dev_t
        var inode: ino_t
        var flags: UInt32
        var position: UInt64
    }

    private struct Place: Hashable {
        var path: String
        var device: dev_t
        var inode: ino_t
        var flags: CInt
        var mount: Int
    }

    init(_ image: ImageStream) { self.image = image }

    /// An open file by one of its descriptors.
    struct Known {
        let task: pid_t
        let number: CInt
        let id: UInt32
        let type: FdTypes
    }

    func newID() -> UInt32 {
        defer { nextID += 1 }
        return nextID
    }

    /// Adds an entry that no descriptor refers to: a mapped file, a working directory.
    func add(_ entry: FileEntry) throws { try image.append(entry) }

    /// The id of a program or directory that no descriptor refers to, with one entry for all processes that have it.
    ///
    /// - Parameter link: what leads to it, in /proc.
    func id(of path: String, link: String, flags: CInt, isMapped: Bool = false, in dump: Dump) throws -> UInt32 {
        let status = try LinuxSystem.status(at: AT_FDCWD, link)
        let mount = try dump.mount(of: link)
        let place = Place(path: path, device: status.st_dev, inode: status.st_ino, flags: flags, mount: mount)
        if let known = places[place] { return known }
        let id = newID()
        let memory = try MemFD.entry(
            path: path, link: link, status: status, flags: UInt32(flags), position: 0, id: id, in: dump)
        try add(
            memory
                ?? RegularFile.entry(
                    path: path, link: link, status: status, flags: UInt32(flags), position: 0, mount: mount, id: id,
                    isMapped: isMapped, in: dump))
        places[place] = id
        return id
    }

    /// A descriptor's open file, captured when it is met first. kcmp(2) KCMP_FILE tells open files apart.
    func known(_ file: borrowing OpenFile, into dump: Dump) throws -> Known {
        let identity = Identity(
            device: file.status.st_dev, inode: file.status.st_ino, flags: file.info.flags,
            position: file.info.position)
        var alike = known.removeValue(forKey: identity) ?? KernelOrder()
        let (task, number) = (file.task, file.number)
        let found = try alike.value({ try compareObjects(0, of: task, number, with: $0.task, Int($0.number)) }) {
            try capture(file, into: dump)
        }
        known[identity] = alike
        return found
    }

    /// All of them, to find one of which nothing is told but how it compares with others.
    func ordered() throws -> KernelOrder<Known> {
        var all = KernelOrder<Known>()
        for file in known.values.flatMap(\.values) {
            _ = try all.value({ try compareObjects(0, of: file.task, file.number, with: $0.task, Int($0.number)) }) {
                file
            }
        }
        return all
    }

    private func capture(_ file: borrowing OpenFile, into dump: Dump) throws -> Known {
        let id = newID()
        let isPlace = file.info.flags & UInt32(CLINUX_O_PATH) != 0
        for kind in isPlace ? placeKinds : fileKinds {
            guard var entry = try dump.by(kind, { try kind.capture(file, id: id, into: dump) }) else { continue }
            try ThreadDescriptors.check(file, of: kind)
            dump.account.keep(kind)
            try InnerNetwork.note(file, in: &entry, of: dump)
            try InnerMounts.verify(file, entry, of: dump)
            for attribute in fileAttributes { try attribute.capture(file, into: &entry, of: dump) }
            try image.append(entry)
            return Known(task: file.task, number: file.number, id: entry.id, type: entry.type)
        }
        let what =
            file.status.isSocket ? try SocketOptions.description(of: file.descriptor.raw) : "this kind of file"
        throw CheckpointError("\(file.link): \(what) cannot be checkpointed yet")
    }
}
