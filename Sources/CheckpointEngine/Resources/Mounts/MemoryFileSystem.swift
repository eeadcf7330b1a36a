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
        let own = dump.mounts.filter {
            kinds.contains($0.type) && !request.hostMounts.contains($0.point) && !host.contains($0.device)
        }
        let restored = try devices(at: request.memoryMounts, beneath: dump.root.raw)
        let whole = own.filter { $0.root == "/" }
        var seen: Set<String> = []
        var index = 0
        for mount in whole.filter({ !$0.isReadOnly }) + whole.filter(\.isReadOnly) {
            // Met before under another name.
            guard seen.insert(mount.device).inserted else { continue }
            try about("\(mount.type) at \(mount.point)") {
                let top = try openAt(dump.root.raw, mount.point, O_RDONLY | O_DIRECTORY, resolve: .inRoot)
                // Something else is mounted over it: nobody can reach it.
                guard try MountLine.device(of: top.raw) == mount.device else { return }
                let known = request.devices.filter { $0.lies(on: mount, among: dump.mounts) }
                guard restored.contains(mount.device), mount.type == "tmpfs", !mount.isReadOnly else {
                    return try refuseContent(of: top.raw, mount.point, known, dump.mounts)
                }
                let image = try ImageStream(raw: fileName(index), in: dump.directory)
                try image.append(raw: MemoryFileEntry.header(mount.point))
                var walk = MemoryFileWalk(
                    into: image, userNamespace: dump.userNamespace, point: mount.point, devices: known,
                    places: Set(dump.mounts.map(\.point)))
                try walk.run(from: top.raw)
                try dump.images.add(image)
                index += 1
            }
        }
        for part in own where part.root != "/" {
            let place = try openAt(dump.root.raw, part.point, CLINUX_O_PATH, resolve: .inRoot)
            // /dev/null hides other files.
            if try status(of: place.raw).isDevice { continue }
            throw CheckpointError(
                "\(part.type) at \(part.point): only \(part.root) of it is mounted there; a part of a file system in memory "
                    + "cannot be checkpointed yet: take the mount out of config.json")
        }
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
