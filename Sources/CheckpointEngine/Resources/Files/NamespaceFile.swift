import CheckpointImages
import LinuxSystem

/// /proc/PID/ns/*: the namespaces of the container's processes by descriptor. namespaces(7). Those in which none of them is
/// are refused.
enum NamespaceFile: FileKind {
    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard let own = Namespaces.files.first(where: { file.link.hasPrefix("\($0.file):[") }) else { return nil }
        guard let number = dump.knownNamespace(file.link) else {
            throw CheckpointError(
                "\(file.link): a namespace in which no process of the container is cannot be checkpointed yet")
        }
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

    /// Fails if it is of a namespace in which nobody will be.
    static func plan(_ restore: RestorePlan) throws {
        for entry in restore.images.files.all(.ns).map(\.nsf) {
            let (own, inner) = (try own(entry), try inner(entry))
            guard restore.first.ids[own.kind] == entry.nsID || restore[InnerNamespace.self].has(inner) else {
                throw CheckpointError("file \(entry.id): \(own.file) namespace \(entry.nsID), in which no process is")
            }
        }
    }

    private static func own(_ entry: NsFileEntry) throws -> (kind: Namespaces, file: String) {
        guard let own = Namespaces.files.first(where: { UInt32($0.kind.rawValue) == entry.nsCflag }) else {
            throw CheckpointError("a namespace of kind 0x\(String(entry.nsCflag, radix: 16)), which is not known")
        }
        return own
    }

    private static func inner(_ entry: NsFileEntry) throws -> InnerNamespace.Name {
        .init(kind: try own(entry).kind, number: entry.nsID)
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasNsf else { return nil }
        let own = try own(entry.nsf)
        let place = try workshop[InnerNamespace.self].made[inner(entry.nsf)].map { "/proc/self/fd/\($0)" }
        // O_LARGEFILE, which open(2) adds.
        let flags = CInt(bitPattern: entry.nsf.flags) & (O_ACCMODE | O_NONBLOCK | 0o100000)
        return try openAt(AT_FDCWD, place ?? "/proc/\(workshop.firstProcess)/ns/\(own.file)", flags)
    }
}
