import CheckpointImages
import LinuxSystem
import Tracee

/// A kind of kernel object: one file in `Resources`, one line in ``kinds``, one workload, one row in `specs/support.md`.
///
/// Its requirements are the phases of a checkpoint and of a restore, in the order in which they run; most kinds have a part
/// in a few of them. What a kind must remember from one phase to another is its own, and found by its type:
/// `dump[Pipe.self]`, `workshop[Pipe.self]`.
protocol Kind: SendableMetatype {
    associatedtype DumpState: KindState = NoState
    associatedtype RestoreState: KindState = NoState

    /// Checkpoint: the container still runs. What is dear to read is read.
    static func survey(_ request: CheckpointRequest, into states: KindStates) throws
    /// Checkpoint: it stands still. What belongs to the container as a whole.
    static func capture(_ request: CheckpointRequest, into dump: Dump) throws
    /// Checkpoint: every process was looked at, and none is asked yet. What none of them may have open.
    static func gather(_ dump: Dump) throws
    /// Checkpoint: everything is captured. Refuses what lacks its other end, and adds images.
    static func seal(_ dump: Dump) throws
    /// Checkpoint: the container is about to go on.
    static func resume(_ dump: Dump) throws
    /// Checkpoint: the images are durable, and the container is about to be ended. Nothing makes it a failure any more.
    static func end(_ dump: Dump)
    /// Checkpoint: its processes are dead.
    static func bury(_ dump: Dump)

