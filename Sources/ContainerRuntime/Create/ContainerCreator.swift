import Cgroups
import LinuxSystem
import OCISpec

/// Makes a container up to the point where its first process waits: for ``StagedContainer/publish()``, and then for
/// `start` or for the checkpoint engine. Leaves nothing behind when it fails.
package func createContainer(_ request: CreateRequest) throws(RuntimeError) -> StagedContainer {
    let creator = try ContainerCreator(request)
    let directory = try creator.store.create(request.id)
    // Until it is made here, a cgroup of that name is somebody else's and must survive a failure.
    var ownsCgroups = false
    do throws(RuntimeError) {
        return try creator.create(directory, &ownsCgroups)
    } catch {
        throw creator.undo(after: error, ownsCgroups)
    }
}

struct ContainerCreator {
    let request: CreateRequest
    let store: StateStore
    let namespaces: NamespacePlan
    let setup: ProcessSetup?
    let restoredLabels: ProcessLabels?
    let cgroups: CgroupSet

    /// Whatever can be wrong with the request alone is found here, before anything is made.
    init(_ request: CreateRequest) throws(RuntimeError) {
        self.request = request
        store = StateStore(root: request.stateRoot)
        try StateStore.validate(request.id)
        // Claimed for certain later; but of all that is wrong with a second container of this id, this is to be said.
        if (try? status(store.path(request.id))) != nil { throw .alreadyExists }
        do throws(SystemError) {
            let root = try status(request.rootPath, flags: AT_SYMLINK_NOFOLLOW)
            if root.isSymbolicLink { throw SystemError(.notDirectory, "not an absolute path, or a symlink") }
            guard root.isDirectory else { throw SystemError(.notDirectory, "stat \(request.rootPath)") }
        } catch {
            throw RuntimeError("invalid rootfs: \(error)")
        }
        let linux = request.spec.linux
        namespaces = try NamespacePlan(linux?.namespaces ?? [])
        if linux?.intelRdt != nil, !Supported.intelRdt {
            throw RuntimeError("linux.intelRdt: Intel RDT is not enabled: this machine has no /sys/fs/resctrl")
        }
        if let label = linux?.mountLabel, !label.isEmpty, !SecurityModules.hasSELinux {
            throw RuntimeError("linux.mountLabel: selinux is not enabled on this machine")
        }
        restoredLabels =
            request.firstProcess == .restored ? try request.spec.process.map(ProcessLabels.init) ?? nil : nil
        if request.firstProcess == .restored {
            setup = nil
        } else {
            guard let process = request.spec.process else { throw RuntimeError("config.json: process: missing") }
            setup = try ProcessSetup(
                process, in: linux, filter: try SeccompFilter(linux?.seccomp),
                keyring: request.noNewKeyring ? nil : "_ses.\(request.id)",
                preservedDescriptors: request.preservedDescriptors, extraEnvironment: request.extraEnvironment)
        }
        cgroups = try grouping { () throws(CgroupError) in
            switch request.cgroupManager {
            case .disabled: .disabled
            case .systemd: try CgroupSet.plan(systemdUnitOf: request.id, cgroupsPath: linux?.cgroupsPath)
            case .cgroupfs:
                try CgroupSet.plan(
                    id: request.id, cgroupsPath: linux?.cgroupsPath, orNone: request.rootless != .no)
            }
        }
        if request.rootless != .no, cgroups.layout == .disabled, request.cgroupManager != .disabled {
            try Rootless.refuseLimits(linux?.resources)
        }
    }

    func create(
        _ directory: consuming ContainerDirectory, _ ownsCgroups: inout Bool
    ) throws(RuntimeError) -> StagedContainer {
        var state = newState()
        try store.save(state)
        let door = request.firstProcess == .command ? try StartSocket(in: directory.path) : nil
        let relay = try launching { () throws(SystemError) -> NotifyRelay? in
            try request.notifySocket?.makeFolder()
            // Of a container that is only created, `start` listens.
            return request.firstProcess == .command ? nil : try request.notifySocket?.listen() ?? nil
        }
        let sockets = try launching { () throws(SystemError) in try socketPair(CInt(SOCK_SEQPACKET.rawValue)) }
        let channel = InitChannel(sockets.first)
        let theirs = sockets.second.release()
        var console: ConsoleLink?
        if let process = request.spec.process, process.terminal {
            console = try launching("open console") { () throws(SystemError) in
                try ConsoleLink(size: process.consoleSize, socketPath: request.consoleSocket)
            }
        }
        Trace.note("cgroups: \(Set(cgroups.paths.values).sorted().joined(separator: " "))")
        let keeper = try grouping { () throws(CgroupError) in
            try cgroups.create(for: request.id, annotations: request.spec.annotations)
        }
        ownsCgroups = true
        // v1 takes all devices away before it gives some back, so nobody may be in the cgroup yet.
        if cgroups.layout == .v1 { try applyLimits() }
        let entry = try CgroupEntry(cgroups)
        let maps = try IDMappedMount.prepare(request.spec)
        // An ordinary user has no more rights outside of the namespace than inside.
        let needsServer = namespaces.hasUser ? try Rootless.hasRights() : false
        let server = needsServer ? try MountSources.Server() : nil
        let result = try clone(entry, channel, theirs)
        switch consume result {
        case .child:
            // With a copy of the runtime's end, this process would never see that the runtime is gone. Where there was a
            // process in between, that has closed it.
            if !namespaces.isBornBetween { close(channel.socket.raw) }
            ContainerInit(
                request: request, namespaces: namespaces, cgroups: cgroups, entry: entry,
                channel: InitChannel(OwnedDescriptor(theirs), isConfined: true), setup: setup,
                restoredLabels: restoredLabels,
                console: console?.console, door: door,
                hookRunner: HookRunner(state, creating: getpid()),
                sources: server?.client() ?? .own, maps: maps, directory: directory
            ).run()
        case .parent(let pid, let pidfd):
            close(theirs)
            if let door { close(door.raw) }
            Trace.note("process \(pid) is made, with new namespaces (\(namespaces.created))")
            do throws(RuntimeError) {
                // Not before: who is nobody to the host could not be born in a cgroup that is somebody else's.
                if let owner = cgroupOwner {
                    try grouping { () throws(CgroupError) in try cgroups.handOver(to: owner) }
                }
                try launching { () throws(SystemError) in try server?.start(in: pidfd, closing: channel.socket.raw) }
                if namespaces.hasUser, let process = setup?.process, !process.terminal {
                    try launching { () throws(SystemError) in try handStreams(to: process.user.uid, in: pid) }
                }
                // The first process makes its mounts meanwhile.
                if namespaces.createsNetwork {
                    try NetworkBirth.send(to: channel, heldAt: state.netNamespace)
                }
                try lendDevices(&state, pid)
                try store.saveConfiguration(request.configuration, of: request.id)
                try launching { () throws(SystemError) in try state.setInit(pid: pid) }
                try within("unable to start container process") { () throws(RuntimeError) in
                    try bringUp(state, pid, pidfd, channel)
                }
                keeper?.leave()
                let terminal = try launching { () throws(SystemError) in try console?.receiveTerminal() ?? nil }
                if let socket = request.pidfdSocket { try pidfd.hand(to: socket, as: "standard") }
                return StagedContainer(
                    state: state, pid: pid, pidfd: pidfd, request: request, channel: channel, directory: directory,
                    terminal: terminal, relay: relay)
            } catch {
                try? pidfd.send(SIGKILL)
                _ = try? pidfd.wait()
                throw error
            }
        }
    }

