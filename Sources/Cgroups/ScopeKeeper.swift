import LinuxSystem

/// A process that does nothing, for a scope to begin with: systemd makes none without a process, and the container's
/// first process shall be born in its cgroup.
package struct ScopeKeeper {
    let pid: pid_t
    private let descriptor: CInt

    init() throws(SystemError) {
        switch try cloneProcess(CloneRequest()) {
        case .child:
            // Whatever becomes of the runtime, nothing of this stays.
            try? CallingProcess.setParentDeathSignal(SIGKILL)
            while true { pause() }
        case .parent(let pid, let pidfd):
            self.pid = pid
            descriptor = pidfd.release().release()
        }
    }

    /// To be called once somebody else is in the cgroup: systemd removes an empty scope.
    package func leave() {
        let process = Pidfd(OwnedDescriptor(descriptor))
        try? process.send(SIGKILL)
        _ = try? process.wait()
    }
}
