import CheckpointImages
import LinuxSystem

/// eventfd(2): a counter.
enum EventFD: FileKind {
    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.link == "anon_inode:[eventfd]" else { return nil }
        guard let count = file.info.value("eventfd-count").flatMap({ UInt64($0, radix: 16) }) else {
            throw CheckpointError("the kernel does not tell the count of an eventfd")
        }
        // The kernel shows the semaphore flag only here, not among the open flags.
        let isSemaphore = file.info.value("eventfd-semaphore").map { $0 != "0" } ?? false
        return FileEntry.with {
            $0.type = .eventfd
            $0.id = id
            $0.efd = .with {
                $0.id = id
                $0.flags = file.info.flags | (isSemaphore ? 1 : 0)
                $0.fown = .none
                $0.counter = count
            }
        }
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasEfd else { return nil }
        let flags = entry.efd.flags & (UInt32(O_NONBLOCK) | 1)
        let made = OwnedDescriptor(
            CInt(try systemCall("eventfd", Int(SYS_eventfd2), 0, Int(flags | UInt32(O_CLOEXEC)))))
        if entry.efd.counter > 0 {
            var count = entry.efd.counter
            try system("set count of eventfd") { write(made.raw, &count, 8) }
        }
        return made
    }
}
