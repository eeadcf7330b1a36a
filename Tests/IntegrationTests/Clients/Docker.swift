import Glibc

/// dockerd with all its state in a test's folder and its network in a namespace of its own, upon a containerd of the same
/// test; stasis is its runtime by `--add-runtime`.
final class Docker: Client {
    /// What dockerd calls the runtime under test.
    static let runtime = "tested"

    let folder: String
    private let bed: TestBed
    private let containerd: Containerd
    private let network: OwnNetwork
    private var user: OwnUser?
    private var daemon: Daemon?

    static func use(remapped: Bool = false, _ body: (Docker) throws -> Void) throws {
        try TestBed.use({ try Docker($0, remapped: remapped) }, body)
    }

    /// - Parameter remapped: whether containers get a user namespace, with the ids of an ``OwnUser``.
    init(_ bed: TestBed, remapped: Bool = false) throws(Failure) {
        self.bed = bed
        folder = bed.folder + "/docker"
        try Files.makeFolder(folder)
        try Files.write("{\"deprecated-key-path\": \"\(folder)/key.json\"}", to: folder + "/daemon.json")
        if remapped { user = try OwnUser(in: folder) }
        containerd = try Containerd(bed, for: user)
        network = try OwnNetwork(named: bed.token)
        let words = [
            "dockerd", "--experimental", "--data-root", folder + "/data", "--exec-root", folder + "/exec",
            "--host", "unix://\(folder)/d.sock", "--pidfile", folder + "/pid", "--config-file",
            folder + "/daemon.json", "--containerd", containerd.socket, "--containerd-namespace", bed.token,
            "--containerd-plugins-namespace", bed.token + ".plugins", "--add-runtime",
            "\(Self.runtime)=" + bed.runtime.executable, "--default-runtime", Self.runtime, "--storage-driver",
            "overlay2",
        ]
        var command = network.command(user?.command(words + ["--userns-remap", OwnUser.name]).words ?? words)
        command.environment += ["TMPDIR=" + folder, "HOME=" + folder]
        daemon = try Daemon(command, log: folder + "/dockerd.log") {
            (try? self.command(["version"]).run().status) == 0
        }
        try run("load", "--input", try ClientImage.dockerArchive)
    }

    /// Debian's docker, whatever else is in PATH.
    func command(_ arguments: [String]) -> Command {
        Command(["/usr/bin/docker", "--config", folder, "--host", "unix://\(folder)/d.sock"] + arguments)
    }

    /// What docker printed; a failure where it failed.
    @discardableResult
    func run(_ arguments: String...) throws(Failure) -> String {
        try command(arguments).run(seconds: 30).succeeded().output
    }

    /// `docker run`.
    func container(_ arguments: [String]) -> Command {
        // Hard limits cannot be raised everywhere, and docker's default does.
        command(["run", "--cgroup-parent", "/" + bed.token, "--ulimit", "nofile=1024:1024"] + arguments)
    }

    @discardableResult
    func container(_ arguments: String...) throws(Failure) -> String {
        try container(arguments).run(seconds: 30).succeeded().output
    }

    /// A container in the background that counts in /state/n, with more flags of `run`.
    func counter(_ name: String, _ flags: String...) throws(Failure) {
        let words = ["-d", "--name", name] + flags + ["bb", "sh", "-c", ClientWorkload.counter]
        try container(words).run(seconds: 30).succeeded()
        _ = try count(name, beyond: 5)
    }

    /// Waits until a container has counted beyond a number, and says how far it came.
    func count(_ name: String, beyond: Int) throws(Failure) -> Int {
        try ClientWorkload.count(beyond: beyond) { () throws(Failure) in try run("exec", name, "cat", "/state/n") }
    }

    func inspect(_ name: String, _ format: String) throws(Failure) -> String {
        try run("inspect", name, "--format", "{{\(format)}}")
    }

    /// `checkpoint create`, with flags of its own. Afterwards containerd forgets at once what docker made it store: it
    /// would refuse to store the same again ("already exists").
    func checkpoint(_ name: String, _ checkpoint: String, _ flags: String...) throws(Failure) {
        try command(["checkpoint", "create"] + flags + [name, checkpoint]).run().succeeded()
        try containerd.collectGarbage()
    }

    /// `start --checkpoint` of a container that a checkpoint has ended.
    func restore(_ name: String, from checkpoint: String) throws(Failure) {
        guard until(seconds: 10, { (try? inspect(name, ".State.Status")) == "exited" }) else {
            throw Failure("\(name) has not ended")
        }
        try run("start", "--checkpoint", checkpoint, name)
        try containerd.collectGarbage()
    }

    /// What a command line says that runs beside docker.
    func inNetwork(_ words: [String]) throws(Failure) -> String {
        try network.command(words).run().succeeded().output
    }

    /// Removes every container, stops both daemons, and removes docker's network.
    func end() {
        let containers = (try? run("ps", "--all", "--quiet")) ?? ""
        for id in containers.split(separator: "\n") { _ = try? run("rm", "--force", "--volumes", String(id)) }
        daemon?.stop()
        umount2(folder + "/exec/netns/default", Int32(MNT_DETACH))  // of `--network host`
        containerd.end()
        network.remove()
        user?.end()
    }
}
