import CheckpointImages
import LinuxSystem

/// Finds the path of a file of the container by its handle.
final class PathFinder {
    /// Names that one file system is searched for at most.
    private static let mostNames = 1_000_000
    private var walks: [Int: Walk] = [:]

    /// As the container has it.
    func path(of watch: InotifyWdEntry, in dump: Dump) throws -> String {
        let handle = FileHandle(type: Int32(bitPattern: watch.fHandle.type), bytes: watch.fHandle.value)
        let device = "\(watch.sDev >> 20):\(watch.sDev & 0xf_ffff)"
        var isUnlinked = false
        for mount in dump.mounts where mount.device == device {
            let place = try openAt(dump.root.raw, mount.point, CLINUX_O_PATH | O_NOFOLLOW, resolve: .inRoot)
            // Something else is mounted over it.
            guard try DescriptorInfo(process: getpid(), number: place.raw).mount == mount.id else { continue }
            if (try? FileHandle(at: place.raw, "")) == handle { return mount.point }
            guard try status(of: place.raw).isDirectory else { continue }
            let top = try openAt(place.raw, ".", O_RDONLY | O_DIRECTORY | MemoryFileSystem.noAccessTime)
            // Not every file system opens files by what it calls them: overlay mostly does not.
            if let file = try? handle.open(on: top.raw, CLINUX_O_PATH) {
                isUnlinked = try status(of: file.raw).st_nlink == 0
                let path = try linkTarget("/proc/self/fd/\(file.raw)")
                if !isUnlinked, try leads(path, to: handle, in: dump) { return path }
            }
            if isUnlinked { break }
            let walk = walks[mount.id] ?? Walk(from: mount.point)
            walks[mount.id] = walk
            if let path = try walk.path(of: handle, in: dump, most: Self.mostNames) { return path }
        }
        guard !isUnlinked else {
            throw CheckpointError("a watch on a file that was unlinked cannot be checkpointed yet")
        }
        throw CheckpointError(
            "no path in the container leads to the watched inode \(watch.iIno) on device \(device), which was unlinked or "
                + "lies outside (searched are at most \(Self.mostNames) names)")
    }

    private func leads(_ path: String, to handle: FileHandle, in dump: Dump) throws -> Bool {
        guard path.hasPrefix("/"),
            let place = try? openAt(dump.root.raw, path, CLINUX_O_PATH | O_NOFOLLOW, resolve: .inRoot)
        else { return false }
        return (try? FileHandle(at: place.raw, "")) == handle
    }

    /// The names of one mount, those near its root first.
    private final class Walk {
        private var known: [[UInt8]: String] = [:]
        private var next: [String]
        private var count = 0

        init(from point: String) { next = [point] }

        func path(of handle: FileHandle, in dump: Dump, most: Int) throws -> String? {
            if let path = known[handle.bytes] { return path }
            while !next.isEmpty, count < most {
                let folders = next
                next = []
                for (index, folder) in folders.enumerated() {
                    try look(into: folder, in: dump)
                    guard let path = known[handle.bytes] else { continue }
                    next = folders[(index + 1)...] + next
                    return path
                }
            }
            return nil
        }

        private func look(into folder: String, in dump: Dump) throws {
            guard
                let opened = try? openAt(
                    dump.root.raw, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | MemoryFileSystem.noAccessTime,
                    resolve: .inRoot)
            else { return }
            let device = try status(of: opened.raw).st_dev
            var stream = try DirectoryStream(opened)
            // One that is not UTF-8 ends it: no image could have its path.
            while let name = try? stream.next() {
                count += 1
                let path = folder == "/" ? "/" + name : folder + "/" + name
                guard let found = try? status(at: stream.directory.raw, name, flags: AT_SYMLINK_NOFOLLOW) else {
                    continue
                }
                if let handle = try? FileHandle(at: stream.directory.raw, name), known[handle.bytes] == nil {
                    known[handle.bytes] = path
                }
                if found.isDirectory, found.st_dev == device { next.append(path) }
            }
        }
    }
}

extension FhEntry {
    fileprivate var value: [UInt8] {
        (0..<Int(min(bytes, 128))).map { UInt8(truncatingIfNeeded: handle[$0 / 8] >> UInt64(8 * ($0 % 8))) }
    }
}
