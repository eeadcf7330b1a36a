import CheckpointImages
import LinuxSystem
import Tracee

/// Files, directories and FIFOs that are open, mapped or gone to, and have no name any more. unlink(2).
///
/// As CRIU has it: `remap-fpath.img` names the ghost behind an entry of `files.img`, and `ghost-file-N.img` has its owner,
/// mode, times and content, holes left out. The restore makes it where its name was, by the rights of the task, and unlinks
/// it again: under another name where that one is taken, and without any in a directory that the host has, too.
enum UnlinkedFile: Kind {
    private static let piece = 1 << 20
    /// How many pieces of one file's data are kept in mind.
    private static let mostPieces = 1 << 20
    /// O_TMPFILE, but for O_DIRECTORY.
    private static let nameless: CInt = 0o20_000_000

    // MARK: Checkpoint

    final class DumpState: KindState {
        fileprivate var numbers: [Inode: UInt32] = [:]
        fileprivate var links: [RemapFilePathEntry] = []
    }

    fileprivate struct Inode: Hashable {
        var device: dev_t
        var number: ino_t
    }

    /// Keeps the file behind an entry.
    ///
    /// - Parameters:
    ///   - link: what opens it, in /proc.
    ///   - id: of the entry.
    static func capture(_ link: String, _ status: stat, id: UInt32, into dump: Dump) throws {
        let state = dump[Self.self]
        let inode = Inode(device: status.st_dev, number: status.st_ino)
        let number = state.numbers[inode] ?? UInt32(state.numbers.count + 1)
        state.links.append(
            .with {
                $0.origID = id
                $0.remapID = number
                $0.remapType = .ghost
            })
        guard state.numbers.updateValue(number, forKey: inode) == nil else { return }
        guard status.isRegular || status.isDirectory || status.isFIFO else {
            throw CheckpointError("of this kind (mode \(String(status.st_mode, radix: 8))) cannot be checkpointed yet")
        }
        dump.account.keep(Self.self)
        try captureAttributes(link, status, id: id, into: dump)
        let owned = try dump.userNamespace.inside(status)
        let image = try ImageStream(.ghostFile, number, in: dump.directory)
        try image.append(
            GhostFileEntry.with {
                $0.uid = owned.st_uid
                $0.gid = owned.st_gid
                $0.mode = status.st_mode
                $0.dev = UInt32(truncatingIfNeeded: status.st_dev)
                $0.ino = UInt64(status.st_ino)
                $0.atim = time(status.st_atim)
                $0.mtim = time(status.st_mtim)
                if status.isRegular {
                    $0.chunks = true
                    $0.size = UInt64(status.st_size)
                }
            })
        if status.isRegular {
            let file = try openAt(AT_FDCWD, link, O_RDONLY | MemoryFileSystem.noAccessTime)
            try append(file.raw, size: status.st_size, to: image)
        }
        try dump.images.add(image)
    }

    /// Those that anybody may set who may write: what rights others give would be rights of the image's.
    private static func captureAttributes(_ link: String, _ status: stat, id: UInt32, into dump: Dump) throws {
        let names = try attributeNames(of: link).filter(MemoryFileSystem.isCarried)
        guard !names.isEmpty else { return }
        if let name = names.first(where: { !$0.hasPrefix("user.") }) {
            throw CheckpointError("has the extended attribute \(name), which cannot be checkpointed yet")
        }
        let flags = status.isDirectory ? O_RDONLY | O_DIRECTORY : O_RDONLY
        let file = try openAt(AT_FDCWD, link, flags | MemoryFileSystem.noAccessTime)
        var numbers: [UInt32] = []
        for name in names {
            for bytes in [Array(name.utf8), try attribute(file.raw, name)] {
                numbers.append(UInt32(bytes.count))
                numbers += bytes.map { UInt32($0) }
            }
            guard numbers.count <= MemoryFileEntry.attributeLimit else {
                throw CheckpointError("has more extended attributes than can be restored")
            }
        }
        FileNote.add(.attributes, id, numbers, to: dump)
    }

    /// What ``captureAttributes(_:_:id:into:)`` has noted; nil if it was something else.
    static func attributes(_ numbers: [UInt32]) -> [(name: String, value: [UInt8])]? {
        guard numbers.count <= MemoryFileEntry.attributeLimit else { return nil }
        var rest = numbers[...]
        func take() -> [UInt8]? {
            guard let count = rest.popFirst(), count <= 64 << 10, Int(count) <= rest.count else { return nil }
            let bytes = rest.prefix(Int(count))
            rest = rest.dropFirst(Int(count))
            return bytes.allSatisfy { $0 < 256 } ? bytes.map { UInt8($0) } : nil
        }
        var attributes: [(name: String, value: [UInt8])] = []
        while !rest.isEmpty {
            guard let bytes = take(), bytes.count < 256, !bytes.contains(0), let value = take() else { return nil }
            let name = String(decoding: bytes, as: UTF8.self)
            guard name.hasPrefix("user.") else { return nil }
            attributes.append((name, value))
        }
        return attributes
    }

