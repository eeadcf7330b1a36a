import CheckpointImages
import LinuxSystem
import Logging
import Tracee

/// What to checkpoint, and how.
package struct CheckpointRequest {
    package var container: String
    /// The container's first process, as the engine sees it.
    package var firstProcess: pid_t
    /// The directories of the container's own cgroups, by controller; that of v2 under the empty name.
    package var cgroups: [String: String] = [:]
    /// Whether config.json mounts cgroups that a process can write to.
    package var writesCgroups = false
    /// Every process in the container's cgroup.
    package var members: () throws -> [pid_t]
    /// Whether the cgroup is frozen, to stay so.
    package var isPaused: Bool
    /// Lets tasks run that the freezer holds; they are under ptrace by then. And the way back.
    package var thaw: () throws -> Void
    package var refreeze: () throws -> Void
    package var leaveRunning: Bool
    /// The image directory of a checkpoint whose pages need not be written again, relative to that of this one.
    package var parentPath: String?
    package var externalDescriptors: [String]
    /// Where the container sees files of the host by bind mounts, and cgroups.
    package var hostMounts: Set<String>
    /// Whether the configuration gives the container a terminal.
    package var hasTerminal: Bool
    /// The names that the configuration gives to a UTS namespace of the container's own; nil if it has none.
    package var hostNames: HostNames?
    /// The CPUs of the container's cpuset, in the format of cpuset(7).
    package var usableCPUs: String?
    /// Nil if nobody knows any more.
    package var start: StartRecord?
    /// Where the configuration mounts a tmpfs.
    package var memoryMounts: Set<String> = []
    /// The device files that it makes.
    package var devices: [DeviceNode] = []
    /// Of those that config.json makes, the namespaces whose sysctls it lets a process change.
    package var parameterNamespaces: Namespaces = []
    /// Whether config.json makes an IPC namespace, in which everything is the container's.
    package var makesIPC = false
    /// Whether it makes the network namespace, which is gone with the container then.
    package var makesNetwork = true
    package var options: DumpOptions
    package var logger: Logger

    package init(
        container: String, firstProcess: pid_t, members: @escaping () throws -> [pid_t],
        isPaused: Bool, thaw: @escaping () throws -> Void, refreeze: @escaping () throws -> Void, leaveRunning: Bool,
        externalDescriptors: [String], hostMounts: Set<String>, hasTerminal: Bool, options: DumpOptions, logger: Logger
    ) {
        self.container = container
        self.firstProcess = firstProcess
        self.members = members
        self.isPaused = isPaused
        self.thaw = thaw
        self.refreeze = refreeze
        self.leaveRunning = leaveRunning
        self.externalDescriptors = externalDescriptors
        self.hostMounts = hostMounts
        self.hasTerminal = hasTerminal
        self.options = options
        self.logger = logger
    }
}

/// Times of a checkpoint, in microseconds, and its pages.
package struct CheckpointStatistics: Sendable {
    package var freezing: UInt64 = 0
    package var frozen: UInt64 = 0
    package var memoryDump: UInt64 = 0
    package var memoryWrite: UInt64 = 0
    package var pagesScanned: UInt64 = 0
    package var pagesWritten: UInt64 = 0
    /// Those that are as in a parent.
    package var pagesUnchanged: UInt64 = 0

    mutating func count(_ pages: PageDump) {
        pagesScanned = pages.pagesScanned
        pagesWritten = pages.pagesWritten
        pagesUnchanged = pages.pagesUnchanged
    }
}

/// Puts a running container into its image directory.
///
/// Phases: look (what is dear to read is read while it runs) → stop → collect → pages → let run again or keep standing →
/// write → publish → end. Until the end every failure lets the container go on as it was; the files that were written so far
/// are the caller's to remove. Where its programs only have to read something first, all of it is tried again (``Attempts``).
///
/// - Parameters:
///   - directory: a new one.
///   - publish: called with all images durable in `directory`, while the container stands still or goes on.
package func checkpoint(
    _ request: CheckpointRequest, into directory: borrowing OwnedDescriptor, publish: () throws -> Void
) throws -> CheckpointStatistics {
    var attempts = Attempts()
    while true {
        do { return try attempt(request, into: directory, publish: publish) } catch {
            try attempts.wait(after: error, of: request)
            try emptyDirectory(directory.raw, "image directory")
        }
    }
}

