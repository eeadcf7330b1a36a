import CheckpointImages
import LinuxSystem

/// The content of the container's own tmpfs mounts: files with holes, directories, symbolic and hard links, FIFOs and
/// names of sockets; owners, modes, times and extended attributes. tmpfs(5).
///
/// Each is one image, `tmpfs-N.stasis`, whose layout ``MemoryFileEntry`` has, and is never in memory as a whole. It is put back after the runtime has
/// mounted an empty one: only where config.json has a tmpfs, only beneath that mount, and without following a link.
enum MemoryFileSystem {
    /// O_NOATIME, which glibc shows to C alone.
    static let noAccessTime: CInt = 0o1_000_000

    static func fileName(_ index: Int) -> String { "tmpfs-\(index).stasis" }

    /// Attributes that belong to the file; labels of security modules belong to the machine.
    static func isCarried(_ name: String) -> Bool {
        name == "security.capability" || ["user.", "trusted.", "system.posix_acl_"].contains { name.hasPrefix($0) }
    }

    // MARK: Dump

    /// - Parameter outer: where the configuration mounts files of the host, which stay where they are.
    static func capture(of process: CapturedProcess, except outer: Set<String>, into dump: Dump) throws {
        var seen = try devices(of: "self")
        var index = 0
        let all = try MountLine.all(of: "\(process.hostPid)")
        // Made by config.json; parts of it hide files elsewhere.
        seen.formUnion(all.filter { $0.point == "/dev" }.map(\.device))
        let mounts = all.filter { $0.type == "tmpfs" && !$0.isReadOnly && !outer.contains($0.point) }
        for mount in mounts.filter({ $0.root == "/" }) + mounts.filter({ $0.root != "/" }) {
            // Mounted on the host too, or met before under another name.
            guard seen.insert(mount.device).inserted else { continue }
            try about("tmpfs at \(mount.point)") {
                guard mount.root == "/" else {
                    throw CheckpointError("only \(mount.root) of it is mounted; this cannot be checkpointed yet")
                }
                let top = try openAt(dump.root.raw, mount.point, O_RDONLY | O_DIRECTORY, resolve: .inRoot)
                // Something else is mounted over it: nobody can reach it.
                guard try MountLine.device(of: top.raw) == mount.device else { return }
                let image = try ImageStream(raw: fileName(index), in: dump.directory)
                try image.append(raw: MemoryFileEntry.header(mount.point))
                var walk = MemoryFileWalk(into: image, userNamespace: dump.userNamespace)
                try walk.run(from: top.raw)
                try dump.images.add(image)
                index += 1
            }
        }
    }

    private static func devices(of process: String) throws -> Set<String> {
        Set(try MountLine.all(of: process).map(\.device))
    }

    // MARK: Restore

    /// The images, looked over.
    static func plan(_ directory: borrowing ImageDirectory) throws -> [MemoryFileImage] {
        var images: [MemoryFileImage] = []
        while try directory.contains(fileName(images.count)) {
            let name = fileName(images.count)
            images.append(try about(name) { try MemoryFileImage(name, try directory.open(name)) })
        }
        return images
    }

    /// - Parameter allowed: where config.json mounts a tmpfs.
    static func recreate(
        _ images: [MemoryFileImage], root: CInt, allowed: Set<String>, in userNamespace: UserNamespace
    ) throws {
        guard !images.isEmpty else { return }
        let outer = try devices(of: "self")
        var inner: Set<String> = []
        for point in allowed {
            guard let top = try? openAt(root, point, CLINUX_O_PATH | O_DIRECTORY, resolve: .inRoot) else { continue }
            inner.insert(try MountLine.device(of: top.raw))
        }
        for image in images {
            try about("tmpfs at \(image.point)") {
                let top = try openAt(root, image.point, O_RDONLY | O_DIRECTORY, resolve: .inRoot)
                let device = try MountLine.device(of: top.raw)
                guard inner.contains(device), !outer.contains(device) else {
                    throw CheckpointError("config.json mounts no tmpfs of the container's own there")
                }
                try MemoryFileTree.clear(top.raw)
                var tree = try MemoryFileTree(image, top: top.raw, userNamespace)
                try tree.make()
            }
        }
    }
}

