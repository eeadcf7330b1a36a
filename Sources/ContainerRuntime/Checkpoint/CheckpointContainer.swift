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
    do {
        var options = options
        options.carried.formUnion(
            try EngineConfiguration.read(annotations: container.state.annotations, logger: work.logger))
        let request = try request(container, isPaused: status == .paused, options, work.logger)
        let statistics = try checkpoint(request, into: images.directory)
        try images.publish()
        try work.save(
            .statsDump,
            .with {
                $0.dump = .with {
                    $0.freezingTime = UInt32(clamping: statistics.freezing)
                    $0.frozenTime = UInt32(clamping: statistics.frozen)
                    $0.memdumpTime = UInt32(clamping: statistics.memoryDump)
                    $0.memwriteTime = UInt32(clamping: statistics.memoryWrite)
                    $0.pagesScanned = statistics.pagesScanned
                    $0.pagesSkippedParent = 0
                    $0.pagesWritten = statistics.pagesWritten
                    $0.pagesLazy = 0
                }
            })
        work.logger.info(
            "dumped \(statistics.pagesWritten) pages; the container stood still for \(statistics.frozen) us")
    } catch {
        images.abandon()
        work.logger.error("\(error)")
        throw RuntimeError("checkpoint of container \(container.id) failed", because: error)
    }
    if let descriptor = options.statusDescriptor {
        try launching { () throws(SystemError) in try writeAll(descriptor, [0]) }
    }
    if !options.leaveRunning { try container.destroy() }
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
    return CheckpointRequest(
        container: container.id, firstProcess: container.state.initPid, members: { try cgroups.processes() },
        isPaused: isPaused, thaw: { try cgroups.thaw() }, refreeze: { try cgroups.freeze() },
        leaveRunning: options.leaveRunning, externalDescriptors: container.state.externalDescriptors,
        hostMounts: Set(hostMounts.map(\.destination)), hasTerminal: spec.process?.terminal == true,
        options: options.carried, logger: logger)
}

/// Much of what the engine asks the kernel for counts only with capabilities in the first user namespace.
func needHostRights(_ what: String) throws(RuntimeError) {
    guard try Rootless.hasRights(), !Rootless.isMapped else {
        throw RuntimeError("\(what) failed: it needs the rights of the host's root; rootless it is not supported yet")
    }
}

extension Mount {
    /// Whether it shows files of the host.
    var isBind: Bool { type == "bind" || options.contains("bind") || options.contains("rbind") }
}
