import Cgroups
import LinuxSystem
import OCISpec

/// The first process of a container, between clone and exec: one thread, a copy of the runtime's memory.
///
/// Its comm names the stage, so that `ps` explains a hang.
struct ContainerInit: ~Copyable {
    let request: CreateRequest
    let namespaces: NamespacePlan
    let cgroups: CgroupSet
    let entry: CgroupEntry
    let channel: InitChannel
    /// Nil for a container that is to be restored.
    let setup: ProcessSetup?
    /// Of a container that is to be restored: its processes are born of this one.
    let restoredLabels: ProcessLabels?
    let console: Console?
    /// Where `start` is waited for, if this is not to go on by itself.
    let door: StartSocket?
    let hookRunner: HookRunner
    let sources: MountSources
    /// For each of the configuration's mounts.
    let maps: [IDMappedMount?]
    /// Kept, not used: letting it go would release the lock that the runtime holds.
    let directory: ContainerDirectory

    /// Does not return: the process becomes the program, sleeps until it is taken over, or ends after telling why.
    func run() -> Never {
        do {
            try setUp()
        } catch {
            try? channel.send(.failed(error.message))
        }
        _exit(1)
    }

    private func setUp() throws(RuntimeError) {
        CallingProcess.setName("stasis:mounts")
        if namespaces.isBornBetween { try channel.expect(.proceed, orDied: "the runtime is gone") }
        try launching { () throws(SystemError) in
            try CallingProcess.setDumpable(false)
            try entry.join()
            // The caller's own CPUs are no business of the container's.
            try CallingProcess.resetAffinity()
            // A cgroup namespace begins where its maker stands, so it is made here.
            if namespaces.createsCgroup { try leaveNamespaces(.cgroup) }
            try namespaces.join(namespaces.isBornBetween ? .mount : .all)
            if namespaces.hasUser { try becomeRootOfNamespace() }
            try system("setsid") { setsid() }
            umask(0)
            if namespaces.created.contains(.network) { try NetworkInterface("lo").bringUp() }
        }
        try enterRoot()
        CallingProcess.setName("stasis:setup")
        try setSystemNames()
        try launching("replace /dev/null") { () throws(SystemError) in try reopenNull() }
        guard let setup else { return try becomeSleeper() }
        try becomeCommand(setup)
    }

    private func enterRoot() throws(RuntimeError) {
        let root = try RootFilesystem(
            request, cgroupView: cgroupView, sources: sources,
            isUserNamespace: namespaces.hasUser || request.rootless.isInUserNamespace)
        var awaitsNetwork = namespaces.createsNetwork
        for (mount, map) in zip(request.spec.mounts, maps) {
            if awaitsNetwork, mount.looksAtNetwork {
                try NetworkBirth.join(from: channel)
                awaitsNetwork = false
            }
            try root.mounts.add(mount, map: map)
        }
        if let mount = request.notifySocket?.mount { try root.mounts.add(mount) }
        if let mask = request.rootless.cgroupMask(request.spec, hasHostSys: root.mounts.hasHostSys) {
            try root.mounts.add(mask)
        }
        if awaitsNetwork { try NetworkBirth.join(from: channel) }
        try root.makeDevices()
        sources.close()
        if let hooks = request.spec.hooks, !(hooks.prestart + hooks.createRuntime).isEmpty {
            try channel.send(.mounted)
            try channel.expect(.proceed, orDied: "the runtime is gone")
        }
        if let hooks = request.spec.hooks?.createContainer, !hooks.isEmpty {
            umask(0o022)
            // As with runc: they find the container's root where they stand, and no variables but their own.
            let directory = root.mounts.root.directory.raw
            _ = try launching { () throws(SystemError) in try system("fchdir to rootfs") { fchdir(directory) } }
            try hookRunner.run(hooks, environment: [])
            umask(0)
        }
        try root.enter(noPivot: request.noPivot)
        if let cwd = request.spec.process?.cwd, setup != nil {
            try launching("create cwd") { () throws(SystemError) in
                let root = ContainerRoot(try openAt(AT_FDCWD, "/", CLINUX_O_PATH | O_DIRECTORY))
                // A read-only file system is no matter if the directory is there, which chdir will say.
                _ = try? root.makeDirectory(cwd)
            }
        }
        if let console {
            try launching("set up console") { () throws(SystemError) in
                try console.open(asDeviceConsole: true)
            }
        }
        try root.finish()
    }

    private var cgroupView: CgroupView {
        CgroupView(cgroups, hasNamespace: namespaces.listed.contains(.cgroup))
    }

