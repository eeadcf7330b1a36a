import Glibc

/// One container of a test, driven through the runtime's command line.
final class Container {
    let id: String
    let bundle: Bundle
    let runtime: Runtime
    /// Further flags of `checkpoint`; `restore` finds them in the images.
    var checkpointFlags: [String] = []
    private var isDeleted = true
    private var verdicts = 0

    init(id: String, bundle: Bundle, runtime: Runtime) {
        (self.id, self.bundle, self.runtime) = (id, bundle, runtime)
    }

    var stateInRootfs: String { bundle.rootfs + "/state" }

    // MARK: Lifecycle

    /// `run --detach`, with standard output and error in the bundle's out.log.
    func run() throws(Failure) {
        isDeleted = false
        var command = runtime.command(["run", "--detach", "--bundle", bundle.folder, "--pid-file", pidFile, id])
        command.output = bundle.folder + "/out.log"
        let outcome = try command.run()
        guard outcome.status == 0 else { throw Failure("\(outcome): \(Files.text(of: command.output ?? "") ?? "")") }
    }

    /// `run` in the foreground.
    func runAttached(_ arguments: [String]? = nil, seconds: Double = 20) throws(Failure) -> Outcome {
        if let arguments { try bundle.edit { $0["process"]["args"] = .strings(arguments) } }
        return try runtime.command(["run", "--bundle", bundle.folder, id]).run(seconds: seconds)
    }

    private var pidFile: String { bundle.folder + "/pid" }

    /// The host's id of the container's first process.
    func pid() throws(Failure) -> pid_t {
        guard let pid = try state()["pid"].integer else { throw Failure("the state of \(id) has no pid") }
        return pid_t(pid)
    }

    func state() throws(Failure) -> JSONValue {
        try JSONValue(parsing: try runtime.run("state", id).succeeded().output)
    }

    func status() throws(Failure) -> String? {
        try state()["status"].string
    }

    func delete() throws(Failure) {
        if isDeleted { return }
        try runtime.run("delete", "--force", id).succeeded()
        isDeleted = true
    }

    /// Runs a command inside.
    @discardableResult
    func exec(_ arguments: String..., seconds: Double = 60) throws(Failure) -> Outcome {
        try runtime.command(["exec", id] + arguments).run(seconds: seconds)
    }

    // MARK: Asking the program inside

    /// Waits for a file of the container to hold what is looked for.
    func waitForFile(_ name: String, seconds: Double = 30, _ holds: (String) -> Bool = { !$0.isEmpty })
        throws(Failure) -> String
    {
        var content = ""
        let came = until(seconds: seconds) {
            content = Files.text(of: "\(stateInRootfs)/\(name)") ?? ""
            return holds(content)
        }
        guard came else { throw Failure("\(id): /state/\(name) is '\(content)' after \(seconds) s") }
        return content
    }

    @discardableResult
    func waitUntilReady() throws(Failure) -> String {
        let notes = try waitForFile("ready")
        if notes.hasPrefix("cannot") { throw Failure("the workload \(notes)") }
        return notes
    }

    /// Sends SIGUSR1 and waits for the next line of /state/verdict.
    func ask() throws(Failure) -> String {
        try runtime.run("kill", id, "USR1").succeeded()
        verdicts += 1
        let all = try waitForFile("verdict") { $0.split(separator: "\n").count >= verdicts && $0.hasSuffix("\n") }
        return all.split(separator: "\n").last.map(String.init) ?? ""
    }

    func expectPass(_ occasion: String) throws(Failure) {
        let verdict = try ask()
        guard verdict.hasPrefix("PASS") else { throw Failure("\(occasion): \(verdict)") }
    }

    // MARK: Checkpoint and restore

    func imageFolder(_ name: String) -> String { "\(bundle.folder)/\(name)" }

    func checkpointCommand(to image: String, leaveRunning: Bool = false) -> Command {
        let flags = (leaveRunning ? ["--leave-running"] : []) + checkpointFlags
        let image = imageFolder(image)
        return runtime.command(["checkpoint", "--image-path", image, "--work-path", bundle.folder] + flags + [id])
    }

    /// Checkpoints; without `leaveRunning` it makes sure that the container is gone.
    func checkpoint(to image: String, leaveRunning: Bool = false) throws(Failure) {
        let pid = try pid()
        try checkpointCommand(to: image, leaveRunning: leaveRunning).run(seconds: 30).succeeded()
        if leaveRunning {
            guard try status() == "running" else { throw Failure("\(id) does not run after --leave-running") }
            return
        }
        guard until(seconds: 10, { !LeakCheck.lives(pid) }) else { throw Failure("process \(pid) outlived its dump") }
        let state = try runtime.run("state", id)
        guard state.status == 1, state.errors.contains("does not exist") else {
            throw Failure("after the checkpoint: \(state)")
        }
        isDeleted = true
    }

    func restoreCommand(from image: String) -> Command {
        var command = runtime.command([
            "restore", "--detach", "--bundle", bundle.folder, "--image-path", imageFolder(image), "--work-path",
            bundle.folder, "--pid-file", pidFile, id,
        ])
        command.output = bundle.folder + "/out.log"
        return command
    }

    func restore(from image: String) throws(Failure) {
        isDeleted = false
        let before = Files.text(of: bundle.folder + "/out.log") ?? ""
        let outcome = try restoreCommand(from: image).run(seconds: 30)
        guard outcome.status == 0 else {
            let said = (Files.text(of: bundle.folder + "/out.log") ?? "").dropFirst(before.count)
            isDeleted = true
            throw Failure("\(outcome): \(said)")
        }
        guard try status() == "running" else { throw Failure("\(id) does not run after restore") }
    }
}
