import Glibc

/// podman with all its state in a test's folder. Of CRIU it finds nothing but stasis under that name.
final class Podman: Client {
    let folder: String
    private let token: String
    /// By its name the leak check knows the cgroups of this test.
    var cgroupParent: String { "/" + token }
    /// In which podman and its bridge live, where a test asks for one.
    private var network: OwnNetwork?
    /// Whom /etc knows, where a test asks for it.
    private var user: OwnUser?
    private let isRootless: Bool

    /// Who runs podman.
    enum Caller { case root, rootBesideUsers, user, userWithCgroup }

    /// With one image, `bb`: busybox.
    init(_ bed: TestBed, by caller: Caller = .root, ownNetwork: Bool = false) throws(Failure) {
        (folder, token) = (bed.folder + "/podman", bed.token)
        isRootless = caller == .user || caller == .userWithCgroup
        try Files.makeFolder(folder + "/bin")
        // The user may look into the test's folder, but perhaps not into the one where it was built.
        let runtime = isRootless ? folder + "/bin/stasis" : bed.runtime.executable
        if isRootless { try Files.copy(bed.runtime.executable, to: runtime) }
        try check(symlink(runtime, folder + "/bin/criu"), "link criu")
        try Files.write(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"\(folder)/root\"\nrunroot = \"\(folder)/run\"\n",
            to: folder + "/storage.conf")
        // Hard limits cannot be raised everywhere, and podman's defaults do. The rest is what hack/install gives podman.
        try Files.write(
            """
            [containers]
            default_ulimits = ["nofile=1024:1024", "nproc=30000:30000"]
            [engine]
            cgroup_manager = "cgroupfs"
            events_logger = "file"
            runtime = "stasis"
            runtime_supports_json = ["stasis"]
            runtime_supports_nocgroup = ["stasis"]
            tmp_dir = "\(folder)/tmp"
            static_dir = "\(folder)/static"
            volume_path = "\(folder)/volumes"
            [engine.runtimes]
            stasis = ["\(runtime)"]
            [network]
            network_backend = "netavark"
            network_config_dir = "\(folder)/networks"

            """, to: folder + "/containers.conf")
        if ownNetwork { network = try OwnNetwork(named: token) }
        if caller != .root {
            user = try OwnUser(in: folder, cgroup: caller == .userWithCgroup ? token : nil)
        }
        try importImage()
    }

    private func importImage() throws(Failure) {
        let rootfs = folder + "/rootfs"
        try ClientImage.fillRoot(rootfs)
        try Command("tar", "-C", rootfs, "-cf", folder + "/bb.tar", ".").run().succeeded()
        if isRootless {
            try Files.makeFolder(folder + "/xdg", mode: 0o700)
            try Command("chown", "-R", "\(OwnUser.id):\(OwnUser.id)", folder).run().succeeded()
        }
        try run("import", folder + "/bb.tar", "bb")
    }

    /// What a command line says that runs beside podman.
    func inNetwork(_ words: [String]) throws(Failure) -> String {
        try command(inNetwork: words).run().succeeded().output
    }

    private func command(inNetwork words: [String]) -> Command {
        network?.command(words) ?? Command(words)
    }

    func command(_ arguments: [String]) -> Command {
        let places = ["--root", folder + "/root", "--runroot", folder + "/run", "--tmpdir", folder + "/tmp"]
        var words = ["podman"] + places + arguments
        if let user { words = (isRootless ? user.unprivileged(words) : user.command(words)).words }
        var command = command(inNetwork: words)
        command.folder = folder  // conmon leaves a file there
        command.environment = [
            "PATH=\(folder)/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=\(folder)", "LC_ALL=C",
            "CONTAINERS_STORAGE_CONF=\(folder)/storage.conf", "CONTAINERS_CONF=\(folder)/containers.conf",
            "TMPDIR=\(folder)",
        ]
        if isRootless { command.environment.append("XDG_RUNTIME_DIR=\(folder)/xdg") }
        return command
    }

    /// What podman printed; a failure where it failed.
    @discardableResult
    func run(_ arguments: String...) throws(Failure) -> String { try run(arguments) }

    @discardableResult
    func run(_ arguments: [String]) throws(Failure) -> String {
        try command(arguments).run(seconds: 30).succeeded().output
    }

    /// `podman run`, in the pod that is named or without a network of its own; or `podman create`.
    func container(_ arguments: [String], by verb: String = "run") throws(Failure) -> Outcome {
        try containerCommand(arguments, by: verb).run(seconds: 30)
    }

    func containerCommand(_ arguments: [String], by verb: String = "run") -> Command {
        let network = network == nil ? ["--network", "none"] : []
        let parent = isRootless ? [] : ["--cgroup-parent", cgroupParent]
        return command([verb] + (arguments.contains("--pod") ? [] : parent + network) + arguments)
    }

    @discardableResult
    func container(_ arguments: String...) throws(Failure) -> String {
        try container(arguments).succeeded().output
    }

    /// A container in the background that counts in /state/n, with more flags of `run`.
    func counter(_ name: String, _ flags: String...) throws(Failure) {
        try container(["-d", "--name", name] + flags + ["bb", "sh", "-c", ClientWorkload.counter]).succeeded()
        _ = try count(name, beyond: 5)
    }

    /// Waits until a container has counted beyond a number, and says how far it came.
    func count(_ name: String, beyond: Int) throws(Failure) -> Int {
        try ClientWorkload.count(beyond: beyond) { () throws(Failure) in
            try command(["exec", name, "cat", "/state/n"]).run().succeeded().output
        }
    }

    func inspect(_ name: String, _ format: String) throws(Failure) -> String {
        try run("inspect", name, "--format", "{{\(format)}}")
    }

    /// The folder that podman hands to the runtime.
    func userdata(_ name: String) throws(Failure) -> String {
        "\(folder)/root/overlay-containers/\(try inspect(name, ".Id"))/userdata"
    }

    /// Removes every pod and container, and what podman itself leaves: its mount, its network, the parents of cgroups.
    func end() {
        _ = try? command(["pod", "rm", "--force", "--all", "-t", "0"]).run()
        _ = try? command(["rm", "--force", "--all", "-t", "0"]).run()
        if isRootless { _ = try? command(["system", "migrate"]).run() }  // ends what holds its namespaces
        user?.end()
        // The podman that each conmon starts when its container has ended mounts anew, and has cgroups.
        let leakCheck = LeakCheck(token: token, stateFolder: folder)
        _ = until(seconds: 5) { leakCheck.processes().isEmpty }
        umount2(folder + "/root/overlay", Int32(MNT_DETACH))
        network?.remove()
        _ = until(seconds: 5) { leakCheck.cgroups().allSatisfy { rmdir($0) == 0 } }
    }
}