/// Goes through one tmpfs, directory by directory, and writes down what is there. It holds one directory open, however deep
/// it lies and however long its path is.
struct MemoryFileWalk {
    private let image: ImageStream
    private let userNamespace: UserNamespace
    /// The directories above this one: which they are, and where they were left.
    private var above: [(name: String, inode: ino_t, position: off_t)] = []
    /// Files with several names.
    private var numbers: [ino_t: UInt32] = [:]
    private static let mostNumbers = 250_000

    init(into image: ImageStream, userNamespace: UserNamespace) {
        self.image = image
        self.userNamespace = userNamespace
    }

    mutating func run(from top: CInt) throws {
        let device = try status(of: top).st_dev
        var here = try DirectoryStream(try openAt(top, ".", O_RDONLY | O_DIRECTORY))
        try write(try Self.entry("", here.directory.raw))
        while true {
            let directory = here.directory.raw
            guard let name = try about(path("."), { try here.next() }) else {
                try image.append(raw: MemoryFileEntry.end)
                guard let last = above.popLast() else { return }
                here = try DirectoryStream(
                    try parent(of: directory, is: last.inode, O_RDONLY | MemoryFileSystem.noAccessTime), at: last.position)
                continue
            }
            let found = try status(at: directory, name, flags: AT_SYMLINK_NOFOLLOW)
            // What is mounted here is made anew by config.json.
            guard found.st_dev == device else { continue }
            guard found.isDirectory else {
                try about(path(name)) { try addFile(name, found, in: directory) }
                continue
            }
            guard above.count + 2 <= MemoryFileReader.deepest else {
                throw CheckpointError("more than \(MemoryFileReader.deepest) directories in each other")
            }
            let inner = try Self.open(name, O_DIRECTORY, in: directory)
            try about(path(name)) { try write(try Self.entry(name, inner.raw)) }
            above.append((name, try status(of: directory).st_ino, here.position))
            here = try DirectoryStream(inner)
        }
    }

    private func path(_ name: String) -> String { (above.map(\.name) + [name]).joined(separator: "/") }

    private func write(_ entry: MemoryFileEntry) throws {
        try image.append(raw: userNamespace.inside(entry).encoded)
    }

    private static func open(_ name: String, _ flags: CInt, in directory: CInt) throws -> OwnedDescriptor {
        try openAt(
            directory, name, O_RDONLY | O_NOFOLLOW | MemoryFileSystem.noAccessTime | flags, resolve: .noCrossMounts)
    }

    /// Of what can be opened.
    private static func entry(_ name: String, _ file: CInt) throws -> MemoryFileEntry {
        var entry = MemoryFileEntry(name: name, try status(of: file))
        var size = 0
        for attributeName in try attributeNames(file) where MemoryFileSystem.isCarried(attributeName) {
            let value = try attribute(file, attributeName)
            size += attributeName.utf8.count + value.count
            guard size <= MemoryFileEntry.attributeLimit else {
                throw CheckpointError("has more extended attributes than can be restored")
            }
            entry.attributes.append((attributeName, value))
        }
        return entry
    }

    private mutating func addFile(_ name: String, _ found: stat, in directory: CInt) throws {
        let known = numbers[found.st_ino]
        if found.st_nlink > 1, known == nil {
            guard numbers.count < Self.mostNumbers else {
                throw CheckpointError("more than \(Self.mostNumbers) files with several names cannot be restored")
            }
            numbers[found.st_ino] = UInt32(numbers.count + 1)
        }
        let number = found.st_nlink > 1 ? numbers[found.st_ino] ?? 0 : 0
        if known == nil, found.isRegular {
            let file = try Self.open(name, O_NONBLOCK, in: directory)
            var entry = try Self.entry(name, file.raw)
            entry.number = number
            try write(entry)
            return try addContent(of: file.raw, size: entry.size)
        }
        var entry = MemoryFileEntry(name: name, found)
        entry.number = number
        if found.isSymbolicLink {
            entry.target = try linkTarget(at: directory, name)
        } else if !found.isFIFO && !found.isSocket && !found.isRegular {
            throw CheckpointError("a device on a tmpfs cannot be checkpointed yet")
        }
        try write(entry)
    }

