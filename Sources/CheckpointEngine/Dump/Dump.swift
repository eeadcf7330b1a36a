import CheckpointImages
import LinuxSystem
import Tracee

/// What is collected of a container that stands still, entry by entry, in memory.
final class Dump {
    let files: OpenFiles
    let externalDescriptors: [String]
    /// Those of processes that `exec` put in.
    var guestStreams: Set<String> = []
    let options: DumpOptions
    /// The container's root directory.
    let root: OwnedDescriptor
    /// The mounts that the container sees, and their ids.
    let mounts: [MountLine]
    var mountIDs: Set<Int>
    /// What has become of those with which the container's program started.
    private(set) var mountChanges: MountChanges?
    let first: CapturedProcess
    /// That of all processes.
    let userNamespace: UserNamespace
    let processes: [CapturedProcess]
    /// Whether config.json gives the container a terminal.
    let hasTerminal: Bool

    /// Where the images go.
    let directory: CInt
    let request: CheckpointRequest
    /// The names that config.json gives to a UTS namespace of the container's own.
    let configuredNames: HostNames?
    private let states: KindStates
    private var streams: [String: ImageStream]
    var account = Account()
    var images: ImageSet
    var pages: PageDump
    let usableCPUs: String?
    /// The process tree, and the first process's kernel objects.
    var tree: [PstreeEntry] = []
    var rootIDs: TaskKobjIdsEntry?
    /// The highest id given for each kind of kernel object.
    var seen: [SharedObject: UInt32] = [:]
    /// Of each memory that processes have.
    var mappings: [UInt32: [VmaEntry]] = [:]
    var memories: [UInt32: (stream: Int, guards: [Range<UInt64>])] = [:]
    /// Ids of such that single threads have.
    var ofThreads: [SharedObject: Set<UInt32>] = [:]
    private var listeners: [UInt32: AgentListener] = [:]
    private var objectIDs: [SharedObject: (known: KernelOrder<(task: pid_t, id: UInt32)>, count: UInt32)] = [:]
    /// The groups of the processes by their ids outside.
    private(set) lazy var innerGroups = Dictionary(
        processes.compactMap { process in
            (try? process.status.stat(5)).map { ($0, process.status.innerGroup) }
        }, uniquingKeysWith: { first, _ in first })
    /// What the container calls its processes, by their ids outside.
    private(set) lazy var innerPids = Dictionary(
        processes.map { ($0.hostPid, $0.pid) }, uniquingKeysWith: { first, _ in first })
    private var namespaceIDs: [String: UInt32] = [:]

    /// - Parameter directory: where the images go.
    init(
        first: CapturedProcess, processes: [CapturedProcess], request: CheckpointRequest, states: KindStates,
        parents: ParentChain?, directory: CInt
    ) throws {
        self.directory = directory
        pages = PageDump(parents: parents)
        self.request = request
        self.states = states
        configuredNames = request.hostNames
        images = ImageSet(early: directory)
        let files = try ImageStream(.files, in: directory)
        streams = [files.name: files]
        self.files = OpenFiles(files)
        options = request.options
        hasTerminal = request.hasTerminal
        usableCPUs = request.usableCPUs
        self.first = first
        userNamespace = try UserNamespace(of: first.hostPid)
        self.processes = processes
        externalDescriptors = request.externalDescriptors
        root = try openAt(AT_FDCWD, "/proc/\(first.hostPid)/root", CLINUX_O_PATH | O_DIRECTORY)
        let mountInfo = try readText("/proc/\(first.hostPid)/mountinfo")
        mounts = MountLine.all(in: mountInfo)
        mountIDs = Set(mounts.map(\.id))
        mountChanges = try Self.mountChanges(mountInfo, request)
    }

    private static func mountChanges(
        _ mountInfo: String, _ request: CheckpointRequest, isAsked: Bool = false
    ) throws -> MountChanges? {
        try request.start.flatMap {
            try MountTable.changes(mountInfo, since: $0, isAsked: isAsked) { try MountLine.all(of: "self") }
        }
    }

