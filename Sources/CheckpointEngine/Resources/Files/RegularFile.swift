import CheckpointImages
import LinuxSystem

/// Files that have a path: regular files, directories, and the memory devices (null, zero, full, random, urandom).
///
/// They are opened again by path, beneath the container's root and with what its mounts allow; never a device that every
/// container does not have anyway, since the engine itself is not under the container's device rules.
enum RegularFile: FileKind {
    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.link.hasPrefix("/") else { return nil }
        guard dump.isInside(file) else {
            if let what = MemoryMapping.nameless(file.link) {
                throw CheckpointError("\(what) cannot be checkpointed yet")
            }
            throw CheckpointError(
                "\(file.link): this file lies outside the container, and it is none of its standard streams")
        }
        return try entry(
            path: file.link, link: file.place, status: file.status,
            flags: file.info.flags, position: file.info.position,
            mount: file.info.mount, id: id, in: dump)
    }

    /// The entry for a path of the container's, which must lead to the file with this status, or have led to it.
    ///
    /// - Parameter link: what opens the file, in /proc.
    static func entry(
        path: String, link: String, status: stat, flags: UInt32, position: UInt64, mount: Int, id: UInt32,
        isMapped: Bool = false,
        in dump: Dump
    ) throws -> FileEntry {
        // A name may end like that by itself.
        let former = path.hasSuffix(deleted) ? String(path.dropLast(deleted.utf8.count)) : nil
        let root = dump.root(of: mount)
        guard status.st_nlink > 0 else {
            let name = former ?? path
            guard dump[InnerMounts.self].inner.isEmpty else {
                throw CheckpointError(
                    "\(name), which was unlinked, of a container with processes in mount namespaces of their own, "
                        + "cannot be checkpointed yet")
            }
            try about("\(name), which was unlinked") {
                try UnlinkedFile.capture(link, status, id: id, into: dump)
            }
            return entry(name, status, flags: flags, position: position, mount: mount, id: id)
        }
        let isPlace = flags & UInt32(CLINUX_O_PATH) != 0
        guard canBeOpened(status) || status.isFIFO || isPlace else {
            throw CheckpointError(
                "\(path): this kind of file (mode \(String(status.st_mode, radix: 8))) cannot be checkpointed yet")
        }
        let found = Result { () throws(SystemError) in
            // The kernel's own names of open files have no links in them; the last may be one that is open itself (O_PATH).
            let place = try openAt(root, path, CLINUX_O_PATH | O_NOFOLLOW, resolve: .inRoot)
            return try LinuxSystem.status(of: place.raw)
        }
        let there = try? found.get()
        guard there?.st_dev == status.st_dev, there?.st_ino == status.st_ino else {
            if let former, let other = try otherName(of: former, status, in: root) {
                return entry(other, status, flags: flags, position: position, mount: mount, id: id)
            }
            if former != nil {
                throw CheckpointError(
                    "\(path): an open file whose name was unlinked, and which has another one in a directory elsewhere, "
                        + "cannot be checkpointed yet")
            }
            guard case .failure(let error) = found else {
                throw CheckpointError("\(path): the path leads to another file by now (replaced or mounted over)")
            }
            throw CheckpointError(
                path.contains("\u{FFFD}")
                    ? "\(path): its name is not UTF-8; such a file cannot be checkpointed yet"
                    : "\(path): the path does not lead to the open file any more: \(error.errno)")
        }
        let buildID = isMapped ? try BuildID.words(of: path, in: root) : []
        return entry(path, status, flags: flags, position: position, mount: mount, id: id, buildID: buildID)
    }

    /// What the kernel adds to the path of a file that was unlinked.
    private static let deleted = " (deleted)"

    /// A file whose first name was unlinked may have another one beside it: sem_open(3) makes its semaphores so.
    private static func otherName(of path: String, _ file: stat, in root: CInt) throws -> String? {
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "/"
        guard let opened = try? openAt(root, folder, O_RDONLY | O_DIRECTORY, resolve: .inRoot) else {
            return nil
        }
        var stream = try DirectoryStream(opened)
        while let name = try stream.next() {
            let found = try? LinuxSystem.status(at: stream.directory.raw, name, flags: AT_SYMLINK_NOFOLLOW)
            if found?.st_ino == file.st_ino, found?.st_dev == file.st_dev { return folder + name }
        }
        return nil
    }

    private static func entry(
        _ path: String, _ status: stat, flags: UInt32, position: UInt64, mount: Int, id: UInt32, buildID: [UInt32] = []
    ) -> FileEntry {
        FileEntry.with {
            $0.type = .reg
            $0.id = id
            $0.reg = .with {
                $0.id = id
                $0.flags = flags
                $0.pos = position
                $0.fown = .none
                $0.name = path
                $0.mntID = Int32(truncatingIfNeeded: mount)
                if status.isRegular { $0.size = UInt64(status.st_size) }
                $0.mode = status.st_mode
                $0.buildID = buildID
            }
        }
    }

    /// Of a unix socket, whose file is made anew when the socket is.
    private static func isSocket(_ file: RegFileEntry) -> Bool {
        file.hasMode && file.mode & UInt32(S_IFMT) == UInt32(S_IFSOCK)
    }

    private static func canBeOpened(_ status: stat) -> Bool {
        status.isRegular || status.isDirectory || isMemoryDevice(status)
    }

    private static func isMemoryDevice(_ status: stat) -> Bool {
        status.isCharacterDevice && clinux_major(status.st_rdev) == 1
            && [3, 5, 7, 8, 9].contains(clinux_minor(status.st_rdev))
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasReg, !entry.reg.ext else { return nil }
        let file = entry.reg
        if isSocket(file) { try NamedUnixSocket.recreate(at: file.name, in: workshop) }
        let made = try open(file, flags: CInt(bitPattern: file.flags), in: workshop)
        try seek(made.raw, file)
        return made
    }

    private static func seek(_ made: CInt, _ file: RegFileEntry) throws {
        if CInt(bitPattern: file.flags) & CLINUX_O_PATH == 0, file.pos > 0 {
            let position = off_t(truncatingIfNeeded: file.pos)
            try system("seek to \(file.pos) in \(file.name)") { lseek(made, position, SEEK_SET) }
        }
    }

    /// Lets a task open those of its files at once that it may open by itself. The others, with whatever is wrong with them,
    /// are left to ``recreate(_:in:)`` and ``open(_:flags:in:)``.
    static func openAhead(_ ids: [UInt32], passing: [PassingFile], in workshop: Workshop) throws {
        guard let opener = workshop.opener else { return }
        var files: [(file: RegFileEntry, flags: CInt, passing: PassingFile?, device: dev_t, inode: ino_t)] = []
        func add(_ id: UInt32, passing: PassingFile?) throws {
            guard !UnlinkedFile.has(id, in: workshop), !MessageQueue.has(id, in: workshop),
                !IORing.has(id, in: workshop), let entry = workshop.entry(id), entry.hasReg, !entry.reg.ext,
                !isSocket(entry.reg), !workshop.isElsewhere(entry.reg, for: opener),
                let place = try? place(of: entry.reg, in: workshop), isOrdinary(place.raw)
            else { return }
            let status = try LinuxSystem.status(of: place.raw)
            let flags = flagsToOpen(passing?.flags ?? CInt(bitPattern: entry.reg.flags), of: entry.reg)
            files.append((entry.reg, flags, passing, status.st_dev, status.st_ino))
        }
        for id in Set(ids) where !workshop.has(id) { try add(id, passing: nil) }
        for file in Set(passing) where !workshop.has(file) { try add(file.id, passing: file) }
        for portion in ProgramRunner.portions(files) {
            try opener.open(portion.map { ($0.file.name, $0.flags) }, as: opener.own) { index, opened in
                let (file, _, passing, device, inode) = portion[index]
                let status = try LinuxSystem.status(of: opened.raw)
                guard status.st_dev == device, status.st_ino == inode else { throw replaced(file) }
                if let passing {
                    workshop.adopt(opened, as: passing)
                } else {
                    try seek(opened.raw, file)
                    workshop.adopt(opened, as: file.id)
                }
            }
        }
    }

    private static func replaced(_ file: RegFileEntry) -> CheckpointError {
        CheckpointError("\(file.name): was replaced while it was opened")
    }

    /// Lets the task open the file that an entry names, after a look at what it is.
    static func open(_ file: RegFileEntry, flags: CInt, in workshop: Workshop) throws -> OwnedDescriptor {
        let wanted = flagsToOpen(flags, of: file)
        if let unlinked = try UnlinkedFile.open(file, flags: wanted, in: workshop) { return unlinked }
        let place = try place(of: file, in: workshop)
        guard let opener = workshop.opener else { throw CheckpointError("\(file.name): is no task's") }
        let root = workshop.isElsewhere(file, for: opener) ? workshop.root(of: file) : nil
        let opened: OwnedDescriptor
        do {
            opened =
                isOrdinary(place.raw)
                ? try opener.runAsEither { try opener.open(file.name, beneath: root, flags: wanted, as: $0) }
                : try opener.open(file.name, beneath: root, flags: wanted, as: opener.own)
        } catch let error as SystemError {
            throw CheckpointError("\(error): the task may not open it with the rights that it has")
        }
        let status = try LinuxSystem.status(of: place.raw)
        let again = try LinuxSystem.status(of: opened.raw)
        guard again.st_dev == status.st_dev, again.st_ino == status.st_ino else { throw replaced(file) }
        return opened
    }

    /// Those of an open file, without what counts only when it is made. O_TMPFILE brings O_DIRECTORY along. A device's
    /// signals are not switched on by open(2), though it keeps the flag.
    static func flagsToOpen(_ flags: CInt, of file: RegFileEntry) -> CInt {
        let nameless: CInt = 0o20_000_000
        var wanted = flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC)
        if file.mode & UInt32(S_IFMT) == UInt32(S_IFCHR) { wanted &= ~SignalOwner.asynchronous }
        if wanted & nameless != 0 { wanted &= ~(nameless | O_DIRECTORY) }
        if wanted & CLINUX_O_PATH != 0 { wanted &= CLINUX_O_PATH | O_DIRECTORY | O_NOFOLLOW }
        return wanted
    }

    /// The file that an entry names, as a place only, if it is as it was.
    static func place(of file: RegFileEntry, in workshop: Workshop) throws -> OwnedDescriptor {
        guard file.name.hasPrefix("/"), !file.name.utf8.contains(0) else {
            throw CheckpointError("file \(file.id): `\(file.name)` is not an absolute path")
        }
        // The kernel's own names of open files have no links in them.
        let place = try about("not in this bundle's rootfs as it was at the checkpoint") {
            try openAt(workshop.root(of: file), file.name, CLINUX_O_PATH | O_NOFOLLOW, resolve: [.inRoot, .noSymlinks])
        }
        let status = try LinuxSystem.status(of: place.raw)
        let isPlace = CInt(bitPattern: file.flags) & CLINUX_O_PATH != 0
        guard canBeOpened(status) || isPlace || file.hasMode && status.isFIFO else {
            throw CheckpointError("\(file.name): is not a file that a checkpoint may open")
        }
        if file.hasMode, file.mode & UInt32(S_IFMT) != status.st_mode & UInt32(S_IFMT) {
            throw CheckpointError("\(file.name): is not the kind of file that it was at the checkpoint")
        }
        if file.hasSize, status.isRegular, UInt64(status.st_size) != file.size {
            throw CheckpointError(
                "\(file.name): has \(status.st_size) bytes, but \(file.size) at the checkpoint: "
                    + "the rootfs is not the one that was checkpointed")
        }
        if !file.buildID.isEmpty {
            guard try BuildID.words(of: file.name, in: workshop.root(of: file)) == file.buildID else {
                throw CheckpointError(
                    "\(file.name): is another build of the program than at the checkpoint: "
                        + "the rootfs is not the one that was checkpointed")
            }
        }
        return place
    }

    /// Whether a file is on a file system that holds files and nothing else, where who opened one does not matter
    /// later. Of procfs, sysfs and their kind, and of those not known here, the task gets what it may open itself.
    private static func isOrdinary(_ place: CInt) -> Bool {
        let magic = (try? filesystemMagic(of: place)) ?? 0
        return [
            // ext, XFS, btrfs, F2FS, bcachefs, ZFS
            0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0xca45_1a4e, 0x2fc1_2fc1,
            // tmpfs, ramfs, overlay
            0x0102_1994, 0x8584_58f6, 0x794c_7630,
            // FUSE, NFS, CIFS, SMB 2, 9P, Ceph
            0x6573_5546, 0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x00c3_6400,
            // FAT, exFAT, NTFS, ISO 9660, squashfs, EROFS
            0x4d44, 0x2011_bab0, 0x5346_544e, 0x7366_746e, 0x9660, 0x7371_7368, 0xe0f5_e1e2,
        ].contains(magic)
    }
}

extension RegFileEntry {
    /// The entry of an open file under the name that /proc tells, without what a file with a path has besides.
    init(_ file: borrowing OpenFile, id: UInt32) {
        self.init()
        self.id = id
        flags = file.info.flags
        pos = file.info.position
        fown = .none
        name = file.link
        mode = file.status.st_mode
    }
}