private func attempt(
    _ request: CheckpointRequest, into directory: borrowing OwnedDescriptor, publish: () throws -> Void
) throws -> CheckpointStatistics {
    var tasks: ContainerTasks?
    defer { tasks?.release() }
    do { return try capture(request, &tasks, into: directory, publish: publish) } catch {
        // While they are traced nobody else buries them.
        if let death = Death.first(of: request, tasks?.processes ?? []) { throw death }
        throw error
    }
}

/// - Parameter tasks: all of them, as long as they stand still.
private func capture(
    _ request: CheckpointRequest, _ tasks: inout ContainerTasks?, into directory: borrowing OwnedDescriptor,
    publish: () throws -> Void
) throws -> CheckpointStatistics {
    var statistics = CheckpointStatistics()
    let start = microseconds()
    if !request.isPaused { try Guest.awaitEnd(of: request) }
    var flags: [pid_t: [Range<UInt64>: MappingFlags]] = [:]
    for process in try request.members() { flags[process] = try? mappingFlags(of: process) }
    let states = KindStates()
    for kind in kinds { try kind.survey(request, into: states) }

    let stopping = microseconds()
    tasks = try ContainerTasks(of: request)
    let stopped = microseconds()
    statistics.freezing = stopped - stopping
    guard let running = tasks, let first = running.processes.first else {
        throw CheckpointError("container \(request.container) has no process")
    }
    request.logger.debug("\(running.processes.count) processes stand still after \(stopped - start) us")

    let dump = try Dump(
        first: first, processes: running.processes, request: request, states: states,
        parents: try request.parents(of: directory), directory: directory.raw)
    defer { request.logger.debug("\(dump.account)") }
    dump.guestStreams = try Guest.streams(of: running.processes, into: dump)
    for guest in running.processes where guest.isGuest {
        request.logger.warning(
            "\(guest) was put in by exec: it comes back as a child of the first process, and its streams lead to /dev/null"
        )
    }
    for kind in kinds { try dump.by(kind) { try kind.capture(request, into: dump) } }
    let captures = try running.processes.map { process in
        try about("\(process)") {
            var capture = ProcessCapture(process: process, dump: dump)
            try capture.look(flags: flags[process.hostPid] ?? [:])
            return capture
        }
    }
    for kind in kinds { try dump.by(kind) { try kind.gather(dump) } }
    for capture in captures { try about("\(capture.process)") { try capture.ask() } }
    for kind in kinds { try dump.by(kind) { try kind.seal(dump) } }

    let copying = microseconds()
    try dump.pages.write(into: directory.raw)
    statistics.memoryDump = microseconds() - copying
    if request.leaveRunning {
        for kind in kinds { try dump.by(kind) { try kind.resume(dump) } }
        running.release()
        tasks = nil
        statistics.frozen = microseconds() - stopping
    }
    let writing = microseconds()
    try dump.finish(running: first, container: request.container)
    try dump.images.write(into: directory)
    try publish()
    statistics.memoryWrite = microseconds() - writing
    if let standing = tasks {
        tasks = nil
        for kind in kinds { kind.end(dump) }
        standing.kill()
        for kind in kinds { kind.bury(dump) }
        statistics.frozen = microseconds() - stopping
    }
    statistics.count(dump.pages)
    return statistics
}

package func microseconds() -> UInt64 {
    var now = timespec()
    clock_gettime(1, &now)
    return UInt64(now.tv_sec) * 1_000_000 + UInt64(now.tv_nsec) / 1000
}
