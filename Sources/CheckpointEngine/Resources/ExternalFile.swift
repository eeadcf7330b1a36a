import CheckpointImages
import LinuxSystem

/// A file that the container was given at its start and that lies outside of it: the supervisor's pipes, a log file or
/// /dev/null of the host.
///
/// The images keep what it was called (`descriptors.json` holds the three names in order, as runc writes it); restore
/// puts in its place the descriptor that it was given under the same number.
enum ExternalFile: FileKind {
    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard !dump.isInside(file) else { return nil }
        guard dump.externalDescriptors.contains(file.link) else { return nil }
        // A pipe keeps its own type, with which CRIU knows to inherit it.
        if file.status.isFIFO { return Pipe.entry(file, id: id) }
        return FileEntry.with {
            $0.type = .reg
            $0.id = id
            $0.reg = .with {
                $0.id = id
                $0.flags = file.info.flags
                $0.pos = file.info.position
                $0.fown = .none
                $0.name = file.link
                $0.ext = true
                $0.mode = file.status.st_mode
            }
        }
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        let name: String
        if entry.hasReg, entry.reg.ext {
            name = entry.reg.name
        } else if entry.hasPipe {
            name = "pipe:[\(entry.pipe.pipeID)]"
        } else {
            return nil
        }
        if let number = workshop.externalDescriptors.firstIndex(of: name) {
            return try workshop.standardStream(number)
        }
        if entry.hasPipe { return nil }
        throw CheckpointError("file \(entry.id) lay outside the container (\(name)), and nothing was given for it")
    }
}

extension Dump {
    /// Whether an open file belongs to the container: to one of its mounts, or to nobody but its own processes.
    func isInside(_ file: borrowing OpenFile) -> Bool {
        if file.status.isFIFO || file.status.isSocket { return !externalDescriptors.contains(file.link) }
        return mountIDs.contains(file.info.mount) || !file.link.hasPrefix("/")
    }
}