    private func clone(
        _ entry: CgroupEntry, _ channel: borrowing InitChannel, _ theirs: CInt
    ) throws(RuntimeError) -> CloneResult {
        var clone = CloneRequest(namespaces: namespaces.created, cgroup: entry.unified, pid: request.pid)
        if namespaces.isBornBetween {
            clone.siblingOfCaller = true
            return try UserNamespaceBirth(
                way: .plan(namespaces, IDMaps(request.spec.linux), request.clockOffsets), request: clone, theirs: theirs
            ).clone(channel)
        }
        return try launching { () throws(SystemError) in
            try BirthNamespaces.clone(
                clone, pidNamespace: namespaces.pidNamespace,
                timeNamespace: namespaces.createsTime || request.clockOffsets != nil, clocks: request.clockOffsets)
        }
    }

    /// Whom the container's cgroup on v2 is given to: the program's user, if the container gets a cgroup namespace of its
    /// own and may write in there. runtime-spec config-linux.md, "Cgroup ownership".
    private var cgroupOwner: UInt32? {
        guard namespaces.createsCgroup, let linux = request.spec.linux,
            let mount = request.spec.mounts.last(where: { RootMounts.clean($0.destination) == "/sys/fs/cgroup" }),
            mount.source == "cgroup", !mount.options.contains("ro")
        else { return nil }
        let user = request.spec.process?.user.uid ?? 0
        return namespaces.hasUser ? linux.uidMappings.hostID(of: user) : user
    }

    /// Takes back what was made for a container that did not come to be. Its hooks of the stop take back theirs.
    func undo(after error: RuntimeError, _ ownsCgroups: Bool) -> RuntimeError {
        var error = error
        if ownsCgroups {
            do {
                try cgroups.killAll()
                try cgroups.remove()
            } catch let cleanUp {
                error = error.followed(by: cleanUp)
            }
        }
        if let state = try? store.loadEvenHalfMade(request.id) {
            NetworkDevices(state).takeBack(releasing: store.path(request.id))
        }
        do {
            try store.remove(request.id)
        } catch let cleanUp {
            error = error.followed(by: cleanUp)
        }
        if ownsCgroups { HookRunner(newState(), .stopped).runAll(request.spec.hooks?.poststop ?? []) }
        return error
    }

    private func newState() -> ContainerState {
        var state = ContainerState(
            id: request.id, ociVersion: request.spec.ociVersion, bundle: request.bundle, rootfs: request.rootPath,
            cgroups: cgroups)
        state.annotations = request.spec.annotations
        let given = [0, 1, 2] + request.preservedDescriptors
        state.externalDescriptors = (0...(given.max() ?? 2)).map {
            given.contains($0) ? (try? linkTarget("/proc/self/fd/\($0)")) ?? "" : ""
        }
        if let linux = request.spec.linux, !linux.netDevices.isEmpty {
            let joined = linux.namespaces.first { $0.type == .network }?.path ?? ""
            state.netNamespace =
                joined.isEmpty ? "\(store.path(request.id))/\(NetworkDevices.holderName)" : joined
            for (host, device) in linux.netDevices {
                let name = device.name ?? ""
                state.netDevices[host] = name.isEmpty ? host : name
            }
        }
        return state
    }
}

/// The same for cgroup errors as ``launching(_:_:)`` for system errors.
func grouping<Result>(_ body: () throws(CgroupError) -> Result) throws(RuntimeError) -> Result {
    do {
        return try body()
    } catch {
        throw RuntimeError(error.description)
    }
}
