import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct Checkpoint: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkpoint", abstract: "Checkpoint a running container.")

    @Option(help: "Path for saving image files (default: checkpoint).") var imagePath: String?
    @Option(help: "Path for saving work files and logs (default: the image path).") var workPath: String?
    @Option(help: "Path of a previous image directory, relative to this one.") var parentPath: String?
    @Flag(help: "Leave the process running after checkpointing.") var leaveRunning = false
    @Flag(help: "Allow open TCP connections.") var tcpEstablished = false
    @Flag(help: "Let open TCP connections come back closed.") var tcpClose = false
    @Flag(help: "Skip connections that are being made.") var tcpSkipInFlight = false
    @Flag(help: "Allow unlinked files to be given a name.") var linkRemap = false
    @Flag(help: "Allow external unix sockets.") var extUnixSk = false
    @Flag(help: "Allow shell jobs.") var shellJob = false
    @Flag(help: "Serve memory pages to a lazy restore.") var lazyPages = false
    @Option(help: "Descriptor that gets a NUL once pages can be served.") var statusFd: CInt = -1
    @Option(help: "ADDRESS:PORT of the page server.") var pageServer: String?
    @Flag(help: "Handle file locks.") var fileLocks = false
    @Flag(help: "Dump memory only, leave the container running after this.") var preDump = false
    @Option(help: "Processes put in by exec: keep (default), end or refuse.") var execPolicy: String?
    @Option(help: "cgroups mode: soft, full, strict or ignore.") var manageCgroupsMode: String?
    @Option(help: "Create a namespace, but don't restore its properties.") var emptyNs: [String] = []
    @Flag(help: "Enable deduplication of memory images.") var autoDedup = false
    @OptionGroup var id: ContainerArgument

    func perform(_ runtime: Runtime) throws -> CInt {
        try checkpointContainer(try runtime.container(id.containerID), options: try options())
        return 0
    }

    private func options() throws(RuntimeError) -> CheckpointOptions {
        let images = try absolute(imagePath.nonEmpty ?? "checkpoint")
        var options = CheckpointOptions(imagePath: images, workPath: try workPath.nonEmpty.map(absolute) ?? images)
        options.parentPath = parentPath.nonEmpty
        options.leaveRunning = leaveRunning
        options.preDump = preDump
        options.carried.tcpEstablished = tcpEstablished
        options.carried.tcpClose = tcpClose
        options.carried.tcpSkipInFlight = tcpSkipInFlight
        options.carried.linkRemap = linkRemap
        options.carried.externalUnixSockets = extUnixSk
        options.carried.shellJob = shellJob
        options.lazyPages = lazyPages
        options.carried.fileLocks = fileLocks
        options.autoDedup = autoDedup
        options.statusDescriptor = statusFd < 0 ? nil : statusFd
        options.pageServer = pageServer.nonEmpty
        options.carried.manageCgroupsMode = manageCgroupsMode.nonEmpty
        options.emptyNamespaces = emptyNs
        if let execPolicy = execPolicy.nonEmpty, !options.carried.set("exec-policy", execPolicy) {
            throw RuntimeError("Invalid exec-policy value: \(execPolicy)")
        }
        try options.refuseUnknown()
        return options
    }
}

extension String? {
    /// Clients pass empty values for what they do not set.
    var nonEmpty: String? { self == "" ? nil : self }
}