    private static func append(_ file: CInt, size: off_t, to image: ImageStream) throws {
        var count = 0
        for data in try dataRanges(of: file, size: size) {
            for start in stride(from: data.lowerBound, to: data.upperBound, by: piece) {
                let bytes = try readBytes(file, at: start, count: min(piece, Int(data.upperBound - start)))
                let chunk = GhostChunkEntry.with {
                    $0.off = UInt64(start)
                    $0.len = UInt64(bytes.count)
                }
                try image.append(chunk, payload: bytes)
                count += 1
                guard count <= mostPieces else { throw CheckpointError("has data in more places than can be restored") }
            }
        }
    }

    static func seal(_ dump: Dump) throws {
        let links = dump[Self.self].links
        if !links.isEmpty { try dump.images.add(.remapFilePath, entries: links) }
    }

    private static func time(_ time: timespec) -> Timeval {
        .with {
            $0.tvSec = UInt64(bitPattern: Int64(time.tv_sec))
            $0.tvUsec = UInt64(time.tv_nsec / 1000)
        }
    }

    // MARK: Restore

    final class RestoreState: KindState {
        /// By the entries of `files.img`.
        fileprivate var ghosts: [UInt32: Ghost] = [:]
    }

    fileprivate final class Ghost {
        let entry: GhostFileEntry
        /// Its content: from where in the image, to where in the file.
        let chunks: [(place: PayloadPlace, offset: UInt64)]
        /// The entries that stand for it, and what is made of them.
        var ids: [UInt32] = []
        var opened: [UInt32: CInt] = [:]
        var attributes: [(name: String, value: [UInt8])] = []
        var place: CInt?
        private var image: RawImage?
        private let name: String

        init(_ number: UInt32, in images: borrowing ImageDirectory) throws {
            name = ImageKind.ghostFile.fileName(number)
            var reader = try images.reader(.ghostFile, number)
            let entry: GhostFileEntry = try reader.next()
            var chunks: [(place: PayloadPlace, offset: UInt64)] = []
            var size = entry.size
            if entry.chunks {
                while !reader.isAtEnd {
                    let chunk: GhostChunkEntry = try reader.next()
                    chunks.append((try reader.payload(chunk.len), chunk.off))
                    guard chunks.count <= UnlinkedFile.mostPieces else {
                        throw CheckpointError("\(name): has data in more places than can be restored")
                    }
                }
            } else {
                size = reader.remaining
                chunks = [(try reader.payload(reader.remaining), 0)]
            }
            let limit = UInt64(1) << 46
            let kinds = [S_IFREG, S_IFDIR, S_IFIFO].map { UInt32($0) }
            guard kinds.contains(entry.mode & UInt32(S_IFMT)), size < limit,
                chunks.allSatisfy({ $0.offset <= size && $0.place.count <= size - $0.offset })
            else { throw CheckpointError("\(name): no file or directory that can be restored") }
            self.entry = entry
            self.chunks = chunks
            image = reader.finish()
        }

        deinit {
            for descriptor in opened.values { close(descriptor) }
            if let place { close(place) }
        }

        var isRegular: Bool { entry.mode & UInt32(S_IFMT) == UInt32(S_IFREG) }
        var isDirectory: Bool { entry.mode & UInt32(S_IFMT) == UInt32(S_IFDIR) }
        var isFIFO: Bool { entry.mode & UInt32(S_IFMT) == UInt32(S_IFIFO) }

        func fill(_ file: CInt) throws {
            try system("size of an unlinked file") { ftruncate(file, off_t(entry.size)) }
            for (place, offset) in chunks {
                var done: UInt64 = 0
                while done < place.count {
                    let count = min(place.count - done, UInt64(UnlinkedFile.piece))
                    let bytes = try image?.bytes(PayloadPlace(offset: place.offset + done, count: count), name) ?? []
                    try writeBytes(file, bytes[...], at: off_t(offset + done))
                    done += count
                }
            }
            image = nil
        }

        /// Whether the task could have made it so by itself.
        func isPlain(for identity: Identity) -> Bool {
            entry.uid == identity.users[3] && entry.gid == identity.groups[3] && entry.mode & 0o7000 == 0
        }
    }