    /// What other namespaces' mounts are held against: ``mountChanges``, though nothing has become of them. `nil` if nobody
    /// knows how they were.
    func askForMountChanges() throws -> MountChanges? {
        if mountChanges == nil {
            let mountInfo = try readText("/proc/\(first.hostPid)/mountinfo")
            mountChanges = try Self.mountChanges(mountInfo, request, isAsked: true)
        }
        return mountChanges
    }

    /// What a kind remembers of this container.
    subscript<K: Kind>(kind: K.Type) -> K.DumpState { states[dump: kind] }

    /// An image that grows while the container is captured.
    func stream(_ kind: ImageKind) throws -> ImageStream {
        try stream(kind.fileName()) { try ImageStream(kind, in: directory) }
    }

    /// One without magic and entries.
    func stream(raw name: String) throws -> ImageStream {
        try stream(name) { try ImageStream(raw: name, in: directory) }
    }

    private func stream(_ name: String, _ make: () throws -> ImageStream) rethrows -> ImageStream {
        if let known = streams[name] { return known }
        let made = try make()
        streams[name] = made
        return made
    }

    /// Adds the streams, which are complete.
    func endStreams() throws {
        for (_, stream) in streams.sorted(by: { $0.key < $1.key }) { try images.add(stream) }
    }

    /// Where the agents of all processes in one network namespace report.
    func agentListener(for process: CapturedProcess) throws -> AgentListener {
        let network = try namespaceID("net", of: process.task)
        if let known = listeners[network] { return known }
        let made = try inNamespace(.network, of: process.task) { try AgentListener() }
        listeners[network] = made
        return made
    }

    /// A number for a kernel object that tasks may share: equal if and only if it is the same.
    func objectID(_ object: SharedObject, of task: pid_t) throws -> UInt32 {
        var (known, count) = objectIDs.removeValue(forKey: object) ?? (KernelOrder(), 0)
        let found = try known.value({ try compareObjects(object.rawValue, of: task, with: $0.task) }) {
            count += 1
            return (task, count)
        }
        objectIDs[object] = (known, count)
        return found.id
    }

    /// A number for a namespace, by its file in /proc/PID/ns.
    func namespaceID(_ file: String, of task: pid_t) throws -> UInt32 {
        let target = try linkTarget("/proc/\(task)/ns/\(file)")
        if let known = namespaceIDs[target] { return known }
        let id = UInt32(namespaceIDs.count) + 1
        namespaceIDs[target] = id
        return id
    }

    /// The number of one in which a process is, by what its file in /proc/PID/ns points at.
    func knownNamespace(_ link: String) -> UInt32? { namespaceIDs[link] }
}

/// Does something in new namespaces, and comes back.
func inNewNamespaces<R>(_ kinds: Namespaces, _ body: () throws -> R) throws -> R {
    let home = try Namespaces.files.filter { kinds.contains($0.kind) }.map {
        ($0.kind, try openAt(AT_FDCWD, "/proc/thread-self/ns/\($0.file)", O_RDONLY).release())
    }
    defer { for (_, descriptor) in home { close(descriptor) } }
    try leaveNamespaces(kinds)
    let result = Result { try body() }
    for (kind, descriptor) in home { try joinNamespaces(descriptor, kind) }
    return try result.get()
}

/// Does something in another process's namespace of one kind, and comes back.
func inNamespace<R: ~Copyable>(_ kind: Namespaces, of task: pid_t, _ body: () throws -> R) throws -> R {
    guard let file = Namespaces.files.first(where: { $0.kind == kind })?.file else { return try body() }
    let home = try openAt(AT_FDCWD, "/proc/thread-self/ns/\(file)", O_RDONLY)
    let there = try openAt(AT_FDCWD, "/proc/\(task)/ns/\(file)", O_RDONLY)
    try joinNamespaces(there.raw, kind)
    let result: R
    do { result = try body() } catch {
        try joinNamespaces(home.raw, kind)
        throw error
    }
    try joinNamespaces(home.raw, kind)
    return result
}
