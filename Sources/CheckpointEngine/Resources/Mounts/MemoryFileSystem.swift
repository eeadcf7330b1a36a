import CheckpointImages
import LinuxSystem

/// The content of the container's own tmpfs mounts: files with holes, directories, symbolic and hard links, FIFOs and
/// names of sockets; owners, modes, times and extended attributes. tmpfs(5).
///
/// Each is one image, `tmpfs-N.stasis`, whose layout ``MemoryFileEntry`` has, and is never in memory as a whole. It is put back after the runtime has
/// mounted an empty one: only where config.json has a tmpfs, only beneath that mount, and without following a link.
enum MemoryFileSystem: Kind {
    final class RestoreState: KindState {
        fileprivate var images: [MemoryFileImage] = []
    }

    /// O_NOATIME, which glibc shows to C alone.
    static let noAccessTime: CInt = 0o1_000_000

    static func fileName(_ index: Int) -> String { "tmpfs-\(index).stasis" }

    /// Attributes that belong to the file; labels of security modules belong to the machine.
    static func isCarried(_ name: String) -> Bool {
        name == "security.capability" || ["user.", "trusted.", "system.posix_acl_"].contains { name.hasPrefix($0) }
    }

    // MARK: Dump

    /// When all files have been looked at: inotify tells of the reading of these.
    static func seal(_ dump: Dump) throws {
        let request = dump.request
        let host = try devices(of: "self")
        let changes = dump.mountChanges
        let tops = dump[MadeMount.self].tops
        let lines = changes.map { changes in changes.now.filter { changes.kept[$0.id] != nil } } ?? dump.mounts
        // What was made read-only inside was none at its start, and is none when it is filled.
        func isReadOnly(_ line: MountLine) -> Bool { (changes?.kept[line.id] ?? line).isReadOnly }
        let own = lines.filter {
            kinds.contains($0.type) && !request.hostMounts.contains($0.point) && !host.contains($0.device)
        }
        var restored = try devices(at: request.memoryMounts, beneath: dump.root.raw)
        restored.formUnion(lines.filter { request.memoryMounts.contains($0.point) }.map(\.device))
        let whole = own.filter { $0.root == "/" }
        var seen: Set<String> = []
        var index = 0
        for mount in whole.filter({ !isReadOnly($0) }) + whole.filter(isReadOnly) {
            // Met before under another name.
            guard seen.insert(mount.device).inserted else { continue }
            try about("\(mount.type) at \(mount.point)") {
                let path = tops?[mount.id].map { "/proc/self/fd/\($0)" }
                let top =
                    try path.map { try openAt(AT_FDCWD, $0, O_RDONLY | O_DIRECTORY) }
                    ?? openAt(dump.root.raw, mount.point, O_RDONLY | O_DIRECTORY, resolve: .inRoot)
                // Something else is mounted over it: nobody can reach it.
                guard try MountLine.device(of: top.raw) == mount.device else { return }
                let known = request.devices.filter { $0.lies(on: mount, among: lines) }
                guard restored.contains(mount.device), mount.type == "tmpfs", !isReadOnly(mount) else {
                    return try refuseContent(of: top.raw, mount.point, known, lines)
                }
                let places = tops == nil ? [] : Set(lines.filter { $0.parent == mount.id }.map(\.point))
                try write(top.raw, of: mount, as: fileName(index), devices: known, except: places, dump)
                index += 1
            }
        }
        if let changes, let tops { try writeMade(changes, tops, dump) }
        for part in own where part.root != "/" {
            let hides = { (line: MountLine) in
                line.id != part.id && (line.point == part.point || part.point.hasPrefix(line.point + "/"))
            }
            // Nobody can look at it; the whole of it was looked at.
            if changes?.made.contains(where: { hides($0.line) }) == true,
                whole.contains(where: { $0.device == part.device })
            {
                continue
            }
            let place = try openAt(dump.root.raw, part.point, CLINUX_O_PATH, resolve: .inRoot)
            // /dev/null hides other files.
            if try status(of: place.raw).isDevice { continue }
            throw CheckpointError(
                "\(part.type) at \(part.point): only \(part.root) of it is mounted there; a part of a file system in memory "
                    + "cannot be checkpointed yet: take the mount out of config.json")
        }
    }

    /// Those of mounts that were made.
    static func writeMade(_ changes: MountChanges, _ tops: PeeledMounts, _ dump: Dump) throws {
        for made in changes.made where made.isNew && made.line.type == "tmpfs" {
            guard let top = tops[made.line.id] else { continue }
            try about("tmpfs at \(made.line.point)") {
                try write(top, of: made.line, as: MadeMount.contentName(made.line.id), devices: [], except: [], dump)
            }
        }
    }

