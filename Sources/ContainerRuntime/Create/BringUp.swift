import Cgroups
import LinuxSystem
import OCISpec

// What the runtime does for the first process of a container, from its birth on.
extension ContainerCreator {
    /// The runtime's half of the conversation with the first process, from its birth to its readiness.
    func bringUp(
        _ state: ContainerState, _ pid: pid_t, _ pidfd: borrowing Pidfd, _ channel: borrowing InitChannel
    ) throws(RuntimeError) {
        if cgroups.layout == .v2 { try applyLimits() }
        if let adjustment = setup?.process.oomScoreAdj {
            try launching { () throws(SystemError) in
                do throws(SystemError) {
                    try writeControl("/proc/\(pid)/oom_score_adj", "\(adjustment)")
                } catch  where request.rootless != .no && error.errno == .permissionDenied {
                    Warnings.add("process.oomScoreAdj has no effect: \(error)")
                }
            }
        }
        let hooks = HookRunner(state, creating: pid)
        let listener = SeccompListener(request.spec.linux?.seccomp, HookRunner.state(state, "creating", pid))
        while true {
            switch try channel.receive() {
            case .ready:
                return Trace.note("process \(pid) is set up and waits")
            case .limits: try setup?.raiseLimits(of: pid, channel)
            case .mounted:
                let due = (request.spec.hooks?.prestart ?? []) + (request.spec.hooks?.createRuntime ?? [])
                Trace.note("mounts are made; \(due.count) prestart and createRuntime hook(s)")
                try lockConnections(in: "/proc/\(pid)/ns/net")
                try hooks.run(due)
                try channel.send(.proceed)
            case .seccompListener(let number):
                try listener.hand(try listener.fetch(number, from: pidfd), pid: pid)
                try channel.send(.proceed)
            case .receivedListener(let descriptor):
                try listener.hand(OwnedDescriptor(descriptor), pid: pid)
                try channel.send(.proceed)
            case .failed(let text): throw RuntimeError(text)
            case nil: throw earlyEnd(of: pidfd)
            case .some(let other): throw RuntimeError("unexpected message from container process: \(other)")
            }
        }
    }

    /// For a first process that ended without a word.
    private func earlyEnd(of process: borrowing Pidfd) -> RuntimeError {
        guard case .killed(let signal)? = try? process.wait() else { return RuntimeError("it ended during set-up") }
        let isLimited = request.spec.linux?.resources?.memory?.limit.map { $0 > 0 } ?? false
        let guess = signal == SIGKILL && isLimited ? " (memory limit too low?)" : ""
        return RuntimeError("it was killed by signal \(signal) during set-up\(guess)")
    }

    func applyLimits() throws(RuntimeError) {
        try within("unable to apply cgroup configuration") { () throws(RuntimeError) in
            try grouping { () throws(CgroupError) in
                try cgroups.apply(request.spec.linux?.resources, devices: request.rootless == .no)
            }
        }
    }

    /// At the first of the places where peers could reach the container's network.
    private func lockConnections(in namespace: String) throws(RuntimeError) {
        guard let lock = request.connectionLock, !lock.isEmpty, !lock.isClosed else { return }
        try launching { () throws(SystemError) in
            let own = try openAt(AT_FDCWD, "/proc/thread-self/ns/net", O_RDONLY)
            let there = try openAt(AT_FDCWD, namespace, O_RDONLY)
            try joinNamespaces(there.raw, .network)
            let result = Result { () throws(SystemError) in try lock.close() }
            try joinNamespaces(own.raw, .network)
            try result.get()
        }
    }

    func lendDevices(_ state: inout ContainerState, _ pid: pid_t) throws(RuntimeError) {
        guard let namespacePath = state.netNamespace else { return }
        if namespaces.created.contains(.network) {
            try launching { () throws(SystemError) in
                let namespace = try openAt(AT_FDCWD, "/proc/\(pid)/ns/net", O_RDONLY)
                try NetworkDevices.hold(namespace, at: namespacePath)
            }
        }
        try lockConnections(in: namespacePath)
        state.netDevices = try NetworkDevices(state).numbered()
        // Who cleans up after a runtime that dies here knows them by these names.
        try store.save(state)
        try NetworkDevices(state).lend()
    }
}