    /// Restore: nothing has been touched. Refuses what is no image of this kind, or what config.json does not give.
    static func plan(_ restore: RestorePlan) throws
    /// Restore: the container is created, and its first process waits in it.
    static func recreate(in workshop: Workshop) throws
    /// Restore: the container's first process is in the engine's hand, and the only one. What it makes around all of them.
    static func surround(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws
    /// Restore: the tree stands, and no process has a descriptor yet.
    static func furnish(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws
    /// Restore: all processes have their descriptors. What a task has to do itself.
    static func connect(_ plan: ProcessPlan, in workshop: Workshop, by runner: inout ProgramRunner) throws
    /// Restore: all processes have their memory and files. What would have been in their way, and what is told of each file that
    /// is opened.
    static func settle(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws
    /// Restore: a process has no more rights than it should, and the engine holds no file of the container's any more. What
    /// can send signals.
    static func arm(_ plan: ProcessPlan, in restore: RestorePlan, by runner: inout ProgramRunner) throws
    /// Restore: the container is known to others, and its processes are about to run.
    static func release(_ restore: RestorePlan) throws
}

extension Kind {
    static func survey(_ request: CheckpointRequest, into states: KindStates) throws {}
    static func capture(_ request: CheckpointRequest, into dump: Dump) throws {}
    static func gather(_ dump: Dump) throws {}
    static func seal(_ dump: Dump) throws {}
    static func resume(_ dump: Dump) throws {}
    static func end(_ dump: Dump) {}
    static func bury(_ dump: Dump) {}
    static func plan(_ restore: RestorePlan) throws {}
    static func recreate(in workshop: Workshop) throws {}
    static func surround(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {}
    static func furnish(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {}
    static func connect(_ plan: ProcessPlan, in workshop: Workshop, by runner: inout ProgramRunner) throws {}
    static func settle(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {}
    static func arm(_ plan: ProcessPlan, in restore: RestorePlan, by runner: inout ProgramRunner) throws {}
    static func release(_ restore: RestorePlan) throws {}
}

/// A kind of open file.
protocol FileKind: Kind {
    /// The entry for a file of this kind, `nil` for one of another. `id` is its number in the images.
    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry?
    /// Makes the open file in the engine, as the container will have it; `nil` for an entry of another kind.
    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor?
    /// All descriptors of the task that runs the program are in place; `number` is one of this file's.
    static func connect(
        _ entry: FileEntry, number: UInt32, in workshop: Workshop, by runner: inout ProgramRunner) throws
}

extension FileKind {
    static func connect(
        _ entry: FileEntry, number: UInt32, in workshop: Workshop, by runner: inout ProgramRunner
    ) throws {}
}

/// What an open file or a descriptor of any kind can have.
protocol FileAttribute: Kind {
    /// An open file that was met for the first time.
    static func capture(_ file: borrowing OpenFile, into entry: inout FileEntry, of dump: Dump) throws
    /// A descriptor of the open file with this id.
    static func captureDescriptor(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws
    /// As ``FileKind/connect(_:number:in:by:)``.
    static func connect(
        _ entry: FileEntry, number: UInt32, in workshop: Workshop, by runner: inout ProgramRunner) throws
}

extension FileAttribute {
    static func capture(_ file: borrowing OpenFile, into entry: inout FileEntry, of dump: Dump) throws {}
    static func captureDescriptor(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws {}
    static func connect(
        _ entry: FileEntry, number: UInt32, in workshop: Workshop, by runner: inout ProgramRunner
    ) throws {}
}

/// What a process or each of its threads has.
protocol ProcessKind: Kind {
    /// Adds questions about the process to the batch that its first thread runs.
    ///
    /// - Returns: what takes the answers.
    static func ask(_ process: CapturedProcess, in program: inout Program, of dump: Dump) -> ProcessAnswer?
    /// Adds questions to the batch that each thread runs.
    static func askThread(_ thread: CapturedThread, in program: inout Program, of dump: Dump) throws -> ThreadAnswer?
    /// Asks what takes batches of its own.
    static func ask(
        _ process: CapturedProcess, by session: AgentSession, into images: inout ProcessImages, of dump: Dump) throws
    /// Captures what can be seen from outside, when the agent has left and the threads stand as they were met.
    static func capture(_ process: CapturedProcess, into images: inout ProcessImages, of dump: Dump) throws
}

typealias ProcessAnswer = (Program.Results, inout ProcessImages) throws -> Void
/// While the agent is there. The last parameter is the thread's entry.
typealias ThreadAnswer = (Program.Results, inout CoreEntry) throws -> Void

extension ProcessKind {
    static func ask(_ process: CapturedProcess, in program: inout Program, of dump: Dump) -> ProcessAnswer? { nil }
    static func askThread(_ thread: CapturedThread, in program: inout Program, of dump: Dump) -> ThreadAnswer? { nil }
    static func ask(
        _ process: CapturedProcess, by session: AgentSession, into images: inout ProcessImages, of dump: Dump
    ) throws {}
    static func capture(_ process: CapturedProcess, into images: inout ProcessImages, of dump: Dump) throws {}
}

/// Every kind there is, each in the list of what it belongs to, in which it has its turn.
///
/// By `map`: arrays are converted by casts at run time, for each of which Swift searches all conformances of the program.
let kinds: [any Kind.Type] =
    containerKinds + fileKinds.map { $0 as any Kind.Type } + fileAttributes.map { $0 as any Kind.Type }
    + processKinds.map { $0 as any Kind.Type }

let containerKinds: [any Kind.Type] = [
    InnerNamespace.self, InnerMounts.self, FileNote.self, UserNamespace.self, HostName.self, NetworkInterfaceKind.self,
    KernelParameters.self, NetworkConfiguration.self, MadeMount.self, MemoryFileSystem.self,
    UnlinkedFile.self, MemoryMapping.self, SharedMemory.self, SystemVSegment.self, SystemVMessages.self,
    UnixSocketQueue.self, SocketOptionTable.self, SocketFilter.self,
    WaitingConnection.self, UDPQueue.self, QueuedConnection.self, TCPConnection.self,
]
/// The first that recognises a file has it.
let fileKinds: [any FileKind.Type] = [
    ExternalFile.self, Pipe.self, FIFO.self, EventFD.self, EventPoll.self, TimerFD.self, SignalFD.self, PidFD.self,
    Inotify.self, NamespaceFile.self, NamedUnixSocket.self, UnixSocketPair.self, TCPSocket.self,
    UDPSocket.self, RawSocket.self, PacketSocket.self, NetlinkPort.self, Pseudoterminal.self, ConsoleTerminal.self,
    MemFD.self, MessageQueue.self, IORing.self, RegularFile.self,
]
/// Of them, those that have descriptors which open nothing (O_PATH), whatever lies at the path.
let placeKinds: [any FileKind.Type] = [ExternalFile.self, RegularFile.self]
let fileAttributes: [any FileAttribute.Type] = [SignalOwner.self, FileLock.self]
let processKinds: [any ProcessKind.Type] = [
    ThreadState.self, InnerCgroup.self, ProcessAttributes.self, SignalActions.self, IntervalTimer.self, PosixTimer.self,
    Tunables.self,
    Clocks.self, SystemVSemaphores.self, ResourceLimits.self, LoginUser.self, Seccomp.self,
    PendingSignals.self, Registers.self, ExtendedState.self, RegisteredRing.self, Keyring.self,
    LocalDescriptorTable.self, LandlockDomain.self,
]

// MARK: State

/// What a kind remembers while one container is dumped or restored.
protocol KindState: AnyObject { init() }

final class NoState: KindState {}

/// The states of all kinds, each made when it is asked for first.
final class KindStates {
    private var states: [ObjectIdentifier: any KindState] = [:]

    func state<S: KindState>(of kind: any Kind.Type, _ type: S.Type) -> S {
        let key = ObjectIdentifier(kind)
        if let known = states[key] as? S { return known }
        let made = S()
        states[key] = made
        return made
    }

    /// Of the checkpoint.
    subscript<K: Kind>(dump kind: K.Type) -> K.DumpState { state(of: kind, K.DumpState.self) }
    /// Of the restore.
    subscript<K: Kind>(restore kind: K.Type) -> K.RestoreState { state(of: kind, K.RestoreState.self) }
}
