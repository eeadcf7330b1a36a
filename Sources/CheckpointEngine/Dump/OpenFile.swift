import CheckpointImages
import LinuxSystem

/// An open file of the container's, in the engine's hands: the very same one, by pidfd_getfd(2).
struct OpenFile: ~Copyable {
    let process: CapturedProcess
    let number: CInt
    let descriptor: OwnedDescriptor
    /// What /proc/PID/fd/N points at: a path, or `pipe:[123]`, `anon_inode:[eventfd]` and the like.
    let link: String
    let info: DescriptorInfo
    let status: stat

    init(_ process: CapturedProcess, _ number: CInt, pidfd: borrowing Pidfd) throws {
        let link = try linkTarget("/proc/\(process.hostPid)/fd/\(number)")
        let info = try DescriptorInfo(process: process.hostPid, number: number)
        let taken = try pidfd.descriptor(number)
        let status = try LinuxSystem.status(of: taken.raw)
        self.process = process
        self.number = number
        self.link = link
        self.info = info
        self.status = status
        descriptor = taken
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
    }

    init(_ image: ImageStream) { self.image = image }

    /// An open file by one of its descriptors.
    struct Known {
        let process: pid_t
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
        let place = Place(path: path, device: status.st_dev, inode: status.st_ino, flags: flags)
        if let known = places[place] { return known }
        let id = newID()
        try add(
            RegularFile.entry(
                path: path, link: link, status: status, flags: UInt32(flags), position: 0, mount: -1, id: id,
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
        let (process, number) = (file.process.hostPid, file.number)
        let found = try alike.value({ try compareObjects(0, of: process, number, with: $0.process, $0.number) }) {
            try capture(file, into: dump)
        }
        known[identity] = alike
        return found
    }

    private func capture(_ file: borrowing OpenFile, into dump: Dump) throws -> Known {
        let id = newID()
        for kind in fileKinds {
            guard var entry = try dump.by(kind, { try kind.capture(file, id: id, into: dump) }) else { continue }
            dump.account.keep(kind)
            for attribute in fileAttributes { try attribute.capture(file, into: &entry, of: dump) }
            try image.append(entry)
            return Known(process: file.process.hostPid, number: file.number, id: id, type: entry.type)
        }
        throw CheckpointError("\(file.link): this kind of file cannot be checkpointed yet")
    }
}
