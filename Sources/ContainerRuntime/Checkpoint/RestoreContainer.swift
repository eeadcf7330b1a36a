import Cgroups
import CheckpointEngine
import CheckpointImages
import LinuxSystem
import OCISpec

/// `restore`: creates the container anew from its bundle, and brings the checkpoint to life in it.
///
/// - Returns: the status that the command exits with: 0 when detached, otherwise the restored first process's.
package func restoreContainer(id: String, options: RestoreOptions) throws(RuntimeError) -> CInt {
    try needHostRights("restore of container \(id)")
    // Before the work directory is made, which may be the same.
    _ = try restoring(id) { try openImages(options.imagePath) }.directory.raw
    let work = try WorkDirectory(options.workPath, name: "restore")
    let logger = work.logger
    do throws(RuntimeError) {
        let restored = try restore(id, options, work)
        if options.detach { return 0 }
        let code = try launching { () throws(SystemError) in
            try AttachedSession(pid: restored.pid, pidfd: restored.pidfd.raw, terminal: restored.terminal).run()
        }
        try Container(restored.state, in: StateStore(root: options.stateRoot)).destroy()
        return code
    } catch {
        logger.error("\(error)")
        throw error
    }
}

private func restore(
    _ id: String, _ options: RestoreOptions, _ work: borrowing WorkDirectory
) throws(RuntimeError) -> StartedContainer {
    var request = try CreateRequest(
        id: id, stateRoot: options.stateRoot, bundle: options.bundle, firstProcess: .restored)
    do { try request.spec.validate() } catch { throw RuntimeError("\(error)") }
    let hasTerminal = request.spec.process?.terminal == true
    try checkConsole(hasTerminal: hasTerminal, socket: options.consoleSocket, detach: options.detach)
    request.consoleSocket = options.consoleSocket
    try options.overrideLabels(of: &request.spec)
    let plan = try restoring(id) {
        let opened = try openImages(options.imagePath)
        let images = try RestoreImages(
            try opened.directory.duplicate(), isInside: opened.isOlder, parentPath: options.parentPath)
        if let offsets = try images.clockOffsets() {
            request.clockOffsets = ClockOffsets(monotonic: offsets.monotonic, boottime: offsets.boottime)
        }
        var carried = options.carried
        carried.formUnion(try EngineConfiguration.read(annotations: request.spec.annotations, logger: work.logger))
        var policy = try policy(request.spec, limits: try ProcessLimits.inherited())
        policy.overridesProfile = options.lsmProfile?.hasPrefix("apparmor:") == true
        return try Restore(images: images, policy: policy, options: carried, logger: work.logger)
    }
    request.pid = plan.firstPid == 1 ? nil : plan.firstPid
    request.connectionLock = plan.connectionLock
    request.pidFile = options.pidFile
    request.noPivot = options.noPivot
    request.cgroupManager = options.cgroupManager
    request.preservedDescriptors = options.preservedDescriptors
    if !options.detach {
        request.signals = SignalMask.blockAll()
        if !options.noSubreaper { try launching { () throws(SystemError) in try CallingProcess.setSubreaper(true) } }
    }
    var staged = try createContainer(request)
    do throws(RuntimeError) {
        let pid = staged.pid
        let given = [0, 1, 2] + options.preservedDescriptors
        let streams = (0...(given.max() ?? 2)).map { given.contains($0) ? $0 : -1 }
        let cgroups = staged.state.cgroups.paths
        // Mounts and network are those of config.json before the engine changes any.
        let store = StateStore(root: options.stateRoot)
        try store.recordMounts(of: id, pid)
        try store.recordNetwork(of: id, pid, request.spec, except: plan.connectionLock)
        let statistics = try restoring(id) { try plan.prepare(in: pid, cgroups: cgroups, streams: streams) }
        try staged.publish()
        try restoring(id) { try plan.release() }
        plan.connectionLock.remove()
        try staged.runHooks(request.spec.hooks?.poststart ?? [])
        work.unlessItFails { () throws(RuntimeError) in try work.save(.statsRestore, statistics.entry) }
    } catch {
        plan.abandon(staged.pid)
        if OutOfMemoryWatch.kills(in: staged.state.cgroups) > 0 {
            throw staged.abandon(because: RuntimeError(tooLittleMemory(id, error.message)))
        }
        throw staged.abandon(because: error)
    }
    return staged.settle()
}

