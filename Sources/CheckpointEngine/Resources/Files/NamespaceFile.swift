import CheckpointImages
import LinuxSystem

/// /proc/PID/ns/*: the namespaces of the container by descriptor. namespaces(7). Those of others are refused.
enum NamespaceFile: FileKind {
    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard let own = Namespaces.files.first(where: { file.link.hasPrefix("\($0.file):[") }) else { return nil }
        let first = dump.first.hostPid
        guard try linkTarget("/proc/\(first)/ns/\(own.file)") == file.link else {
            throw CheckpointError(
                "\(file.link): a namespace that is not the container's own cannot be checkpointed yet")
        }
        let number = try dump.namespaceID(own.file, of: first)
        return FileEntry.with {
            $0.type = .ns
            $0.id = id
            $0.nsf = .with {
                $0.id = id
                $0.nsID = number
                $0.nsCflag = UInt32(own.kind.rawValue)
                $0.flags = file.info.flags
            }
        }
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasNsf else { return nil }
        guard let own = Namespaces.files.first(where: { UInt32($0.kind.rawValue) == entry.nsf.nsCflag }) else {
            throw CheckpointError("a namespace of kind 0x\(String(entry.nsf.nsCflag, radix: 16)), which is not known")
        }
        // O_LARGEFILE, which open(2) adds.
        let flags = CInt(bitPattern: entry.nsf.flags) & (O_ACCMODE | O_NONBLOCK | 0o100000)
        return try openAt(AT_FDCWD, "/proc/\(workshop.firstProcess)/ns/\(own.file)", flags)
    }
}