    static func plan(_ restore: RestorePlan) throws {
        let images = restore.images
        var ghosts: [UInt32: Ghost] = [:]
        for link in try images.directory.entries(ifAny: .remapFilePath, as: RemapFilePathEntry.self) {
            guard link.remapType == .ghost else {
                throw CheckpointError("remap-fpath.img: file \(link.origID): \(link.remapType) cannot be restored yet")
            }
            guard let file = images.files[link.origID], file.hasReg, restore[Self.self].ghosts[link.origID] == nil
            else {
                throw CheckpointError("remap-fpath.img: file \(link.origID) is none that can be unlinked")
            }
            guard file.reg.name.isAbsolutePath else {
                throw CheckpointError("remap-fpath.img: file \(link.origID) is not called by an absolute path")
            }
            let ghost = try ghosts[link.remapID] ?? Ghost(link.remapID, in: images.directory)
            ghost.ids.append(link.origID)
            if let noted = FileNote.numbers(.attributes, in: restore)[link.origID] {
                guard !ghost.isFIFO, let attributes = attributes(noted) else {
                    throw CheckpointError("\(FileNote.fileName): file \(link.origID): no attributes that may be set")
                }
                ghost.attributes = attributes
            }
            ghosts[link.remapID] = ghost
            restore[Self.self].ghosts[link.origID] = ghost
        }
    }

    static func has(_ id: UInt32, in workshop: Workshop) -> Bool { workshop[Self.self].ghosts[id] != nil }

    /// - Returns: nil for a file that has a name.
    static func open(_ file: RegFileEntry, flags: CInt, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard let ghost = workshop[Self.self].ghosts[file.id] else { return nil }
        if ghost.place == nil { try make(ghost, file.name, in: workshop) }
        guard let place = ghost.place else { return nil }
        if flags == flagsToOpen(file), let opened = ghost.opened.removeValue(forKey: file.id) {
            return OwnedDescriptor(opened)
        }
        // Nobody waits for the other end of a FIFO.
        let patient: CInt = ghost.isFIFO && flags & CLINUX_O_PATH == 0 ? O_NONBLOCK : 0
        return try reopen(place, as: file.name, patient | (flags & ~(O_NOFOLLOW | nameless)))
    }

    /// Those that the kernel tells of an open file again.
    private static func flagsToOpen(_ file: RegFileEntry) -> CInt {
        RegularFile.flagsToOpen(CInt(bitPattern: file.flags), of: file)
    }

    private static func make(_ ghost: Ghost, _ path: String, in workshop: Workshop) throws {
        guard let opener = workshop.opener, let slash = path.lastIndex(of: "/") else {
            throw CheckpointError("\(path): is no task's")
        }
        let name = String(path[path.index(after: slash)...])
        guard !name.isEmpty, name != ".", name != ".." else { throw CheckpointError("`\(path)` names no file") }
        let files = ghost.ids.compactMap { workshop.entry($0)?.reg }
        let made = try about("\(path), which was unlinked") {
            try opener.runAsEither { identity in
                try make(ghost, name, beneath: String(path[..<slash]), files, by: opener, as: identity, in: workshop)
            }
        }
        let entry = ghost.entry
        let owner = (
            try workshop.userNamespace.outside(user: entry.uid), try workshop.userNamespace.outside(group: entry.gid)
        )
        let raw = made.raw
        if ghost.isRegular { try ghost.fill(raw) }
        try system("owner of \(path)") { fchown(raw, owner.0, owner.1) }
        try system("mode of \(path)") { fchmod(raw, mode_t(entry.mode & 0o7777)) }
        for (name, value) in ghost.attributes { try setAttribute(raw, name, value) }
        try setTimes(of: raw, access: time(entry.atim), modification: time(entry.mtim))
        ghost.place = try reopen(raw, as: path, CLINUX_O_PATH).release()
    }

    private static func time(_ time: Timeval) -> timespec {
        let nanoseconds = Int(time.tvUsec % 1_000_000) * 1000
        return timespec(tv_sec: Int(truncatingIfNeeded: time.tvSec), tv_nsec: nanoseconds)
    }

    private static func argument(_ flags: CInt) -> UInt64 { UInt64(UInt32(bitPattern: flags)) }

