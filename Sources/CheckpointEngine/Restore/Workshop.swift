import CheckpointImages
import LinuxSystem

/// Where the engine makes the kernel objects of a container that is being restored, each once, in its namespaces.
final class Workshop {
    /// The container's root directory.
    let root: CInt
    let userNamespace: UserNamespace
    private let network: CInt
    private let streams: [CInt]
    /// The inner end of the container's new terminal, held open from before the first process lets go of it.
    let terminal: CInt?
    let externalDescriptors: [String]
    let pipeData: [UInt32: ImageRecord<PipeDataEntry>]
    let socketQueues: [UInt32: [ImageRecord<SkPacketEntry>]]
    private let entries: [UInt32: FileEntry]

    var pipes: [UInt32: (reader: CInt, writer: CInt)] = [:]
    var unixSockets: [UInt32: CInt] = [:]
    /// Instances of epoll whose registrations are made: processes may share one.
    var registeredPolls: Set<UInt32> = []
    private var made: [UInt32: CInt] = [:]
    private var kept: [CInt] = []

    /// - Parameters:
    ///   - first: the container's first process, already in its namespaces and root.
    ///   - streams: what stands for the container's standard streams now.
    init(images: RestoreImages, first: pid_t, streams: [CInt], hasTerminal: Bool) throws {
        self.streams = streams
        terminal = hasTerminal ? try Pidfd(pid: first).descriptor(0).release() : nil
        externalDescriptors = images.externalDescriptors
        pipeData = images.pipeData
        socketQueues = images.socketQueues
        entries = images.files
        userNamespace = try UserNamespace(of: first)
        root = try openAt(AT_FDCWD, "/proc/\(first)/root", CLINUX_O_PATH | O_DIRECTORY).release()
        network = try openAt(AT_FDCWD, "/proc/\(first)/ns/net", O_RDONLY).release()
    }

    deinit {
        for descriptor in kept { close(descriptor) }
        for descriptor in unixSockets.values { close(descriptor) }
        for descriptor in made.values { close(descriptor) }
        close(root)
        close(network)
        if let terminal { close(terminal) }
    }

    /// The open file with this id, made when it is asked for first.
    func descriptor(for id: UInt32) throws -> CInt {
        if let known = made[id] { return known }
        guard let entry = entries[id] else { throw CheckpointError("files.img: no file \(id)") }
        for kind in fileKinds {
            guard let file = try about("file \(id)", { try kind.recreate(entry, in: self) }) else { continue }
            let raw = file.release()
            made[id] = raw
            return raw
        }
        throw CheckpointError("file \(id): this kind of file (\(entry.type)) cannot be restored yet")
    }

    /// Takes in an open file that a task has made for an entry.
    func adopt(_ descriptor: consuming OwnedDescriptor, as id: UInt32) { made[id] = descriptor.release() }

    func entry(_ id: UInt32) -> FileEntry? { entries[id] }

    func unixEntry(inode: UInt32) -> UnixSkEntry? {
        guard inode != 0 else { return nil }
        return entries.values.first { $0.hasUsk && $0.usk.ino == inode }?.usk
    }

    /// The file that listens under a name.
    func unixListener(name: [UInt8]) -> UInt32? {
        entries.values.first { $0.hasUsk && $0.usk.state == 10 && $0.usk.name.elementsEqual(name) }?.id
    }

    /// Does something with the container's root as this program's, for calls that take a path and no directory.
    func inRoot<R>(_ body: () throws -> R) throws -> R {
        let home = try openAt(AT_FDCWD, "/", CLINUX_O_PATH | O_DIRECTORY)
        let place = try openAt(AT_FDCWD, ".", CLINUX_O_PATH | O_DIRECTORY)
        let (there, back, before) = (root, home.raw, place.raw)
        try system("go into the container's root") { fchdir(there) }
        try system("go into the container's root") { chroot(".") }
        let result = Result { try body() }
        try system("leave the container's root") { fchdir(back) }
        try system("leave the container's root") { chroot(".") }
        try system("go back") { fchdir(before) }
        return try result.get()
    }

    /// Makes files, pipes and sockets that belong to these ids of the container. A file system that is mounted in its
    /// user namespace takes none that belong to anybody else.
    func asOwner<R>(user: UInt32, group: UInt32, _ body: () throws -> R) throws -> R {
        try withEffectiveUser(
            try userNamespace.outside(user: user), group: try userNamespace.outside(group: group), body)
    }

    /// Keeps a descriptor open until the restore is over.
    func keep(_ descriptor: consuming OwnedDescriptor) -> CInt {
        let raw = descriptor.release()
        kept.append(raw)
        return raw
    }

    /// A descriptor for what restore was given as this standard stream.
    func standardStream(_ number: Int) throws -> OwnedDescriptor {
        guard number < streams.count, streams[number] >= 0 else {
            throw CheckpointError("descriptor \(number) came from outside, and restore was given none (--preserve-fds)")
        }
        return OwnedDescriptor(
            try system("standard stream \(number)") { clinux_fcntl(streams[number], F_DUPFD_CLOEXEC, 0) })
    }

    func inNetworkNamespace<R: ~Copyable>(_ body: () throws -> R) throws -> R {
        let home = try openAt(AT_FDCWD, "/proc/thread-self/ns/net", O_RDONLY)
        try joinNamespaces(network, .network)
        let result: R
        do { result = try body() } catch {
            try joinNamespaces(home.raw, .network)
            throw error
        }
        try joinNamespaces(home.raw, .network)
        return result
    }
}