    private func addContent(of file: CInt, size: Int) throws {
        var position: off_t = 0
        var buffer = [UInt8](repeating: 0, count: min(size, MemoryFileEntry.pieceSize))
        while position < size {
            // ENXIO: nothing but a hole is left.
            let start = lseek(file, position, CInt(CLINUX_SEEK_DATA))
            if start < 0, Errno.current == .noSuchAddressOrDevice { break }
            position = start
            let end = try system("find hole") { lseek(file, start, CInt(CLINUX_SEEK_HOLE)) }
            while position < end {
                let count = try system("read") {
                    buffer.withUnsafeMutableBytes { pread(file, $0.baseAddress, min($0.count, end - position), position) }
                }
                guard count > 0 else { throw CheckpointError("shrank while it was read") }
                try image.append(raw: MemoryFileEntry.piece(buffer[..<count], at: UInt64(position)))
                position += count
            }
        }
        try image.append(raw: MemoryFileEntry.end)
    }
}

/// The directory above, which nobody has moved meanwhile.
func parent(of directory: CInt, is inode: ino_t, _ flags: CInt) throws -> OwnedDescriptor {
    let opened = try openAt(directory, "..", flags | O_DIRECTORY, resolve: .noCrossMounts)
    guard try status(of: opened.raw).st_ino == inode else {
        throw CheckpointError("a directory was moved while it was looked at")
    }
    return opened
}

/// Makes the files of one `tmpfs-N.stasis`, and holds one directory open, however deep it lies. Every step is a single name
/// beneath it.
struct MemoryFileTree {
    private let userNamespace: UserNamespace
    private let top: CInt
    private var reader: MemoryFileReader
    /// The directories from the top to this one: what to give them when they are left, and which one they are.
    private var levels: [(entry: MemoryFileEntry, inode: ino_t)] = []
    /// A directory at the top that has one name of each file with several, while files are made.
    private let links: String
    private var linked: UInt32 = 0

    init(_ image: MemoryFileImage, top: CInt, _ userNamespace: UserNamespace) throws {
        self.userNamespace = userNamespace
        self.top = top
        reader = try image.reader()
        // No image can have the name of it.
        links = ".stasis-\(UInt64.random(in: 0 ... .max))"
    }

    mutating func make() throws {
        var here = try openAt(top, ".", O_RDONLY | O_DIRECTORY)
        while let item = try reader.next() {
            switch item {
            case .end:
                guard let left = levels.popLast() else { return }
                if levels.isEmpty { try removeLinks() }
                // Now: making a file in it changes a directory's times.
                try left.entry.setTimes(of: here.raw)
                if let inode = levels.last?.inode { here = try parent(of: here.raw, is: inode, O_RDONLY) }
            case .entry(let entry):
                let entry = try userNamespace.outside(entry)
                guard entry.isDirectory else {
                    try about(path(entry.name)) { try makeFile(entry, in: here.raw) }
                    continue
                }
                if let made = try about(path(entry.name), { try makeDirectory(entry, in: here.raw) }) {
                    levels.append((entry, try status(of: made.raw).st_ino))
                    here = made
                } else if case .entry? = try reader.next() {
                    throw CheckpointError("\(path(entry.name)): was no mount point at the checkpoint, and had files in it")
                }
            }
        }
    }

    private func path(_ name: String) -> String {
        (levels.dropFirst().map(\.entry.name) + [name]).joined(separator: "/")
    }

