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
    let mountIDs: Set<Int>
    let first: CapturedProcess
    /// That of all processes.
    let userNamespace: UserNamespace
    let processes: [CapturedProcess]
    /// Whether config.json gives the container a terminal.
    let hasTerminal: Bool

    var pipes: [UInt32: Pipe.Ends] = [:]
    /// How much of it there is, the container decides.
    let pipeData: ImageStream
    let socketQueues: ImageStream
    let socketOptions: ImageStream
    /// Of the process that is looked at now.
    var peerQuestions: [PeerCredentials.Question] = []
    /// What sockets have that nobody has changed, by family, type and protocol.
    var freshOptions: [SIMD3<CInt>: [SocketOptionTable.Option: [UInt8]]] = [:]
    /// Where the images go.
    let directory: CInt
    var unixPeers: [UInt32: (peer: UInt32, holder: String, number: CInt)] = [:]
    var terminals: [TtyInfoEntry] = []
    var locks = FileLock.Collection()
    /// Names under which the container listens, and those of its accepted sockets.
    var unixListeners: Set<[UInt8]> = []
    var unixAccepted: [UInt32: [UInt8]] = [:]
    var unixMakers: [UInt32: PeerCredentials] = [:]
    /// What messages of each socket take that nobody has received yet, and those that were found in each queue.
    var unixSent: [UInt32: UInt32] = [:]
    var unixQueued: [UInt32: UInt32] = [:]
    /// What a message of this type and length takes.
    var messageSizes: [SIMD2<CInt>: UInt32] = [:]
    /// Datagram sockets with a name that are connected to nobody.
    var unixLetterboxes: Set<UInt32> = []
    var seccompFilters: [SeccompFilter] = []
    var seccompNumbers: [SeccompFilter: UInt32] = [:]
    var seccompSize: UInt64 = 0
    var images: ImageSet
    var pages = PageDump()
    /// The content of `tunables.stasis`.
    var tunables = ""
    let usableCPUs: String?
    /// The process tree, and the first process's kernel objects.
    var tree: [PstreeEntry] = []
    var rootIDs: TaskKobjIdsEntry?
    /// The highest id given for each kind of kernel object.
    var seen: [CInt: UInt32] = [:]
    private var listener: AgentListener?
    private var unixDiagnosis: [UInt32: UnixDiagnosis]?
    private var knownSignedListeners: Set<UInt32>?
    private var objectIDs: [CInt: (known: KernelOrder<(task: pid_t, id: UInt32)>, count: UInt32)] = [:]
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
        first: CapturedProcess, processes: [CapturedProcess], request: CheckpointRequest, directory: CInt
    ) throws {
        self.directory = directory
        images = ImageSet(early: directory)
        files = OpenFiles(try ImageStream(.files, in: directory))
        pipeData = try ImageStream(.pipesData, in: directory)
        socketQueues = try ImageStream(.socketQueues, in: directory)
        socketOptions = try ImageStream(raw: SocketOptionEntry.fileName, in: directory)
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
        if let start = request.start {
            try MountTable.verify(mountInfo, since: start) { try MountLine.all(of: "self") }
            if let network = start.network {
                try NetworkConfiguration.verify(try NetworkConfiguration.text(of: first.hostPid), since: network)
            }
        }
    }

    /// Unix sockets as the container's network namespace knows them; asked for once.
    func unixSockets() throws -> [UInt32: UnixDiagnosis] {
        if let unixDiagnosis { return unixDiagnosis }
        let told = try inNamespace(.network, of: first.hostPid) { try UnixDiagnosis.all() }
        unixDiagnosis = told
        return told
    }

    /// Listening TCP sockets with keys for signatures; asked for once.
    func signedListeners() throws -> Set<UInt32> {
        if let knownSignedListeners { return knownSignedListeners }
        let told = try inNamespace(.network, of: first.hostPid) { try InternetDiagnosis.signedListeners() }
        knownSignedListeners = told
        return told
    }

    /// Where the agents of all processes report. They are all in one network namespace.
    func agentListener() throws -> AgentListener {
        if let listener { return listener }
        let made = try inNamespace(.network, of: first.hostPid) { try AgentListener() }
        listener = made
        return made
    }

    /// A number for a kernel object that tasks may share (KCMP_VM, KCMP_FILES, …): equal if and only if it is the same.
    func objectID(_ kind: CInt, of task: pid_t) throws -> UInt32 {
        var (known, count) = objectIDs.removeValue(forKey: kind) ?? (KernelOrder(), 0)
        let object = try known.value({ try compareObjects(kind, of: task, with: $0.task) }) {
            count += 1
            return (task, count)
        }
        objectIDs[kind] = (known, count)
        return object.id
    }

    /// A number for a namespace, by its file in /proc/PID/ns.
    func namespaceID(_ file: String, of task: pid_t) throws -> UInt32 {
        let target = try linkTarget("/proc/\(task)/ns/\(file)")
        if let known = namespaceIDs[target] { return known }
        let id = UInt32(namespaceIDs.count) + 1
        namespaceIDs[target] = id
        return id
    }
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
