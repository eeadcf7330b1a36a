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
    let externalNumbers: [String: Int]
    let images: RestoreImages
    let policy: RestorePolicy
    /// As the engine sees it.
    let firstProcess: pid_t
    /// The directories of the container's own cgroups, by controller; that of v2 under the empty name.
    let cgroups: [String: String]
    private let states: KindStates

    /// The task for which files are made now.
    var opener: Opener?
    /// Those that are under construction, by their ids in the container.
    var processes: [pid_t: ProcessPlan] = [:]
    /// Files that are open for a while only, to be mapped or gone to.
    private var passing: [Passing: CInt] = [:]
    private var made: [UInt32: CInt] = [:]
    private var kept: [CInt] = []

    private struct Passing: Hashable {
        let file: PassingFile
        let identity: Identity?
    }

    /// - Parameters:
    ///   - first: the container's first process, already in its namespaces and root.
    ///   - streams: what stands for the container's standard streams now.
    init(_ plan: RestorePlan, in first: pid_t, cgroups: [String: String], streams: [CInt]) throws {
        self.cgroups = cgroups
        let images = plan.images
        self.streams = streams
        policy = plan.policy
        states = plan.states
        firstProcess = first
        terminal = policy.hasTerminal ? try Pidfd(pid: first).descriptor(0).release() : nil
        externalDescriptors = images.externalDescriptors
        externalNumbers = Dictionary(
            externalDescriptors.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        self.images = images
        userNamespace = try UserNamespace(of: first)
        root = try openAt(AT_FDCWD, "/proc/\(first)/root", CLINUX_O_PATH | O_DIRECTORY).release()
        network = try openAt(AT_FDCWD, "/proc/\(first)/ns/net", O_RDONLY).release()
    }

    deinit {
        for descriptor in kept { close(descriptor) }
        for descriptor in made.values { close(descriptor) }
        close(root)
        close(network)
        if let terminal { close(terminal) }
    }

    /// The open file with this id, made when it is asked for first.
    func descriptor(for id: UInt32) throws -> CInt {
        if let known = made[id] { return known }
        guard let entry = entry(id) else { throw CheckpointError("files.img: no file \(id)") }
        for kind in fileKinds {
            guard let file = try about("file \(id)", { try kind.recreate(entry, in: self) }) else { continue }
            let raw = file.release()
            made[id] = raw
            return raw
        }
        throw CheckpointError("file \(id): this kind of file (\(entry.type)) cannot be restored yet")
    }

    /// A file or directory that its task does not keep open. Those who may do the same share it.
    func passingDescriptor(for file: FileEntry, flags: CInt) throws -> CInt {
        let wanted = PassingFile(id: file.id, flags: flags)
        if let known = passing[key(wanted)] { return known }
        let opened =
            try file.hasMemfd
            ? MemFD.open(file, flags: flags, in: self) : RegularFile.open(file.reg, flags: flags, in: self)
        return adopt(opened, as: wanted)
    }

    private func key(_ file: PassingFile) -> Passing { Passing(file: file, identity: opener?.own) }

    /// Takes in an open file that a task has made for an entry.
    func adopt(_ descriptor: consuming OwnedDescriptor, as id: UInt32) { made[id] = descriptor.release() }

    @discardableResult
    func adopt(_ descriptor: consuming OwnedDescriptor, as file: PassingFile) -> CInt {
        let opened = keep(descriptor)
        passing[key(file)] = opened
        return opened
    }

    /// Whether an entry's file is there.
    func has(_ id: UInt32) -> Bool { made[id] != nil }

    func has(_ file: PassingFile) -> Bool { passing[key(file)] != nil }

    func entry(_ id: UInt32) -> FileEntry? { images.files[id] }

    /// What a kind remembers of this container.
    subscript<K: Kind>(kind: K.Type) -> K.RestoreState { states[restore: kind] }

    /// Does something with the container's root as this program's, for calls that take a path and no directory.
    func inRoot<R>(_ body: () throws -> R) throws -> R { try CheckpointEngine.inRoot(root, body) }

    /// Whether a directory is in the container's root file system or on a tmpfs that config.json mounts for it alone:
    /// not among files of the host that are mounted into it.
    func isOwn(_ directory: CInt, _ policy: RestorePolicy) throws -> Bool {
        func mount(_ file: CInt) throws -> Int { try DescriptorInfo(process: getpid(), number: file).mount }
        if try mount(directory) == mount(root) { return true }
        let device = try MountLine.device(of: directory)
        guard try !MountLine.all(of: "self").contains(where: { $0.device == device }) else { return false }
        if self[MadeMount.self].devices.contains(device) { return true }
        return try policy.memoryMounts.contains { point in
            guard let top = try? openAt(root, point, CLINUX_O_PATH | O_DIRECTORY, resolve: .inRoot) else {
                return false
            }
            return try MountLine.device(of: top.raw) == device
        }
    }

    /// Makes files, pipes and sockets that belong to these ids of the container. A file system that is mounted in its
    /// user namespace takes none that belong to anybody else.
    func asOwner<R>(user: UInt32, group: UInt32, groups: [UInt32]? = nil, _ body: () throws -> R) throws -> R {
        try withEffectiveUser(
            try userNamespace.outside(user: user), group: try userNamespace.outside(group: group),
            groups: try groups?.map { try userNamespace.outside(group: $0) }, body)
    }

    /// Makes files by another task than ``opener``; `nil` if there is none with this id.
    func opener(of process: pid_t) throws -> Opener? {
        guard let opener, let plan = processes[process] else { return nil }
        return plan === opener.plan ? opener : try Opener(plan, opener.policy, opener.area)
    }

    /// Keeps a descriptor open until the restore is over.
    func keep(_ descriptor: consuming OwnedDescriptor) -> CInt {
        let raw = descriptor.release()
        kept.append(raw)
        return raw
    }

    /// A descriptor for what restore was given as this standard stream: one that does not wait, if the program had made it so.
    func standardStream(_ number: Int, for entry: FileEntry) throws -> OwnedDescriptor {
        guard number < streams.count, streams[number] >= 0 else {
            throw CheckpointError("descriptor \(number) came from outside, and restore was given none (--preserve-fds)")
        }
        let stream = OwnedDescriptor(
            try system("standard stream \(number)") { clinux_fcntl(streams[number], F_DUPFD_CLOEXEC, 0) })
        let raw = stream.raw
        if CInt(bitPattern: entry.hasPipe ? entry.pipe.flags : entry.reg.flags) & O_NONBLOCK != 0 {
            let flags = try system("flags of stream \(number)") { clinux_fcntl(raw, F_GETFL, 0) }
            try system("flags of stream \(number)") { clinux_fcntl(raw, F_SETFL, Int(flags | O_NONBLOCK)) }
        }
        return stream
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

/// Does something with another root directory, in which it begins, for calls that take a path and no directory.
func inRoot<R>(_ root: CInt, _ body: () throws -> R) throws -> R {
    let home = try openAt(AT_FDCWD, "/", CLINUX_O_PATH | O_DIRECTORY)
    let place = try openAt(AT_FDCWD, ".", CLINUX_O_PATH | O_DIRECTORY)
    let (back, before) = (home.raw, place.raw)
    try system("go into another root") { fchdir(root) }
    try system("go into another root") { chroot(".") }
    let result = Result { try body() }
    try system("leave another root") { fchdir(back) }
    try system("leave another root") { chroot(".") }
    try system("go back") { fchdir(before) }
    return try result.get()
}