    /// In the task, whose descriptors are: 0 the directory, then what it opens.
    private static func make(
        _ ghost: Ghost, _ name: String, beneath folder: String, _ files: [RegFileEntry], by opener: Opener,
        as identity: Identity, in workshop: Workshop
    ) throws -> OwnedDescriptor {
        let here = try openFolder(folder, by: opener, as: identity)
        var isOwn = try workshop.isOwn(here.raw, opener.policy)
        // A FIFO has nothing of the file system that it is on.
        if !isOwn, ghost.isFIFO {
            let top = try openFolder("", by: opener, as: identity)
            isOwn = try workshop.isOwn(top.raw, opener.policy)
        }
        let first = files.first { CInt(bitPattern: $0.flags) & nameless != 0 }
        // By no name at all where others may be looking, and where the program had made it so.
        if ghost.isRegular, !isOwn || first != nil {
            // What the task could not have made so must not get a name of the host's, either: O_EXCL forbids linkat(2).
            let exclusive = isOwn || ghost.isPlain(for: identity) ? 0 : O_EXCL
            let flags = first.map(flagsToOpen) ?? O_RDWR
            let how = argument(flags | nameless | O_DIRECTORY | exclusive)
            try opener.run(as: identity, keeping: 1) { program in
                let dot = program.place(path: ".")
                program.call("make a file without a name", Int(SYS_openat), [0, dot.raw, how, 0o600], expecting: 1)
            }
            let made = try opener.take(1)
            if let first { ghost.opened[first.id] = try made.duplicate().release() }
            return try reopen(made.raw, as: name, O_RDWR)
        }
        guard isOwn else { throw CheckpointError("a directory or FIFO in a mount of the host's that was removed") }
        let used = try makeNamed(ghost, name, by: opener, as: identity)
        // Whatever becomes of the rest, it loses its name again.
        let made = Result { try openAll(files, of: ghost, named: used, by: opener, as: identity) }
        let how: UInt64 = ghost.isDirectory ? UInt64(AT_REMOVEDIR) : 0
        try opener.run(as: identity, keeping: 1) { program in
            let place = program.place(path: used)
            program.call("unlink it", Int(SYS_unlinkat), [0, place.raw, how])
        }
        return OwnedDescriptor(try made.get())
    }

    /// Opens a file that has a name for the moment, as each of its entries says.
    ///
    /// - Returns: another one, to fill it by.
    private static func openAll(
        _ files: [RegFileEntry], of ghost: Ghost, named name: String, by opener: Opener, as identity: Identity
    ) throws -> CInt {
        func open(_ flags: [CInt]) throws {
            try opener.run(as: identity, keeping: 1) { program in
                let place = program.place(path: name)
                for (index, flags) in flags.enumerated() {
                    program.call("open it", Int(SYS_openat), [0, place.raw, argument(flags)], expecting: 1 + index)
                }
            }
        }
        if ghost.isFIFO {
            try open([O_RDWR | O_NONBLOCK])
            return try opener.take(1).release()
        }
        for portion in ProgramRunner.portions(files) {
            try open(portion.map(flagsToOpen))
            for (index, file) in portion.enumerated() {
                ghost.opened[file.id] = try opener.take(CInt(1 + index)).release()
            }
        }
        try open([ghost.isDirectory ? O_DIRECTORY : O_RDWR])
        return try opener.take(1).release()
    }

    /// The directory that the file was in, or the nearest one that is still there: the task's descriptor 0.
    private static func openFolder(
        _ folder: String, by opener: Opener, as identity: Identity
    ) throws -> OwnedDescriptor {
        var path = folder
        while true {
            do {
                return try opener.open(path.isEmpty ? "/" : path, flags: CLINUX_O_PATH | O_DIRECTORY, as: identity)
            } catch let error as SystemError
                where !path.isEmpty && [.noSuchFileOrDirectory, .notDirectory].contains(error.errno)
            { path = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) }
        }
    }

    /// - Returns: the name that it has for a moment: its own, if nobody has that now.
    private static func makeNamed(
        _ ghost: Ghost, _ name: String, by opener: Opener, as identity: Identity
    ) throws -> String {
        var used = String(decoding: name.utf8.prefix(240), as: UTF8.self)
        let how = argument(O_RDWR | O_CREAT | O_EXCL)
        for attempt in 0... {
            do {
                try opener.run(as: identity, keeping: 1) { program in
                    let place = program.place(path: used)
                    if ghost.isDirectory {
                        program.call("mkdir", Int(SYS_mkdirat), [0, place.raw, 0o700])
                    } else if ghost.isFIFO {
                        program.call("mknod", Int(SYS_mknodat), [0, place.raw, UInt64(S_IFIFO) | 0o600, 0])
                    } else {
                        program.call("make it", Int(SYS_openat), [0, place.raw, how, 0o600])
                    }
                }
                return used
            } catch let error as SystemError where error.errno == .fileExists && attempt < 100 {
                used = "\(name.prefix(60)).\(attempt)"
            }
        }
        return used
    }
}
