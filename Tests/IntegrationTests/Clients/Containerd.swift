import Glibc

/// containerd with all its state in a test's folder, its shim with the runtime under test.
final class Containerd: Client {
    /// The name of its one image.
    static let image = "docker.io/local/bb:bb"

    let folder: String
    let socket: String
    var namespace: String { bed.token }
    private let bed: TestBed
    private var daemon: Daemon?
    private var execs = 0

    static func use(_ body: (Containerd) throws -> Void) throws {
        try TestBed.use({ try Containerd($0) }) { containerd in
            try containerd.importImage()
            try body(containerd)
        }
    }

    /// - Parameter user: whose mount namespace it is to live in.
    init(_ bed: TestBed, for user: OwnUser? = nil) throws(Failure) {
        self.bed = bed
        folder = bed.folder + "/containerd"
        socket = folder + "/c.sock"
        try Files.makeFolder(folder)
        try Files.write(
            """
            version = 2
            root = "\(folder)/root"
            state = "\(folder)/state"
            disabled_plugins = ["io.containerd.grpc.v1.cri"]
            [grpc]
              address = "\(socket)"
            [ttrpc]
              address = "\(folder)/c.ttrpc.sock"

            """, to: folder + "/config.toml")
        let words = ["containerd", "--config", folder + "/config.toml"]
        var command = user?.command(words) ?? Command(words)
        command.environment += ["TMPDIR=" + folder]
        daemon = try Daemon(command, log: folder + "/containerd.log") {
            (try? self.command(["version"]).run().status) == 0
        }
    }

    func importImage() throws(Failure) {
        try run("image", "import", "--base-name", "docker.io/local/bb", try ClientImage.layout)
    }

    /// `ctr`; its namespace gives containers' cgroups a name by which the leak check knows them.
    func command(_ arguments: [String]) -> Command {
        Command(["ctr", "--address", socket, "--namespace", namespace] + arguments)
    }

    /// What ctr printed; a failure where it failed.
    @discardableResult
    func run(_ arguments: String...) throws(Failure) -> String {
        try command(arguments).run(seconds: 30).succeeded().output
    }

    /// `ctr run` by a runtime.
    func run(with executable: String) -> Command {
        command([
            "run", "--runc-binary", executable, "--runc-root", folder + "/runtime", "--fifo-dir", folder + "/fifo",
        ])
    }

    /// `ctr run`, with flags of its own before the container's name.
    func container(_ name: String, flags: [String] = [], _ words: String...) -> Command {
        var command = run(with: bed.runtime.executable)
        command.words += flags + [Self.image, name] + words
        return command
    }

    /// `ctr task exec`.
    func exec(_ name: String, flags: [String] = [], _ words: String...) -> Command {
        execs += 1
        let own = ["--exec-id", "exec\(execs)", "--fifo-dir", folder + "/fifo"]
        return command(["task", "exec"] + own + flags + [name] + words)
    }

    /// What a program says that `ctr task exec` runs. ctr 1.6 ends now and then before it has passed that on, whatever the
    /// runtime, so silence is asked again.
    func said(in name: String, _ words: [String]) throws(Failure) -> String {
        for _ in 1...5 {
            var command = exec(name)
            command.words += words
            let outcome = try command.run().succeeded()
            if outcome.output != "" { return outcome.output }
        }
        throw Failure("\(words) said nothing")
    }

    /// A container in the background that counts in /state/n.
    func counter(_ name: String, _ flags: String...) throws(Failure) {
        try container(name, flags: ["--detach"] + flags, "sh", "-c", ClientWorkload.counter).run().succeeded()
        _ = try count(name, beyond: 5)
    }

    /// Waits until a container has counted beyond a number, and says how far it came.
    func count(_ name: String, beyond: Int) throws(Failure) -> Int {
        try ClientWorkload.count(beyond: beyond) { () throws(Failure) in
            try said(in: name, ["cat", "/state/n"])
        }
    }

    /// RUNNING, PAUSED, STOPPED; nil without a task.
    func status(_ name: String) throws(Failure) -> String? {
        let lines = try run("task", "list").split(separator: "\n").map { $0.split(separator: " ") }
        return lines.first { $0.first == name[...] }?.last.map(String.init)
    }

    /// Removes stored content that nothing refers to any more, and waits for that.
    func collectGarbage() throws(Failure) {
        try run("leases", "create", "--id", "brief")
        try run("leases", "delete", "--sync", "brief")
    }

    /// Kills a container's task, and removes both.
    func remove(_ name: String) throws(Failure) {
        try run("task", "rm", "--force", name)
        try run("container", "rm", name)
    }

    /// Ends every container, waits for their shims, and stops the daemon.
    func end() {
        let containers = (try? run("container", "list", "--quiet")) ?? ""
        for name in containers.split(separator: "\n") {
            _ = try? run("task", "rm", "--force", String(name))
            _ = try? run("container", "rm", String(name))
        }
        _ = until(seconds: 10) {
            !bed.leakCheck.processes().contains {
                Files.text(of: "/proc/\($0)/comm")?.hasPrefix("containerd-shim") == true
            }
        }
        daemon?.stop()
        // A shim that could not start its container has it deleted by the runtime in the default place.
        rmdir("/run/containerd/runc/" + namespace)
        _ = until(seconds: 5) { bed.leakCheck.cgroups().allSatisfy { rmdir($0) == 0 } }
    }
}
