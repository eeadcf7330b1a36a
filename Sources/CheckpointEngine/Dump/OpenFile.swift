import CheckpointImages
import LinuxSystem

/// An open file of the container's, in the engine's hands: the very same one, by pidfd_getfd(2).
struct OpenFile: ~Copyable {
    let process: CapturedProcess
    let number: CInt
    let descriptor: OwnedDescriptor
    /// What /proc/PID/fd/N points at: a path, or `pipe:[123]`, `anon_inode:[eventfd]` and the like.
    let link: String
    let info: DescriptorInfo
    let status: stat

    init(_ process: CapturedProcess, _ number: CInt, pidfd: borrowing Pidfd) throws {
        let link = try linkTarget("/proc/\(process.hostPid)/fd/\(number)")
        let info = try DescriptorInfo(process: process.hostPid, number: number)
        let taken = try pidfd.descriptor(number)
        let status = try LinuxSystem.status(of: taken.raw)
        self.process = process
        self.number = number
        self.link = link
        self.info = info
        self.status = status
        descriptor = taken
    }
}

/// One kind of open file: how it is recognised, captured and made again.
protocol FileKind: SendableMetatype {
    /// The entry for a file of this kind, `nil` for one of another. `id` is its number in the images.
    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry?
    /// Makes the open file in the engine, as the container will have it; `nil` for an entry of another kind.
    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor?
}

/// Every kind there is; the first that recognises a file has it.
let fileKinds: [any (FileKind & SendableMetatype).Type] = [
    ExternalFile.self, Pipe.self, EventFD.self, EventPoll.self, TimerFD.self, SignalFD.self, NamedUnixSocket.self,
    UnixSocketPair.self, InternetSocket.self, ConsoleTerminal.self, RegularFile.self,
]

/// The open files of a dump: each once, however many descriptors share it.
final class OpenFiles {
    private var known: [Identity: [(process: pid_t, number: CInt, entry: FileEntry)]] = [:]
    private(set) var entries: [FileEntry] = []
    private var nextID: UInt32 = 1

    private struct Identity: Hashable {
        var device: dev_t
        var inode: ino_t
        var flags: UInt32
        var position: UInt64
    }

    func newID() -> UInt32 {
        defer { nextID += 1 }
        return nextID
    }

    /// Adds an entry that no descriptor refers to: a mapped file, a working directory.
    func add(_ entry: FileEntry) { entries.append(entry) }

    /// The entry of a descriptor's open file, made when it is met first. kcmp(2) tells open files apart.
    func entry(for file: borrowing OpenFile, into dump: Dump) throws -> FileEntry {
        let identity = Identity(
            device: file.status.st_dev, inode: file.status.st_ino, flags: file.info.flags,
            position: file.info.position)
        for other in known[identity] ?? [] {
            let same = try systemCall(
                "kcmp", Int(SYS_kcmp), Int(other.process), Int(file.process.hostPid), 0, Int(other.number),
                Int(file.number))
            if same == 0 { return other.entry }
        }
        let id = newID()
        for kind in fileKinds {
            guard var entry = try kind.capture(file, id: id, into: dump) else { continue }
            entry.signalOwner = try SignalOwner.capture(file, in: dump.userNamespace)
            entries.append(entry)
            known[identity, default: []].append((file.process.hostPid, file.number, entry))
            return entry
        }
        throw CheckpointError("\(file.link): this kind of file cannot be checkpointed yet")
    }
}
