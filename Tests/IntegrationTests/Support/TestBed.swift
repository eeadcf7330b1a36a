import Glibc
import Synchronization

/// A test's own corner of the machine: a folder, a runtime with its own state, and a token that marks all of it.
final class TestBed {
    let token: String
    let folder: String
    let runtime: Runtime
    var leakCheck: LeakCheck { LeakCheck(token: token, stateFolder: runtime.stateFolder) }

    private var containers: [Container] = []
    private static let count = Mutex(0)

    private static let leftoversAreSwept: Bool = {
        for name in Files.names(in: "/tmp") where name.hasPrefix("stasis-test-") {
            let parts = name.split(separator: "-")
            guard parts.count == 4, let pid = pid_t(parts[2]), !LeakCheck.lives(pid) else { continue }
            clear("/tmp/" + name, LeakCheck(token: name, stateFolder: "/tmp/\(name)/run"))
        }
        return true
    }()

    private init() throws(Failure) {
        guard Self.leftoversAreSwept else { throw Failure("cannot sweep") }  // of test runs that were killed
        let number = Self.count.withLock { count in
            count += 1
            return count
        }
        token = "stasis-test-\(getpid())-\(number)"
        folder = "/tmp/" + token
        runtime = Runtime(executable: Runtime.executableUnderTest, stateFolder: folder + "/run")
        try Files.makeFolder(folder)
    }

    /// Runs a test's body; whatever happens in it, nothing of it is left. What a passing body leaves is a failure.
    static func use(_ body: (TestBed) throws -> Void) throws {
        let bed = try TestBed()
        defer { clear(bed.folder, bed.leakCheck) }
        do {
            try body(bed)
        } catch {
            throw Failure("\(error)\(bed.logs())")
        }
        for container in bed.containers { try container.delete() }
        try bed.expectNoLeaks()
    }

    /// A container of this test; it does not run yet.
    func container(_ content: Bundle.Content, arguments: [String]) throws(Failure) -> Container {
        let id = "\(token)-c\(containers.count + 1)"
        let bundle = try Bundle(
            folder: "\(folder)/\(id)", token: token, content: content, arguments: arguments, runtime: runtime)
        return add(bundle, id: id)
    }

    func container(workload name: String, on library: Workload.Library = .ownMachine) throws(Failure) -> Container {
        let container = try container(.workload(name, library), arguments: ["/workload"])
        try Workload.adapt(container.bundle, to: name)
        let flags = Workload.remark("checkpoint", in: name) ?? ""
        container.checkpointFlags = flags.split(separator: " ").map(String.init)
        return container
    }

    func add(_ bundle: Bundle, id: String) -> Container {
        let container = Container(id: id, bundle: bundle, runtime: runtime)
        containers.append(container)
        return container
    }

    /// Runs the body beside a Python program of Tests/Workloads that says "ready" when it is.
    func withService(_ script: String, _ arguments: String..., body: () throws -> Void) throws {
        var command = Command(["python3", "-B", Workload.folder + "/" + script] + arguments)
        let said = folder + "/service.out"
        command.output = said
        var service = try command.start()
        defer { service.kill() }
        guard until(seconds: 20, { Files.text(of: said) == "ready\n" }) else {
            throw Failure("\(script) is not ready: \(Files.text(of: said) ?? "")")
        }
        try body()
    }

    /// Runs the body with an own small file system at a path.
    func withTmpfs(at path: String, options: String, _ body: () throws -> Void) throws {
        try Files.makeFolder(path)
        let flags = options == "ro" ? UInt(MS_RDONLY) : 0
        try check(mount("tmpfs", path, "tmpfs", flags, options == "ro" ? "" : options), "mount a tmpfs at \(path)")
        defer { umount2(path, Int32(MNT_DETACH)) }
        try body()
    }

    /// Processes end and cgroups go a moment after the command that ended them.
    func expectNoLeaks(within seconds: Double = 10) throws(Failure) {
        guard until(seconds: seconds, { leakCheck.leaks().isEmpty }) else {
            throw Failure("left behind: " + leakCheck.leaks().joined(separator: "; "))
        }
    }

    /// The last lines that the engine and the containers logged: a failure's context.
    private func logs() -> String {
        let files = Files.names(in: folder).flatMap { name in
            ["dump.log", "restore.log", "out.log"].map { "\(folder)/\(name)/\($0)" }
        }
        return files.compactMap { path in
            guard let lines = Files.text(of: path)?.split(separator: "\n"), !lines.isEmpty else { return nil }
            return "\n--- \(path)\n" + lines.suffix(8).joined(separator: "\n")
        }.joined()
    }

    private static func clear(_ folder: String, _ leakCheck: LeakCheck) {
        leakCheck.sweep()
        // Never remove files below a mount: they would be the machine's own.
        guard leakCheck.mounts().isEmpty else { return }
        _ = try? Command("rm", "-rf", "--one-file-system", folder).run()
    }
}
