import CheckpointImages

/// Memory that processes share (MAP_SHARED | MAP_ANONYMOUS), by its inode. ``MemoryMapping`` meets it.
enum SharedMemory: Kind {
    static func seal(_ dump: Dump) throws {
        for (inode, shared) in dump.pages.sharedMemory.sorted(by: { $0.key < $1.key }) {
            let (pagemap, _) = try dump.pages.add(shared)
            try dump.images.add(.shmemPagemap, inode, pagemap)
        }
    }
}