    /// - Parameter places: paths of mounts on it that config.json makes.
    private static func write(
        _ top: CInt, of mount: MountLine, as name: String, devices: [DeviceNode], except places: Set<String>,
        _ dump: Dump
    ) throws {
        let image = try ImageStream(raw: name, in: dump.directory)
        try image.append(raw: MemoryFileEntry.header(mount.point))
        var walk = MemoryFileWalk(
            into: image, userNamespace: dump.userNamespace, point: mount.point, devices: devices,
            places: Set(dump.mounts.map(\.point)), hidden: places)
        try walk.run(from: top)
        try dump.images.add(image)
    }

    /// File systems whose content goes with the container.
    private static let kinds: Set<Substring> = ["tmpfs", "ramfs", "hugetlbfs", "bpf"]

    /// What can be empty or is refused: nothing may be there but the places of other mounts, and devices and links of a
    /// read-only /dev.
    private static func refuseContent(
        of directory: CInt, _ path: String, _ known: [DeviceNode], _ mounts: [MountLine]
    ) throws {
        var stream = try DirectoryStream(try openAt(directory, ".", O_RDONLY | O_DIRECTORY))
        while let name = try stream.next() {
            let inner = path + "/" + name
            if mounts.contains(where: { $0.point == inner }) { continue }
            let found = try status(at: directory, name, flags: AT_SYMLINK_NOFOLLOW)
            if found.isSymbolicLink && path == "/dev" || known.contains(DeviceNode(inner, found)) { continue }
            let leadsOn = mounts.map(\.point) + known.map(\.path)
            guard found.isDirectory, leadsOn.contains(where: { $0.hasPrefix(inner + "/") }) else {
                throw CheckpointError(
                    "\(inner): a file on what is read-only, or no tmpfs that config.json mounts, cannot be checkpointed yet; "
                        + "remove it")
            }
            let opened = try openAt(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve: .noCrossMounts)
            try refuseContent(of: opened.raw, inner, known, mounts)
        }
    }

    private static func devices(of process: String) throws -> Set<String> {
        Set(try MountLine.all(of: process).map(\.device))
    }

    private static func devices(at points: Set<String>, beneath root: CInt) throws -> Set<String> {
        var devices: Set<String> = []
        for point in points {
            guard let top = try? openAt(root, point, CLINUX_O_PATH | O_DIRECTORY, resolve: .inRoot) else { continue }
            devices.insert(try MountLine.device(of: top.raw))
        }
        return devices
    }

    // MARK: Restore

    /// Looks the images over.
    static func plan(_ restore: RestorePlan) throws {
        let state = restore[Self.self]
        while try restore.images.directory.contains(fileName(state.images.count)) {
            let name = fileName(state.images.count)
            let image = try about(name) { try MemoryFileImage(name, try restore.images.directory.open(name)) }
            state.images.append(image)
        }
    }

    static func recreate(in workshop: Workshop) throws {
        // Else in the midst of that.
        if workshop[MadeMount.self].changes == nil { try fill(in: workshop) }
    }

    static func fill(in workshop: Workshop) throws {
        let images = workshop[Self.self].images
        guard !images.isEmpty else { return }
        try workshop.asOwner(user: 0, group: 0) { try recreate(images, in: workshop) }
    }

    private static func recreate(_ images: [MemoryFileImage], in workshop: Workshop) throws {
        let root = workshop.root
        let outer = try devices(of: "self")
        let inner = try devices(at: workshop.policy.memoryMounts, beneath: root)
        for image in images {
            try about("tmpfs at \(image.point)") {
                let top = try openAt(root, image.point, O_RDONLY | O_DIRECTORY, resolve: .inRoot)
                let device = try MountLine.device(of: top.raw)
                guard inner.contains(device), !outer.contains(device) else {
                    throw CheckpointError("config.json mounts no tmpfs of the container's own there")
                }
                try MemoryFileTree.clear(top.raw)
                var tree = try MemoryFileTree(image, top: top.raw, workshop.userNamespace)
                try tree.make()
            }
        }
    }
}

/// A device file that config.json makes: `linux.devices`, and those that every container has.
package struct DeviceNode: Hashable, Sendable {
    /// As the container sees it.
    package var path: String
    /// With its kind.
    package var mode: UInt32
    package var number: dev_t
    package var user: UInt32
    package var group: UInt32

    package init(path: String, mode: UInt32, number: dev_t, user: UInt32, group: UInt32) {
        (self.path, self.mode, self.number, self.user, self.group) = (path, mode, number, user, group)
    }

    init(_ path: String, _ status: stat) {
        self.init(
            path: path, mode: status.st_mode, number: status.st_rdev, user: status.st_uid, group: status.st_gid)
    }

    /// Whether no other mount is nearer to it.
    func lies(on mount: MountLine, among mounts: [MountLine]) -> Bool {
        func has(_ point: String) -> Bool { path.hasPrefix(point + "/") }
        return has(mount.point)
            && !mounts.contains { $0.point == path || $0.point.utf8.count > mount.point.utf8.count && has($0.point) }
    }
}
