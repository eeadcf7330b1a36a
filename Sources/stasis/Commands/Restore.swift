import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct Restore: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Restore a container from a previous checkpoint.")

    @Option(help: "Unix socket that gets the terminal's master.") var consoleSocket: String?
    @Option(help: "Path to the image files (default: checkpoint).") var imagePath: String?
    @Option(help: "Path for saving work files and logs (default: the image path).") var workPath: String?
    @Option(help: "Path of a previous image directory.") var parentPath: String?
    @Flag(help: "Allow open TCP connections.") var tcpEstablished = false
    @Flag(help: "Restore TCP connections as closed.") var tcpClose = false
    @Flag(help: "Allow external unix sockets.") var extUnixSk = false
    @Flag(help: "Allow shell jobs.") var shellJob = false
    @Flag(help: "Handle file locks.") var fileLocks = false
    @Option(help: "cgroups mode: soft, full, strict or ignore.") var manageCgroupsMode: String?
    @Option(name: .shortAndLong, help: "Path to the root of the bundle directory.") var bundle: String?
    @Flag(name: .shortAndLong, help: "Detach from the container's process.") var detach = false
    @Option(help: "File to write the process id to.") var pidFile: String?
    @Flag(help: "Do not reap reparented processes.") var noSubreaper = false
    @Flag(help: "Do not use pivot_root.") var noPivot = false
    @Option(help: "Create a namespace, but don't restore its properties.") var emptyNs: [String] = []
    @Flag(help: "Enable deduplication of memory images.") var autoDedup = false
    @Flag(help: "Restore memory pages on first touch.") var lazyPages = false
    @Option(help: "LSM profile in the form of TYPE:NAME.") var lsmProfile: String?
    @Option(help: "LSM mount context.") var lsmMountContext: String?
    @Option(help: "Pass N additional file descriptors to the container.") var preserveFds: CInt = 0
    @OptionGroup var id: ContainerArgument

    func perform(_ runtime: Runtime) throws -> CInt {
        try restoreContainer(id: id.containerID, options: try options(runtime))
    }

    private func options(_ runtime: Runtime) throws(RuntimeError) -> RestoreOptions {
        let images = try absolute(imagePath.nonEmpty ?? "checkpoint")
        var options = RestoreOptions(
            stateRoot: runtime.store.root, imagePath: images,
            workPath: try workPath.nonEmpty.map(absolute) ?? images, bundle: try absolute(bundle.nonEmpty ?? "."))
        options.parentPath = parentPath.nonEmpty
        options.consoleSocket = consoleSocket.nonEmpty
        options.pidFile = try pidFile.nonEmpty.map(absolute)
        options.detach = detach
        options.noPivot = noPivot
        options.noSubreaper = noSubreaper
        options.preservedDescriptors = openDescriptors(preserveFds)
        options.cgroupManager = runtime.cgroupManager
        options.carried.tcpEstablished = tcpEstablished
        options.carried.tcpClose = tcpClose
        options.carried.externalUnixSockets = extUnixSk
        options.carried.shellJob = shellJob
        options.carried.fileLocks = fileLocks
        options.autoDedup = autoDedup
        options.lazyPages = lazyPages
        options.carried.manageCgroupsMode = manageCgroupsMode.nonEmpty
        options.emptyNamespaces = emptyNs
        options.lsmProfile = lsmProfile.nonEmpty
        options.lsmMountContext = lsmMountContext.nonEmpty
        try options.refuseUnknown()
        return options
    }
}
