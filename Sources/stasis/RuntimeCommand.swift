import ArgumentParser
import ContainerRuntime
import LinuxSystem

/// One command of the program.
///
/// Declarations here say what flags mean, for help and completions; ``Invocation`` has read the command line by then.
protocol RuntimeCommand: ParsableCommand {
    /// Fills in the flags. A command whose start-up time counts does so by itself: ArgumentParser takes a millisecond.
    static func read(_ values: FlagValues) throws -> Self

    /// Returns what the program exits with.
    func perform(_ runtime: Runtime) throws -> CInt
}

extension RuntimeCommand {
    static func read(_ values: FlagValues) throws -> Self {
        guard let command = try parseAsRoot(values.words) as? Self else { throw RuntimeError("cannot read flags") }
        return command
    }
}

/// What every command works on.
struct Runtime {
    let store: StateStore
    let cgroupManager: CgroupManager
    let rootless: Rootless

    init(_ global: GlobalOptions) throws(RuntimeError) {
        let root = global.root ?? StateStore.defaultRoot(environment: environmentVariable)
        if root == "/" { throw RuntimeError("--root must not be /") }
        store = StateStore(
            root: root.hasPrefix("/") ? root : "\(try workingDirectory())/\(root)", isGiven: global.root != nil)
        rootless = try Rootless(global.rootless)
        let manager = global.cgroupManager.nonEmpty ?? "cgroupfs"
        guard let known = CgroupManager(rawValue: manager) else {
            throw RuntimeError("--cgroup-manager: \(manager) is none of cgroupfs, systemd, disabled")
        }
        cgroupManager = global.systemdCgroup ? .systemd : known
    }

    /// The container by its id, for commands that only look.
    func container(_ id: String) throws(RuntimeError) -> Container { try Container(id, in: store) }
}

/// The flags before the command.
struct GlobalOptions: ParsableArguments {
    @Flag(help: "Enable debug logging.") var debug = false
    @Option(help: "Set the log file to write logs to (default is '/dev/stderr').") var log: String?
    @Option(help: "Set the log format ('text' or 'json').") var logFormat = "text"
    @Option(help: "Root directory for storage of container state (default: /run/stasis).") var root: String?
    @Option(help: "Accepted for compatibility; the engine is built in.") var criu: String?
    @Flag(help: "Enable systemd cgroup support.") var systemdCgroup = false
    @Option(help: "Who makes cgroups: 'cgroupfs' (default), 'systemd', or 'disabled'.") var cgroupManager: String?
    @Option(help: "Ignore cgroup permission errors ('true', 'false', or 'auto').") var rootless = "auto"
}

extension GlobalOptions {
    static func read(_ values: FlagValues) -> Self {
        var options = Self()
        options.debug = values.isOn("debug")
        options.log = values["log"]
        options.logFormat = values["log-format"] ?? "text"
        options.root = values["root"]
        options.criu = values["criu"]
        options.systemdCgroup = values.isOn("systemd-cgroup")
        options.cgroupManager = values["cgroup-manager"]
        options.rootless = values["rootless"] ?? "auto"
        return options
    }
}

/// The container that most commands are about.
struct ContainerArgument: ParsableArguments {
    @Argument(help: "The name of the container instance, unique on this host.") var containerID: String
}

extension ContainerArgument {
    static func read(_ values: FlagValues) -> Self {
        var options = Self()
        options.containerID = values.arguments.first ?? ""
        return options
    }
}

/// A variable of the environment. An empty one counts as unset, since clients pass some that way.
func environmentVariable(_ name: String) -> String? {
    let prefix = name + "="
    return currentEnvironment().first { $0.hasPrefix(prefix) && $0 != prefix }.map {
        String($0.dropFirst(prefix.count))
    }
}

func workingDirectory() throws(RuntimeError) -> String {
    do {
        return try linkTarget("/proc/self/cwd")
    } catch {
        throw RuntimeError(error.description)
    }
}

/// Makes a path independent of the working directory.
func absolute(_ path: String) throws(RuntimeError) -> String {
    path.hasPrefix("/") ? path : "\(try workingDirectory())/\(path)"
}

/// For commands and flags that are declared but not there yet.
func notBuiltYet(_ what: String) -> RuntimeError { RuntimeError("\(what): not built yet") }
