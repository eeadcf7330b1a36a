import CheckpointImages
import LinuxSystem

/// Memory that processes share and that has no place in any directory: MAP_SHARED | MAP_ANONYMOUS, and what a ``MemFD``
/// holds. ``MemoryMapping`` and ``MemFD`` meet it; each is kept once, by its inode.
enum SharedMemory: Kind {
    /// What CRIU calls a memory file that is shared anonymous memory.
    static let anonymousName = "/dev/zero"
    /// Their numbers in the images lie above those of System V segments, whose pages are in images of the same kind.
    private static let firstID: UInt32 = 1 << 31

    final class DumpState: KindState {
        fileprivate var known: [UInt64: (id: UInt32, link: String)] = [:]
    }

    typealias RestoreState = SharedMemoryStore

    /// The number in the images.
    ///
    /// - Parameter link: what opens it, in /proc.
    static func id(of inode: UInt64, link: String, in dump: Dump) -> UInt32 {
        let state = dump[Self.self]
        if let known = state.known[inode] { return known.id }
        let id = firstID + UInt32(state.known.count)
        state.known[inode] = (id, link)
        dump.account.keep(Self.self)
        return id
    }

    static func seal(_ dump: Dump) throws {
        for (id, link) in dump[Self.self].known.values.sorted(by: { $0.id < $1.id }) {
            let file = try openAt(AT_FDCWD, link, O_RDONLY | MemoryFileSystem.noAccessTime)
            try dump.pages.add(file, as: .shmemPagemap, UInt64(id))
        }
    }

    static func plan(_ restore: RestorePlan) throws {
        var sizes: [UInt64: UInt64] = [:]
        for plan in restore.first.all {
            for mapping in plan.mm.vmas where mapping.kind.contains(.anonymousShared) {
                let (end, overflow) = mapping.pgoff.addingReportingOverflow(mapping.length)
                guard !overflow, end < 1 << 46 else { throw CheckpointError("\(plan): shared memory of \(end) bytes") }
                sizes[mapping.shmid] = max(sizes[mapping.shmid] ?? 0, end)
            }
        }
        for entry in restore.images.memoryFiles.values where entry.name == anonymousName {
            guard entry.size < 1 << 46 else { throw CheckpointError("memfd.img: shared memory of \(entry.size) bytes") }
            sizes[UInt64(entry.shmid)] = max(sizes[UInt64(entry.shmid)] ?? 0, (entry.size + 4095) & ~4095)
        }
        for (id, size) in sizes { try restore[Self.self].add(id, size: size, from: restore.images) }
    }
}
