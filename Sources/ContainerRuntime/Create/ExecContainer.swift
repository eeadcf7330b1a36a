import Cgroups
import LinuxSystem
import OCISpec

extension Container {
    /// `exec`: makes a process that joins everything the container's first process is in.
    ///
    /// - Returns: its exit code, 0 when detached.
    package func exec(_ request: ExecRequest) throws(RuntimeError) -> CInt {
        do throws(RuntimeError) {
            return try launchExec(request)
        } catch {
            throw RuntimeError(error.message, exitCode: 255)
        }
    }

    private func launchExec(_ request: ExecRequest) throws(RuntimeError) -> CInt {
        switch status() {
        case .stopped: throw .execStopped
        case .paused where !request.ignorePaused: throw .execPaused
        default: break
        }
        try checkConsole(
            hasTerminal: request.process.terminal, socket: request.consoleSocket, detach: request.detach)
        let configuration = try store.loadConfiguration(id)
        let setup = try ProcessSetup(
            request.process, in: configuration.linux, filter: try SeccompFilter(configuration.linux?.seccomp),
            keyring: request.noNewKeyring ? nil : "_ses.\(id)",
            preservedDescriptors: request.preservedDescriptors, extraEnvironment: request.extraEnvironment)
        let target = try launching { () throws(SystemError) in try ContainerNamespaces(of: state.initPid) }
        // The number may have come to mean another process while its descriptor was opened.
        guard initIsAlive else { throw .execStopped }
        try store.recordNetwork(of: id, state.initPid, before: request.process, configuration)
        var setupSignals: SignalMask?
        if !request.detach {
            setupSignals = SignalMask.blockAll()
            try launching { () throws(SystemError) in try CallingProcess.setSubreaper(true) }
        }

        let sockets = try launching { () throws(SystemError) in try socketPair(CInt(SOCK_SEQPACKET.rawValue)) }
        let channel = InitChannel(sockets.first)
        let theirs = sockets.second.release()
        var console: ConsoleLink?
        if request.process.terminal {
            console = try launching("open console") { () throws(SystemError) in
                try ConsoleLink(size: request.process.consoleSize, socketPath: request.consoleSocket)
            }
        }
        let entry = try CgroupEntry(
            try grouping { () throws(CgroupError) in try state.cgroups.inner(request.cgroups) })
        // Who is no more than a user has to be in the user namespace before the pid namespace can be chosen; and who is in
        // one could not come back from that.
        let isBetween =
            target.different.contains(.user) ? try !Rootless.hasRights() || Rootless.isMapped : Rootless.isMapped
        let joined = target.different.intersection(isBetween ? [.user, .pid] : .pid)
        let result = try clone(target, joined, isBetween, entry, channel, theirs)
        switch consume result {
        case .child:
            // Or its end, with the runtime's, would never be seen; a process in between has done so.
            if !isBetween { close(channel.socket.raw) }
            ExecInit(
                namespaces: target.different.subtracting(joined), hasUser: target.different.contains(.user),
                isAnnounced: isBetween, target: target.process, entry: entry,
                channel: InitChannel(OwnedDescriptor(theirs), isConfined: true), setup: setup,
                console: console?.console,
                signals: setupSignals
            ).run()
        case .parent(let pid, let pidfd):
            close(theirs)
            Trace.note("process \(pid) is made, to join namespaces (\(target.different)) of process \(state.initPid)")
            do throws(RuntimeError) {
                if let adjustment = request.process.oomScoreAdj {
                    try launching { () throws(SystemError) in
                        try writeControl("/proc/\(pid)/oom_score_adj", "\(adjustment)")
                    }
                }
                if let socket = request.pidfdSocket { try pidfd.hand(to: socket, as: "setns") }
                if target.different.contains(.user), !request.process.terminal {
                    try launching { () throws(SystemError) in
                        try handStreams(to: request.process.user.uid, in: state.initPid)
                    }
                }
                try channel.send(.proceed)
                try channel.follow(
                    pidfd, pid: pid, SeccompListener(configuration.linux?.seccomp, HookRunner.state(state, .running)),
                    setup
                ) { () throws(RuntimeError) in
                    // A pause has overtaken it. Its caller may hold a lock that the resume needs: containerd's shim does.
                    if !request.ignorePaused, status() == .paused { throw .execPaused }
                }
                let terminal = try launching { () throws(SystemError) in try console?.receiveTerminal() ?? nil }
                if let pidFile = request.pidFile { try writePidFile(pidFile, pid) }
                if request.detach { return 0 }
                return try launching { () throws(SystemError) in
                    try AttachedSession(pid: pid, pidfd: pidfd.raw, terminal: terminal).run()
                }
            } catch {
                try? pidfd.send(SIGKILL)
                // In a v1 freezer it dies when it is thawed, whoever is its parent then.
                if (try? pidfd.ends(within: 1000)) == true { _ = try? pidfd.wait() }
                throw error
            }
        }
    }

    private func clone(
        _ target: ContainerNamespaces, _ joined: Namespaces, _ isBetween: Bool, _ entry: CgroupEntry,
        _ channel: borrowing InitChannel, _ theirs: CInt
    ) throws(RuntimeError) -> CloneResult {
        var request = CloneRequest(cgroup: entry.unified)
        if isBetween {
            request.siblingOfCaller = true
            return try UserNamespaceBirth(way: .container(target.process, joined), request: request, theirs: theirs)
                .clone(channel)
        }
        return try launching { () throws(SystemError) in
            try BirthNamespaces.clone(
                request, pidNamespace: joined.contains(.pid) ? target.process : nil, timeNamespace: false, clocks: nil)
        }
    }
}