private func tooLittleMemory(_ id: String, _ what: String) -> String {
    """
    restore of container \(id) failed: its memory limit is too low for what it held (\(what)); \
    raise linux.resources.memory in config.json
    """
}

extension RestoreStatistics {
    fileprivate var entry: StatsEntry {
        .with {
            $0.restore = .with {
                $0.pagesCompared = 0
                $0.pagesSkippedCow = 0
                $0.forkingTime = UInt32(clamping: forking)
                $0.restoreTime = UInt32(clamping: total)
                $0.pagesRestored = pagesRestored
            }
        }
    }
}

private struct OpenedImages: ~Copyable {
    let directory: OwnedDescriptor
    /// Whether it lies in the image directory, which has none of its own.
    let isOlder: Bool
}

private func openImages(_ path: String) throws -> OpenedImages {
    do throws(SystemError) {
        let top = try openAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY)
        let inode = try status(of: top.raw).st_ino
        let directory = ImageDestination.checkpoint(in: top)
        let isOlder = try status(of: directory.raw).st_ino != inode
        return OpenedImages(directory: directory, isOlder: isOlder)
    } catch {
        throw RuntimeError("image directory \(path): \(error.errno.description)")
    }
}

/// What the configuration grants; see ``RestorePolicy``.
///
/// - Parameter limits: of a process about which it says nothing.
func policy(_ spec: Spec, limits inherited: ProcessLimits) throws -> RestorePolicy {
    let process = spec.process
    let sets = process?.capabilities
    let names = sets.map { $0.bounding + $0.effective + $0.permitted + $0.inheritable + $0.ambient } ?? []
    let filter = try SeccompFilter(spec.linux?.seccomp)
    guard filter?.notifies != true else {
        throw RuntimeError("a seccomp filter with SCMP_ACT_NOTIFY cannot be restored yet")
    }
    let user = process?.user ?? User()
    var policy = RestorePolicy(
        capabilities: CapabilityNames.mask(names), noNewPrivileges: process?.noNewPrivileges ?? false,
        seccomp: filter.map { SeccompPolicy(program: $0.program, flags: UInt64($0.flags)) }, user: user.uid,
        group: user.gid, groups: Set([user.gid] + user.additionalGids), limits: limits(process, inherited),
        memoryMounts: spec.memoryMounts,
        hasTerminal: process?.terminal == true, userNamespace: userNamespace(spec.linux))
    policy.givesRealTimeIO = process?.ioPriority?.class == .realTime
    policy.makesHostName = spec.makes(.uts)
    policy.makesIPC = spec.makes(.ipc)
    policy.makesMounts = spec.makes(.mount)
    policy.writesCgroups = spec.writesCgroups
    policy.parameterNamespaces = spec.parameterNamespaces
    policy.configuresNetwork = spec.configuresNetwork
    policy.profile = process?.apparmorProfile.flatMap { $0.isEmpty ? nil : $0 }
    return policy
}

/// What the first process is born with.
private func limits(_ process: Process?, _ inherited: ProcessLimits) -> ProcessLimits {
    var limits = inherited
    for limit in process?.rlimits ?? [] {
        guard let resource = ResourceLimit.resources[limit.type] else { continue }
        limits.hard[Int(resource)] = limit.hard
        limits.named.insert(Int(resource))
    }
    if let adjustment = process?.oomScoreAdj { limits.memoryPressure = Int32(clamping: adjustment) }
    if let scheduler = process?.scheduler {
        limits.nice = min(0, scheduler.nice ?? 0)
        let isRealTime = [.fifo, .roundRobin].contains(scheduler.policy)
        limits.realTime = isRealTime ? UInt32(clamping: scheduler.priority ?? 0) : 0
    }
    return limits
}

/// What the configuration makes; `nil` if it joins one.
private func userNamespace(_ linux: Linux?) -> UserNamespace? {
    guard let linux, let namespace = linux.namespaces.first(where: { $0.type == .user }) else { return .own }
    if namespace.path?.isEmpty == false { return nil }
    func map(_ mappings: [IDMapping]) -> [UserNamespace.Extent] {
        mappings.map { UserNamespace.Extent(inner: $0.containerID, outer: $0.hostID, count: $0.size) }
    }
    return UserNamespace(users: map(linux.uidMappings), groups: map(linux.gidMappings))
}

/// The engine's errors, as the command's.
private func restoring<R: ~Copyable>(_ id: String, _ body: () throws -> R) throws(RuntimeError) -> R {
    do { return try body() } catch { throw RuntimeError("restore of container \(id) failed", because: error) }
}
