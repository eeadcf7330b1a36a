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
