import CheckpointImages
import LinuxSystem

/// The content of the container's own tmpfs mounts: files with holes, directories, symbolic and hard links, FIFOs and
/// names of sockets; owners, modes, times and extended attributes. tmpfs(5).
///
/// Each is one image, `tmpfs-N.stasis`, whose layout ``MemoryFileEntry`` has. It is put back after the runtime has
/// mounted an empty one: only where config.json has a tmpfs, only beneath that mount, and without following a link.
enum MemoryFileSystem {
    static let limit = 256 << 20
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
                var walk = Walk(device: try status(of: top.raw).st_dev)
                try walk.addAll(beneath: top.raw)
                var bytes = MemoryFileEntry.header(mount.point)
                for entry in walk.entries { try dump.userNamespace.inside(entry).append(to: &bytes) }
                guard bytes.count <= limit else {
                    throw CheckpointError("more than \(limit >> 20) MiB in it cannot be checkpointed yet")
                }
                dump.images.add(fileName(index), bytes)
                index += 1
            }
        }
    }

    private static func devices(of process: String) throws -> Set<String> {
        Set(try MountLine.all(of: process).map(\.device))
    }

    /// Goes through one file system, directories before what is in them.
    private struct Walk {
        let device: dev_t
        var entries: [MemoryFileEntry] = []
        private var links: [ino_t: UInt32] = [:]
        private var size = 0
        /// Paths of those that are still to be read.
        private var directories: [String] = []

        init(device: dev_t) { self.device = device }

        /// One directory at a time: nobody knows how deep they are nested.
        mutating func addAll(beneath top: CInt) throws {
            try add(top, path: "")
            while let parent = directories.popLast() {
                // PATH_MAX
                guard parent.utf8.count < 4096 else {
                    throw CheckpointError("directories nested to a path of \(parent.utf8.count) bytes are too deep")
                }
                let directory = try about(parent) {
                    try openAt(
                        top, parent.isEmpty ? "." : parent,
                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | MemoryFileSystem.noAccessTime,
                        resolve: [.beneath, .noSymlinks, .noCrossMounts])
                }
                for name in try directoryEntries(at: directory.raw, ".").sorted() {
                    let path = parent.isEmpty ? name : parent + "/" + name
                    try about(path) { try visit(name, in: directory.raw, path: path) }
                }
            }
        }

        private mutating func add(_ file: CInt, path: String) throws {
            var entry = MemoryFileEntry(path: path, try status(of: file))
            for name in try attributeNames(file) where MemoryFileSystem.isCarried(name) {
                entry.attributes.append((name, try attribute(file, name)))
            }
            if entry.isRegular { try readContent(file, &entry) }
            entries.append(entry)
            if entry.isDirectory { directories.append(path) }
        }

        private mutating func visit(_ name: String, in directory: CInt, path: String) throws {
            let found = try status(at: directory, name, flags: AT_SYMLINK_NOFOLLOW)
            // What is mounted here is made anew by config.json.
            guard found.st_dev == device else { return }
            if !found.isDirectory, found.st_nlink > 1 {
                if let first = links[found.st_ino] {
                    var entry = MemoryFileEntry(path: path, found)
                    entry.link = first
                    return entries.append(entry)
                }
                links[found.st_ino] = UInt32(entries.count)
            }
            if found.isRegular || found.isDirectory {
                let flags = found.isDirectory ? O_DIRECTORY : O_NONBLOCK
                let file = try openAt(
                    directory, name, O_RDONLY | O_NOFOLLOW | MemoryFileSystem.noAccessTime | flags,
                    resolve: .noCrossMounts)
                return try add(file.raw, path: path)
            }
            var entry = MemoryFileEntry(path: path, found)
            if found.isSymbolicLink {
                entry.target = try linkTarget(at: directory, name)
            } else if !found.isFIFO && !found.isSocket {
                throw CheckpointError("a device on a tmpfs cannot be checkpointed yet")
            }
            entries.append(entry)
        }

        private mutating func readContent(_ file: CInt, _ entry: inout MemoryFileEntry) throws {
            var position: off_t = 0
            while position < entry.size {
                // SEEK_DATA and SEEK_HOLE; ENXIO: nothing but a hole is left.
                let start = lseek(file, position, 3)
                if start < 0, Errno.current == .noSuchAddressOrDevice { return }
                let end = try system("find hole") { lseek(file, start, 4) }
                size += Int(end - start)
                guard start >= position, end > start, size <= MemoryFileSystem.limit else {
                    throw CheckpointError("more than \(MemoryFileSystem.limit >> 20) MiB cannot be checkpointed yet")
                }
                var bytes = [UInt8](repeating: 0, count: Int(end - start))
                var done = 0
                while done < bytes.count {
                    let count = try system("read") {
                        bytes.withUnsafeMutableBytes {
                            pread(file, $0.baseAddress?.advanced(by: done), $0.count - done, start + off_t(done))
                        }
                    }
                    guard count > 0 else { throw CheckpointError("shrank while it was read") }
                    done += count
                }
                entry.extents.append((UInt64(start), bytes[...]))
                position = end
            }
        }
    }

    // MARK: Restore

    /// The images' content.
    static func plan(_ directory: borrowing ImageDirectory) throws -> [MemoryFileTree] {
        var trees: [MemoryFileTree] = []
        while try directory.contains(fileName(trees.count)) {
            let name = fileName(trees.count)
            trees.append(try about(name) { try MemoryFileTree(try directory.bytes(name)) })
        }
        return trees
    }

    /// - Parameter allowed: where config.json mounts a tmpfs.
    static func recreate(
        _ trees: [MemoryFileTree], root: CInt, allowed: Set<String>, in userNamespace: UserNamespace
    ) throws {
        guard !trees.isEmpty else { return }
        let outer = try devices(of: "self")
        var inner: Set<String> = []
        for point in allowed {
            guard let top = try? openAt(root, point, CLINUX_O_PATH | O_DIRECTORY, resolve: .inRoot) else { continue }
            inner.insert(try MountLine.device(of: top.raw))
        }
        for tree in trees {
            try about("tmpfs at \(tree.point)") {
                let top = try openAt(root, tree.point, O_RDONLY | O_DIRECTORY, resolve: .inRoot)
                let device = try MountLine.device(of: top.raw)
                guard inner.contains(device), !outer.contains(device) else {
                    throw CheckpointError("config.json mounts no tmpfs of the container's own there")
                }
                try clear(top.raw)
                let tree = try MemoryFileTree(
                    point: tree.point, entries: tree.entries.map { try userNamespace.outside($0) })
                for entry in tree.entries { try about(entry.path) { try make(entry, of: tree, beneath: top.raw) } }
                // Last: making a file in it changes a directory's times.
                for entry in tree.entries.reversed() where entry.isDirectory {
                    guard let made = try open(entry, beneath: top.raw) else { continue }
                    try entry.setTimes(of: made.raw)
                }
            }
        }
    }

    /// What the runtime copied there (tmpcopyup); mount points stay.
    private static func clear(_ top: CInt) throws {
        var directories = ["."]
        var read = 0
        while read < directories.count {
            let path = directories[read]
            read += 1
            guard
                let directory = try? openAt(
                    top, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve: [.beneath, .noSymlinks, .noCrossMounts])
            else { continue }
            for name in try directoryEntries(at: directory.raw, ".") where unlinkat(directory.raw, name, 0) != 0 {
                directories.append(path + "/" + name)
            }
        }
        for path in directories.dropFirst().reversed() { _ = unlinkat(top, path, AT_REMOVEDIR) }
    }

    /// A directory or file that was made; `nil` for a mount point.
    private static func open(_ entry: MemoryFileEntry, beneath top: CInt) throws -> OwnedDescriptor? {
        let flags = entry.isDirectory ? O_RDONLY | O_DIRECTORY : O_RDWR
        do throws(SystemError) {
            return try openAt(
                top, entry.path.isEmpty ? "." : entry.path, flags | O_NOFOLLOW,
                resolve: [.beneath, .noSymlinks, .noCrossMounts])
        } catch {
            if error.errno == .improperLink { return nil }
            throw error
        }
    }

    /// A name in a directory.
    private struct Place: ~Copyable {
        let directory: OwnedDescriptor
        let name: String

        init(_ path: String, beneath top: CInt) throws {
            let parts = path.split(separator: "/")
            name = String(parts.last ?? "")
            directory = try openAt(
                top, parts.count < 2 ? "." : parts.dropLast().joined(separator: "/"), CLINUX_O_PATH | O_DIRECTORY,
                resolve: [.beneath, .noSymlinks, .noCrossMounts])
        }
    }

    private static func make(_ entry: MemoryFileEntry, of tree: MemoryFileTree, beneath top: CInt) throws {
        if entry.path.isEmpty { return try entry.dress(top) }
        let place = try Place(entry.path, beneath: top)
        let (there, name) = (place.directory.raw, place.name)
        if let link = entry.link {
            let first = try Place(tree.entries[Int(link)].path, beneath: top)
            let (from, old) = (first.directory.raw, first.name)
            try system("link") { linkat(from, old, there, name, 0) }
            return
        }
        switch entry.mode & UInt32(S_IFMT) {
        case UInt32(S_IFDIR):
            if mkdirat(there, name, 0o700) != 0, Errno.current != .fileExists { throw SystemError(.current, "mkdir") }
            guard let made = try open(entry, beneath: top) else { return }
            try entry.dress(made.raw)
        case UInt32(S_IFREG):
            let made = try openAt(there, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600, resolve: .beneath)
            let raw = made.raw
            let size = entry.size
            try system("set size") { ftruncate(raw, size) }
            for extent in entry.extents { try write(extent.bytes, at: extent.offset, to: raw) }
            try entry.dress(raw)
            try entry.setTimes(of: raw)
        case UInt32(S_IFLNK):
            try system("symlink") { symlinkat(entry.target, there, name) }
            try entry.dress(name, in: there)
        default:
            let kind = entry.mode & UInt32(S_IFMT)
            try system("mknod") { mknodat(there, name, kind | 0o600, 0) }
            try entry.dress(name, in: there)
        }
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
}