    private func setSystemNames() throws(RuntimeError) {
        try launching { () throws(SystemError) in
            if let name = request.spec.hostname, !name.isEmpty {
                try system("set hostname \(name)") { sethostname(name, name.utf8.count) }
            }
            if let name = request.spec.domainname, !name.isEmpty {
                try system("set domain name \(name)") { setdomainname(name, name.utf8.count) }
            }
        }
        guard let linux = request.spec.linux else { return }
        if !linux.sysctl.isEmpty {
            let processFilesystem = try launching { () throws(SystemError) in try ProcessFilesystem() }
            for (key, value) in linux.sysctl.sorted(by: { $0.key < $1.key }) {
                try launching("write sysctl key \(key)") { () throws(SystemError) in
                    try processFilesystem.setKernelParameter(key, value)
                }
            }
        }
        try HiddenPaths(masked: linux.maskedPaths, readOnly: linux.readonlyPaths, label: linux.mountLabel).apply()
    }

    /// Standard streams that lead to the host's /dev/null shall lead to the container's.
    private func reopenNull() throws(SystemError) {
        // Of a terminal the checkpoint engine takes hold before this process lets go.
        if setup == nil && console != nil { return }
        for number in CInt(0)...2 {
            guard let stream = try? status(of: number), stream.isCharacterDevice,
                stream.st_rdev == clinux_makedev(1, 3) || setup == nil
            else {
                if setup == nil { try connectNull(number) }
                continue
            }
            try connectNull(number)
        }
    }

    private func connectNull(_ number: CInt) throws(SystemError) {
        let root = ContainerRoot(try openAt(AT_FDCWD, "/", CLINUX_O_PATH | O_DIRECTORY))
        let null = try root.open("/dev/null", O_RDWR | O_NOFOLLOW | O_NOCTTY)
        guard try status(of: null.raw).st_rdev == clinux_makedev(1, 3) else { return }
        try system("connect descriptor \(number) to /dev/null") { dup2(null.raw, number) }
    }

    private func becomeCommand(_ setup: ProcessSetup) throws(RuntimeError) {
        try setup.prepare(channel)
        try setup.confine(channel, door: door?.raw)
        let program = try setup.findProgram()
        let environment = setup.completedEnvironment()
        // As the first of a pid namespace it would not hear them; they stop a container that is only created. Before the runtime
        // can say that it is.
        if door != nil { CallingProcess.endOnSignals([SIGHUP, SIGINT, SIGQUIT, SIGTERM]) }
        try channel.send(.ready)
        CallingProcess.setName("stasis:start")
        // A runtime that is killed before it has made the container known takes this process along.
        try channel.expect(.proceed, orDied: "the runtime is gone")
        guard let door else { return try execute(program, environment, setup, channel) }
        close(channel.socket.raw)
        let starter = try door.wait()
        do throws(RuntimeError) {
            try execute(program, environment, setup, starter)
        } catch {
            try? starter.send(.failed(error.message))
            _exit(1)
        }
    }

    private func execute(
        _ program: ProgramFile, _ environment: [String], _ setup: ProcessSetup, _ channel: borrowing InitChannel
    ) throws(RuntimeError) {
        request.signals?.restore()
        let hooks = (request.spec.hooks?.startContainer ?? []).map { hook in
            var hook = hook
            if hook.env?.isEmpty != false { hook.env = environment }
            return hook
        }
        // They are the container's own programs, so under its filter. Each loads it for itself, for the calls that are
        // made here in between are none of the container's; but for all of them an agent has one listener.
        let isFiltered = !hooks.isEmpty && setup.filter?.notifies == true
        if isFiltered { try setup.loadFilter(channel) }
        try hookRunner.of(.created).run(hooks) { () throws(RuntimeError) in
            if !isFiltered { try setup.loadFilter(channel) }
        }
        try setup.execute(program, environment: environment, channel, isFiltered: isFiltered)
    }

    private func becomeSleeper() throws(RuntimeError) {
        try restoredLabels?.applyNow()
        // The engine puts back what the checkpoint has, once this process dies with it as traced.
        try launching { () throws(SystemError) in try CallingProcess.setParentDeathSignal(SIGKILL) }
        try channel.send(.ready)
        CallingProcess.setName("stasis:restore")
        request.signals?.restore()
        try launching { () throws(SystemError) in
            if !request.noNewKeyring { try joinSessionKeyring("_ses.\(request.id)") }
            try CallingProcess.closeRange(3)
        }
        while true { pause() }
    }
}