    /// - Returns: `nil` for a mount point.
    private func makeDirectory(_ entry: MemoryFileEntry, in directory: CInt) throws -> OwnedDescriptor? {
        if levels.isEmpty {
            try entry.dress(top)
            return try openAt(top, ".", O_RDONLY | O_DIRECTORY)
        }
        let name = entry.name
        if mkdirat(directory, name, 0o700) != 0, Errno.current != .fileExists { throw SystemError(.current, "mkdir") }
        let made: OwnedDescriptor
        do throws(SystemError) {
            made = try openAt(
                directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve: [.beneath, .noSymlinks, .noCrossMounts])
        } catch {
            if error.errno == .improperLink { return nil }
            throw error
        }
        try entry.dress(made.raw)
        return made
    }

    private mutating func makeFile(_ entry: MemoryFileEntry, in directory: CInt) throws {
        let name = entry.name
        if reader.isFurtherName {
            try system("link") { linkat(top, "\(links)/\(entry.number)", directory, name, 0) }
            return
        }
        switch entry.mode & UInt32(S_IFMT) {
        case UInt32(S_IFREG):
            let made = try openAt(
                directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600, resolve: .beneath)
            let raw = made.raw
            try system("set size") { ftruncate(raw, entry.size) }
            try reader.content { offset, bytes in try Self.write(bytes, at: offset, to: raw) }
            try entry.dress(raw)
            try entry.setTimes(of: raw)
        case UInt32(S_IFLNK):
            try system("symlink") { symlinkat(entry.target, directory, name) }
            try entry.dress(name, in: directory)
        default:
            let kind = entry.mode & UInt32(S_IFMT)
            try system("mknod") { mknodat(directory, name, kind | 0o600, 0) }
            try entry.dress(name, in: directory)
        }
        if entry.number > 0 { try keep(entry, in: directory) }
    }

    /// For the names that come later.
    private mutating func keep(_ entry: MemoryFileEntry, in directory: CInt) throws {
        if linked == 0 { try system("mkdir") { mkdirat(top, links, 0o700) } }
        linked = entry.number
        try system("link") { linkat(directory, entry.name, top, "\(links)/\(entry.number)", 0) }
    }

    private func removeLinks() throws {
        guard linked > 0 else { return }
        for number in 1...linked { try system("unlink") { unlinkat(top, "\(links)/\(number)", 0) } }
        try system("rmdir") { unlinkat(top, links, AT_REMOVEDIR) }
    }

    private static func write(_ bytes: ArraySlice<UInt8>, at offset: UInt64, to file: CInt) throws {
        var done = 0
        while done < bytes.count {
            done += try system("write") {
                bytes.withUnsafeBytes {
                    pwrite(file, $0.baseAddress?.advanced(by: done), $0.count - done, off_t(offset) + off_t(done))
                }
            }
        }
    }

    /// Removes what the runtime copied there (tmpcopyup); mount points stay.
    static func clear(_ top: CInt) throws {
        var here = try DirectoryStream(try openAt(top, ".", O_RDONLY | O_DIRECTORY))
        // What cannot be removed, because it is a mount point or has one in it.
        var above: [(name: String, inode: ino_t, staying: Set<String>)] = []
        var staying: Set<String> = []
        while true {
            let directory = here.directory.raw
            if let name = try here.next() {
                if staying.contains(name) || unlinkat(directory, name, 0) == 0 { continue }
                guard
                    let inner = try? openAt(
                        directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve: [.beneath, .noCrossMounts])
                else { continue }
                above.append((name, try status(of: directory).st_ino, staying))
                staying = []
                here = try DirectoryStream(inner)
            } else {
                guard let last = above.popLast() else { return }
                let up = try parent(of: directory, is: last.inode, O_RDONLY)
                staying = last.staying
                if unlinkat(up.raw, last.name, AT_REMOVEDIR) != 0 { staying.insert(last.name) }
                // From the start: places in a directory may move when something is removed from it.
                here = try DirectoryStream(up)
            }
        }
    }
}
