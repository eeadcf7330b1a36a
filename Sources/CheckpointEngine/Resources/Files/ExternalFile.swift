import CheckpointImages
import LinuxSystem

/// A file that the container was given at its start and that lies outside of it: the supervisor's pipes, a log file or
/// /dev/null of the host.
///
/// The images keep what it was called (`descriptors.json` holds the three names in order, as runc writes it); restore
/// puts in its place the descriptor that it was given under the same number. What a process of `exec` got from its caller is
/// marked, and comes back as the container's /dev/null.
enum ExternalFile: FileKind {
    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard !dump.isInside(file) else { return nil }
        let isGuests = dump.guestStreams.contains(file.link)
        guard isGuests || dump.externalDescriptors.contains(file.link) else { return nil }
        // A pipe keeps its own type, with which CRIU knows to inherit it.
        if file.link.hasPrefix("pipe:["), !isGuests { return Pipe.entry(file, id: id) }
        var entry = RegFileEntry(file, id: id)
        if isGuests { entry.name = guestMark + entry.name }
        entry.ext = true
        return FileEntry.with {
            $0.type = .reg
            $0.id = id
            $0.reg = entry
        }
    }

    private static let guestMark = "exec "

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard let name = name(of: entry) else { return nil }
        if name.hasPrefix(guestMark) { return try nowhere(entry.reg, in: workshop) }
        if let number = workshop.externalNumbers[name] {
            return try workshop.standardStream(number, for: entry)
        }
        if entry.hasPipe { return nil }
        throw CheckpointError("file \(entry.id) lay outside the container (\(name)), and nothing was given for it")
    }
}

extension ExternalFile {
    private static func nowhere(_ file: RegFileEntry, in workshop: Workshop) throws -> OwnedDescriptor {
        let place = try openAt(workshop.root, "/dev/null", CLINUX_O_PATH, resolve: .inRoot)
        guard try status(of: place.raw).st_rdev == clinux_makedev(1, 3) else {
            throw CheckpointError("/dev/null, which stands for a stream of a process of exec, is another file")
        }
        let flags = CInt(bitPattern: file.flags) & (O_ACCMODE | O_NONBLOCK | O_APPEND)
        return try openAt(AT_FDCWD, "/proc/self/fd/\(place.raw)", flags)
    }

    /// What the file was called outside, `nil` for one that was never there.
    private static func name(of entry: FileEntry) -> String? {
        if entry.hasReg, entry.reg.ext { return entry.reg.name }
        return entry.hasPipe ? "pipe:[\(entry.pipe.pipeID)]" : nil
    }

    /// Which standard stream takes the place of descriptor `number`, if it was that one: two of them may have led to
    /// the same file and now lead to different ones.
    static func stream(for entry: FileEntry, number: UInt32, in workshop: Workshop) -> Int? {
        guard let name = name(of: entry), number < workshop.externalDescriptors.count,
            workshop.externalDescriptors[Int(number)] == name
        else { return nil }
        return Int(number)
    }
}

extension Dump {
    /// Whether an open file belongs to the container: to one of its mounts, or to nobody but its own processes.
    func isInside(_ file: borrowing OpenFile) -> Bool {
        if file.status.isFIFO || file.status.isPseudoterminal, guestStreams.contains(file.link) { return false }
        if file.status.isFIFO || file.status.isSocket || MemFD.isOne(file.status) {
            return !externalDescriptors.contains(file.link)
        }
        return mountIDs.contains(file.info.mount) || !file.link.hasPrefix("/")
    }
}
