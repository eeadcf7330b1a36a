import ArgumentParser
import ContainerRuntime
import LinuxSystem
import OCISpec

/// What `create` and `run` share.
struct CreationOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "Path to the root of the bundle directory (default: the current directory).")
    var bundle: String?
    @Option(help: "Unix socket that gets the terminal's master.") var consoleSocket: String?
    @Option(help: "Unix socket that gets a pidfd of the container's process.") var pidfdSocket: String?
    @Option(help: "File to write the process id to.") var pidFile: String?
    @Flag(help: "Do not use pivot_root; for a root file system on top of a ramdisk.") var noPivot = false
    @Flag(help: "Do not create a new session keyring for the container.") var noNewKeyring = false
    @Option(help: "Pass N additional file descriptors to the container.") var preserveFds: CInt = 0

    func request(_ id: String, _ runtime: Runtime, _ first: FirstProcess) throws(RuntimeError) -> CreateRequest {
        try StateStore.validate(id)
        let sockets = SocketActivation(variable: environmentVariable)
        var request = try CreateRequest(
            id: id, stateRoot: runtime.store.root, bundle: bundle.nonEmpty ?? ".", firstProcess: first)
        do throws(SpecError) {
            try request.spec.validate()
        } catch {
            throw RuntimeError(error.description)
        }
        request.consoleSocket = consoleSocket.nonEmpty
        request.pidfdSocket = pidfdSocket.nonEmpty
        request.pidFile = try pidFile.nonEmpty.map(absolute)
        request.preservedDescriptors = openDescriptors(preserveFds + sockets.count)
        request.notifySocket = NotifySocket(
            host: environmentVariable("NOTIFY_SOCKET"), container: runtime.store.path(id))
        request.extraEnvironment = sockets.environment + (request.notifySocket?.environment ?? [])
        request.noPivot = noPivot
        request.noNewKeyring = noNewKeyring
        request.cgroupManager = runtime.cgroupManager
        request.rootless = runtime.rootless
        return request
    }
}

extension CreationOptions {
    static func read(_ values: FlagValues) -> Self {
        var options = Self()
        options.bundle = values["bundle"]
        options.consoleSocket = values["console-socket"]
        options.pidfdSocket = values["pidfd-socket"]
        options.pidFile = values["pid-file"]
        options.noPivot = values.isOn("no-pivot")
        options.noNewKeyring = values.isOn("no-new-keyring")
        options.preserveFds = values.number("preserve-fds") ?? 0
        return options
    }
}

/// Puts the command in front of its error, as runc does.
func failing<Result>(as command: String, _ body: () throws(RuntimeError) -> Result) throws(RuntimeError) -> Result {
    do {
        return try body()
    } catch {
        throw RuntimeError("\(command) failed: \(error.message)", exitCode: error.exitCode)
    }
}
