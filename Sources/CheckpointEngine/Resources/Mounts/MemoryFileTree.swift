import CheckpointImages
import LinuxSystem

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
                let times = left.entry.times
                try setTimes(of: here.raw, access: times.access, modification: times.modification)
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
                    throw CheckpointError(
                        "\(path(entry.name)): was no mount point at the checkpoint, and had files in it")
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
            try reader.content { offset, bytes in try writeBytes(raw, bytes, at: off_t(offset)) }
            try entry.dress(raw)
            try setTimes(of: raw, access: entry.times.access, modification: entry.times.modification)
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

    /// Whether the runtime has made it to stay: a device, or what something is mounted on. For this program, whose mount
    /// namespace is another one, unlink(2) would not refuse a mount's place, and the mount would go with it.
    private static func stays(_ name: String, in directory: CInt) throws -> Bool {
        do throws(SystemError) {
            let place = try openAt(directory, name, CLINUX_O_PATH | O_NOFOLLOW, resolve: [.beneath, .noCrossMounts])
            return try status(of: place.raw).isDevice
        } catch {
            if error.errno == .improperLink { return true }
            throw error
        }
    }

    /// Removes what the runtime copied there (tmpcopyup) and the links in /dev; devices and mount points stay.
    static func clear(_ top: CInt) throws {
        var here = try DirectoryStream(try openAt(top, ".", O_RDONLY | O_DIRECTORY))
        // What cannot be removed, because it is a mount point or has one in it.
        var above: [(name: String, inode: ino_t, staying: Set<String>)] = []
        var staying: Set<String> = []
        while true {
            let directory = here.directory.raw
            if let name = try here.next() {
                if try staying.contains(name) || stays(name, in: directory) { continue }
                if unlinkat(directory, name, 0) == 0 { continue }
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
