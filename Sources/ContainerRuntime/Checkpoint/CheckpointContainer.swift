import CheckpointEngine
import CheckpointImages
import LinuxSystem
import Logging
import OCISpec

/// `checkpoint`: puts the container into the image directory, and ends it unless it shall go on.
package func checkpointContainer(_ container: Container, options: CheckpointOptions) throws(RuntimeError) {
    let lock = try container.store.lock(container.id)
    defer { _ = lock.path }
    let status = container.status()
    guard status == .running || status == .paused else {
        throw RuntimeError("Container cannot be checkpointed in \(status.rawValue) state")
    }
    try needHostRights("checkpoint of container \(container.id)")
    let images = try ImageDestination(options.imagePath)
    let work = try WorkDirectory(options.workPath, name: "dump")
    let statistics: CheckpointStatistics
    // A limit on files (RLIMIT_FSIZE) is an error of the write then.
    let signals = SignalMask.block(SIGXFSZ)
    defer {
        SignalMask.take(SIGXFSZ)
        signals.restore()
    }
    do {
        var options = options
        options.carried.formUnion(
            try EngineConfiguration.read(annotations: container.state.annotations, logger: work.logger))
        let request = try request(container, isPaused: status == .paused, options, work.logger)
        if options.preDump {
            statistics = try preDump(request, into: images.directory) { try images.publish() }
        } else {
            statistics = try checkpoint(request, into: images.directory) {
                try rehearse(images.directory, container, options.carried, work.logger)
                try images.publish()
            }
        }
    } catch {
        images.abandon()
        work.logger.error("\(error)")
        throw RuntimeError("checkpoint of container \(container.id) failed", because: error)
    }
    // The checkpoint is complete and the container may be gone: nothing makes it a failure any more.
    let unchanged = statistics.pagesUnchanged > 0 ? ", \(statistics.pagesUnchanged) are as in a parent" : ""
    let pages = "dumped \(statistics.pagesWritten) pages\(unchanged)"
    work.logger.info("\(pages); the container stood still for \(statistics.frozen) us")
    work.unlessItFails { () throws(RuntimeError) in try images.finish() }
    work.unlessItFails { () throws(RuntimeError) in try work.save(.statsDump, statistics.entry) }
    if let descriptor = options.statusDescriptor {
        work.unlessItFails { () throws(RuntimeError) in
            try launching("status descriptor") { () throws(SystemError) in try writeAll(descriptor, [0]) }
        }
    }
    SignalMask.take(SIGXFSZ)
    signals.restore()
    if !options.leaveRunning && !options.preDump { try container.destroy() }
}

extension CheckpointStatistics {
    fileprivate var entry: StatsEntry {
        .with {
            $0.dump = .with {
                $0.freezingTime = UInt32(clamping: freezing)
                $0.frozenTime = UInt32(clamping: frozen)
                $0.memdumpTime = UInt32(clamping: memoryDump)
                $0.memwriteTime = UInt32(clamping: memoryWrite)
                $0.pagesScanned = pagesScanned
                $0.pagesSkippedParent = pagesUnchanged
                $0.pagesWritten = pagesWritten
                $0.pagesLazy = 0
            }
        }
    }
}

/// Plans the restore with the container's own configuration, as `restore` does: what it would refuse is refused while the
/// container lives. What this machine and the caller of `restore` give at that time is not judged here.
private func rehearse(
    _ directory: borrowing OwnedDescriptor, _ container: Container, _ carried: DumpOptions, _ logger: Logger
) throws {
    let spec = try container.store.loadConfiguration(container.id)
    do {
        _ = try Restore(
            images: try RestoreImages(try directory.duplicate(), isInside: true),
            policy: try policy(spec, limits: .most), options: carried, logger: logger)
    } catch {
        throw RuntimeError("it could not be restored with its own config.json", because: error)
    }
}

private func request(
    _ container: Container, isPaused: Bool, _ options: CheckpointOptions, _ logger: Logger
) throws(RuntimeError) -> CheckpointRequest {
    let cgroups = container.state.cgroups
    var spec = try container.store.loadConfiguration(container.id)
    spec.stripRoot(container.state.rootfs)
    // The tmpfs in which cgroups are mounted is made by the runtime; without `ro`, as docker asks in user namespaces, it
    // would pass for the container's own.
    let hostMounts = spec.mounts.filter { $0.isBind || $0.type == "cgroup" }
    var request = CheckpointRequest(
        container: container.id, firstProcess: container.state.initPid, members: { try cgroups.processes() },
        isPaused: isPaused, thaw: { try cgroups.thaw() }, refreeze: { try cgroups.freeze() },
        leaveRunning: options.leaveRunning, externalDescriptors: container.state.externalDescriptors,
        hostMounts: Set(hostMounts.map(\.destination)), hasTerminal: spec.process?.terminal == true,
        options: options.carried, logger: logger)
    request.parentPath = options.parentPath
    request.usableCPUs = cgroups.usableCPUs()
    request.cgroups = cgroups.paths
    request.writesCgroups = spec.writesCgroups
    request.makesIPC = spec.makes(.ipc)
    request.parameterNamespaces = spec.parameterNamespaces
    request.makesNetwork = spec.makes(.network)
    request.memoryMounts = spec.memoryMounts
    request.devices = DeviceNodes.made(by: spec)
    request.start = try container.store.loadStart(container.id, spec)
    if request.start == nil { logger.warning("what the container started with is not known; changes are not noticed") }
    if spec.makes(.uts) {
        // What it does not name is inherited from here.
        let here = try launching { () throws(SystemError) in try HostNames.current() }
        request.hostNames = HostNames(
            host: spec.hostname.flatMap { $0.isEmpty ? nil : $0 } ?? here.host,
            domain: spec.domainname.flatMap { $0.isEmpty ? nil : $0 } ?? here.domain)
    }
    return request
}

/// Much of what the engine asks the kernel for counts only with capabilities in the first user namespace.
func needHostRights(_ what: String) throws(RuntimeError) {
    guard try Rootless.hasRights(), !Rootless.isMapped else {
        throw RuntimeError("\(what) failed: it needs the rights of the host's root; rootless it is not supported yet")
    }
}

extension Spec {
    /// Whether a process can write to cgroups.
    var writesCgroups: Bool {
        mounts.contains { mount in
            let source = mount.source ?? ""
            let isBound = source.hasPrefix("/sys/fs/cgroup") || ["/", "/sys", "/sys/fs"].contains(source)
            return (mount.type?.hasPrefix("cgroup") == true || isBound) && !mount.options.contains("ro")
        }
    }

    /// Where a tmpfs of the container's own is mounted.
    var memoryMounts: Set<String> { Set(mounts.filter { $0.type == "tmpfs" && !$0.isBind }.map(\.destination)) }
}

extension Mount {
    /// Whether it shows files of the host.
    var isBind: Bool { type == "bind" || options.contains("bind") || options.contains("rbind") }
}
