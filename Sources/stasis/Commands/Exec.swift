import ArgumentParser
import ContainerRuntime
import LinuxSystem
import OCISpec

struct Exec: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec", abstract: "Execute new process inside the container.")

    @Option(help: "Unix socket that gets the terminal's master.") var consoleSocket: String?
    @Option(help: "Unix socket that gets a pidfd of the process.") var pidfdSocket: String?
    @Option(help: "Current working directory in the container.") var cwd: String?
    @Option(name: .shortAndLong, help: "Set environment variables.") var env: [String] = []
    @Flag(name: .shortAndLong, help: "Allocate a pseudo-TTY.") var tty = false
    @Option(name: .shortAndLong, help: "UID (format: <uid>[:<gid>]).") var user: String?
    @Option(name: [.customShort("g"), .long], help: "Additional gids.") var additionalGids: [String] = []
    @Option(name: .shortAndLong, help: "Path to the process.json.") var process: String?
    @Flag(name: .shortAndLong, help: "Detach from the container's process.") var detach = false
    @Option(help: "File to write the process id to.") var pidFile: String?
    @Option(help: "Set the SELinux process label.") var processLabel: String?
    @Option(help: "Set the AppArmor profile for the process.") var apparmor: String?
    @Flag(help: "Set the no new privileges value for the process.") var noNewPrivs = false
    @Option(name: .shortAndLong, help: "Add a capability to the bounding set for the process.") var cap: [String] = []
    @Option(help: "Pass N additional file descriptors to the container.") var preserveFds: CInt = 0
    @Option(help: "Run the process in an (existing) sub-cgroup, [<controller>:]<cgroup>.") var cgroup: [String] = []
    @Flag(help: "Allow exec in a paused container.") var ignorePaused = false
    @OptionGroup var id: ContainerArgument
    @Argument(help: "The program and its arguments.") var arguments: [String] = []

    static func read(_ values: FlagValues) -> Self {
        var command = Self()
        command.consoleSocket = values["console-socket"]
        command.pidfdSocket = values["pidfd-socket"]
        command.cwd = values["cwd"]
        command.env = values.list("env")
        command.tty = values.isOn("tty")
        command.user = values["user"]
        command.additionalGids = values.list("additional-gids")
        command.process = values["process"]
        command.detach = values.isOn("detach")
        command.pidFile = values["pid-file"]
        command.processLabel = values["process-label"]
        command.apparmor = values["apparmor"]
        command.noNewPrivs = values.isOn("no-new-privs")
        command.cap = values.list("cap")
        command.preserveFds = values.number("preserve-fds") ?? 0
        command.cgroup = values.list("cgroup")
        command.ignorePaused = values.isOn("ignore-paused")
        command.id = ContainerArgument.read(values)
        command.arguments = Array(values.arguments.dropFirst())
        return command
    }

    func perform(_ runtime: Runtime) throws -> CInt {
        do throws(RuntimeError) {
            return try failing(as: "exec") { () throws(RuntimeError) in
                let container = try runtime.container(id.containerID)
                return try container.exec(try request(for: container))
            }
        } catch {
            // So that callers can tell it from a program that ended with 1.
            throw RuntimeError(error.message, exitCode: 255)
        }
    }

    private func request(for container: Container) throws(RuntimeError) -> ExecRequest {
        let sockets = SocketActivation(variable: environmentVariable)
        var request = ExecRequest(process: try requestedProcess(container))
        request.detach = detach
        request.consoleSocket = consoleSocket.nonEmpty
        request.pidfdSocket = pidfdSocket.nonEmpty
        request.pidFile = try pidFile.nonEmpty.map(absolute)
        request.preservedDescriptors = openDescriptors(preserveFds + sockets.count)
        request.extraEnvironment = sockets.environment
        request.cgroups = cgroup
        request.ignorePaused = ignorePaused
        return request
    }

    private func requestedProcess(_ container: Container) throws(RuntimeError) -> Process {
        if let path = process.nonEmpty {
            var process = try ExecOverrides.readProcess(path)
            // podman asks for a terminal in both places.
            if tty { process.terminal = true }
            return process
        }
        guard let base = try container.store.loadConfiguration(container.id).process else {
            throw RuntimeError("config.json: process: missing")
        }
        var overrides = ExecOverrides()
        overrides.arguments = arguments
        overrides.cwd = cwd.nonEmpty
        overrides.environment = env
        overrides.terminal = tty
        overrides.user = user.nonEmpty
        overrides.additionalGroups = additionalGids
        overrides.processLabel = processLabel.nonEmpty
        overrides.apparmor = apparmor.nonEmpty
        overrides.noNewPrivileges = noNewPrivs
        overrides.capabilities = cap
        return try overrides.apply(to: base)
    }
}
