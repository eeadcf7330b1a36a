import LinuxSystem

/// How the first process of a container with a user namespace comes to be: by a process in between.
///
/// What the container gets new must belong to its user namespace, so whoever makes it has to be in there already; what it
/// joins may belong to the runtime's, so it has to be joined before. The process in between does both, makes the first
/// process as a further child of the runtime, and ends.
struct UserNamespaceBirth {
    enum Way {
        /// As config.json says, with these maps for a new user namespace.
        case plan(NamespacePlan, IDMaps, ClockOffsets?)
        /// What a process is in, by its pidfd.
        case container(CInt, Namespaces)
    }

    let way: Way
    let request: CloneRequest
    /// The first process's end of the channel.
    let theirs: CInt

    /// Returns in the runtime and in the first process, which then waits for ``InitMessage/proceed``.
    func clone(_ channel: borrowing InitChannel) throws(RuntimeError) -> CloneResult {
        let result = try launching { () throws(SystemError) in try cloneProcess(CloneRequest()) }
        switch consume result {
        case .child:
            // Or nobody in here would see that the runtime is gone.
            close(channel.socket.raw)
            goBetween()
            return .child
        case .parent(let pid, let process):
            do throws(RuntimeError) {
                let first = try attend(pid, channel)
                let pidfd = try launching { () throws(SystemError) in
                    _ = try process.wait()
                    return try Pidfd(pid: first)
                }
                try channel.send(.proceed)
                return .parent(pid: first, pidfd: pidfd)
            } catch {
                try? process.send(SIGKILL)
                _ = try? process.wait()
                throw error
            }
        }
    }

    /// The runtime's half.
    private func attend(_ pid: pid_t, _ channel: borrowing InitChannel) throws(RuntimeError) -> pid_t {
        while true {
            switch try channel.receive() {
            case .unmapped:
                if case .plan(_, let maps, _) = way { try maps.write(to: pid) }
                try channel.send(.proceed)
            case .born(let first): return first
            case .failed(let text): throw RuntimeError(text)
            case nil: throw RuntimeError("the process in between ended early")
            case .some(let other): throw RuntimeError("unexpected message from the process in between: \(other)")
            }
        }
    }

    /// Returns in the first process alone.
    private func goBetween() {
        CallingProcess.setName("stasis:userns")
        let copy = clinux_fcntl(theirs, F_DUPFD_CLOEXEC, 0)
        let channel = InitChannel(OwnedDescriptor(copy), isConfined: true)
        do throws(RuntimeError) {
            try enter(channel)
            let result = try launching { () throws(SystemError) in
                try CallingProcess.setDumpable(false)
                return try cloneProcess(request)
            }
            guard case .parent(let pid, _) = consume result else { return }
            try channel.send(.born(pid))
            _exit(0)
        } catch {
            try? channel.send(.failed(error.message))
            _exit(1)
        }
    }

    private func enter(_ channel: borrowing InitChannel) throws(RuntimeError) {
        switch way {
        case .plan(let namespaces, _, let clocks): try enter(namespaces, clocks, channel)
        case .container(let process, let kinds):
            if kinds.isEmpty { return }
            try launching { () throws(SystemError) in try joinNamespaces(process, kinds) }
        }
    }

    private func enter(
        _ namespaces: NamespacePlan, _ clocks: ClockOffsets?, _ channel: borrowing InitChannel
    ) throws(RuntimeError) {
        try launching { () throws(SystemError) in
            let others = Namespaces.all.subtracting([.user, .mount])
            let joined = try namespaces.joinPermitted(others)
            if namespaces.createsUser { try leaveNamespaces(.user) } else { try namespaces.join(.user) }
            try namespaces.join(others.subtracting(joined))
        }
        if namespaces.createsUser {
            try channel.send(.unmapped)
            try channel.expect(.proceed, orDied: "the runtime is gone")
        }
        if namespaces.createsTime || clocks != nil {
            try launching { () throws(SystemError) in try BirthNamespaces.newTime(clocks) }
        }
    }
}

/// Takes on the ids that are root's in the user namespace that the caller has come into.
func becomeRootOfNamespace() throws(SystemError) {
    var root = Credentials(user: 0, group: 0)
    root.mayKeepGroups = true
    try root.apply()
}
