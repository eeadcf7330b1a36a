import CheckpointImages
import LinuxSystem

/// signalfd(2): signals read as data.
enum SignalFD: FileKind {
    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.link == "anon_inode:[signalfd]" else { return nil }
        guard let mask = file.info.value("sigmask").flatMap({ UInt64($0, radix: 16) }) else {
            throw CheckpointError("the kernel does not tell the mask of a signalfd")
        }
        return FileEntry.with {
            $0.type = .signalfd
            $0.id = id
            $0.sgfd = .with {
                $0.id = id
                $0.flags = file.info.flags
                $0.fown = .none
                $0.sigmask = mask
            }
        }
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasSgfd else { return nil }
        var mask = entry.sgfd.sigmask
        let flags = entry.sgfd.flags & UInt32(O_NONBLOCK) | UInt32(O_CLOEXEC)
        return OwnedDescriptor(
            CInt(
                try withUnsafePointer(to: &mask) {
                    try systemCall("signalfd", Int(SYS_signalfd4), -1, Int(bitPattern: $0), 8, Int(flags))
                }))
    }
}
