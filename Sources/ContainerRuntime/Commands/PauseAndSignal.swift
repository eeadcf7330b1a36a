import Cgroups
import LinuxSystem
import OCISpec

extension Container {
    package func pause() throws(RuntimeError) {
        switch status() {
        case .created, .running: try withCgroups { set throws(CgroupError) in try set.freeze() }
        case .paused, .stopped: throw .notRunning
        }
    }

    package func resume() throws(RuntimeError) {
        guard status() == .paused else { throw .notPaused }
        try withCgroups { set throws(CgroupError) in try set.thaw() }
    }

    /// Sends a signal to the container's init, or to all of its processes.
    package func signal(_ signal: CInt, toAll: Bool = false) throws(RuntimeError) {
        // All of them get it, or whoever stops this command comes too late for any.
        let mask = SignalMask.blockAll()
        defer { mask.restore() }
        Trace.note("signal \(signal) to \(toAll ? "every process" : "process \(state.initPid)")")
        if toAll {
            // Processes that outlive init belong to a stopped container; with none left there is nothing to do.
            if state.cgroups.layout != .disabled {
                return try withCgroups { set throws(CgroupError) in try set.signal(signal) }
            }
            for pid in try processes() { try? Pidfd(pid: pid).send(signal) }
            return
        }
        if signal == SIGKILL, state.cgroups != .disabled, try !ownsPidNamespace() {
            // Where init's death does not take the others along, only the cgroup knows them, also when it is long dead.
            return try withCgroups { set throws(CgroupError) in try set.signal(SIGKILL) }
        }
        guard initIsAlive else { throw .notRunning }
        try checkOwnership()
        try signalInit(signal)
    }

    /// All of them, by the ids that they have for the caller.
    func processes() throws(RuntimeError) -> [pid_t] {
        // Without a cgroup they are known by their pid namespace, if nobody else is in it; it ends with the first process.
        if state.cgroups.layout == .disabled, try ownsPidNamespace() {
            if !initIsAlive { return [] }
            let found = try launching { () throws(SystemError) in try PidNamespace.processes(of: state.initPid) }
            return found.filter { (try? ProcessStat(pid: $0))?.isDead == false }
        }
        return try grouping { () throws(CgroupError) in try state.cgroups.processes() }
    }

    private func ownsPidNamespace() throws(RuntimeError) -> Bool {
        let namespaces = try store.loadConfiguration(id).linux?.namespaces ?? []
        return namespaces.contains { $0.type == .pid && ($0.path ?? "").isEmpty }
    }

    /// By descriptor, and looked at once more behind it: the process that gets the signal is the one that was meant.
    func signalInit(_ signal: CInt) throws(RuntimeError) {
        do throws(SystemError) {
            let process = try Pidfd(pid: state.initPid)
            guard initIsAlive else { throw SystemError(.noSuchProcess, "") }
            try process.send(signal)
        } catch {
            if error.errno == .noSuchProcess { throw .notRunning }
            throw RuntimeError("unable to signal init: \(error)")
        }
    }

    private func withCgroups(_ body: (CgroupSet) throws(CgroupError) -> Void) throws(RuntimeError) {
        try checkOwnership()
        do throws(CgroupError) {
            try body(state.cgroups)
        } catch {
            throw RuntimeError(error.description)
        }
    }
}
