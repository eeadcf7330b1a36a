import Cgroups
import LinuxSystem
import OCISpec

extension Container {
    /// `delete`. With `force` a running container is killed first, and one that does not exist is no error.
    package static func delete(_ id: String, in store: StateStore, force: Bool) throws(RuntimeError) {
        if force { return try deleteByForce(id, in: store) }
        let directory = try store.lock(id)
        defer { _ = directory.path }
        let container = Container(try store.load(id), in: store)
        switch container.status() {
        case .stopped, .created: try container.destroy()
        case let status: throw .deleteRunning(id, status)
        }
    }

    private static func deleteByForce(_ id: String, in store: StateStore) throws(RuntimeError) {
        do throws(RuntimeError) {
            let directory = try lockByForce(id, in: store)
            defer { _ = directory.path }
            let state: ContainerState
            do throws(RuntimeError) {
                state = try store.loadEvenHalfMade(id)
            } catch {
                // A create that was killed before it wrote anything leaves an empty directory.
                try store.remove(id)
                if error.message == RuntimeError.doesNotExist.message { return }
                throw RuntimeError(
                    "\(error): nobody can tell the container's processes and cgroups; only its state is removed")
            }
            try Container(state, in: store).destroy()
        } catch  where error.message == RuntimeError.doesNotExist.message {}
    }

    /// Of a create that was killed, the process that it was making holds the lock until it ends, which a hook may keep it
    /// from. So whoever still has it after ten seconds loses the container's processes.
    private static func lockByForce(_ id: String, in store: StateStore) throws(RuntimeError) -> ContainerDirectory {
        if let directory = try store.lock(id, within: 10) { return directory }
        if let state = try? store.loadEvenHalfMade(id) {
            try Container(state, in: store).checkOwnership()
            try grouping { () throws(CgroupError) in try state.cgroups.killAll() }
        }
        if let directory = try store.lock(id, within: 10) { return directory }
        throw RuntimeError("container \(id): another command has been changing it for 20 seconds")
    }

    /// Kills what is left and removes cgroups and state. Hooks of the stop come last and cannot fail it.
    package func destroy() throws(RuntimeError) {
        try destroy(thenRun: (try? store.loadConfiguration(id))?.hooks?.poststop ?? [])
    }

    func destroy(thenRun hooks: [Hook]) throws(RuntimeError) {
        Trace.note("process \(state.initPid) \(initIsAlive ? "is killed" : "has ended"); cgroups and state are removed")
        let strangers = try strangers()
        if let other = strangers.process {
            Warnings.add("process \(state.initPid) of container \(id) is container \(other)'s: it is left alone")
        } else if initIsAlive {
            try? signalInit(SIGKILL)
        }
        if let other = strangers.cgroups {
            Warnings.add("the cgroup of container \(id) is container \(other)'s by now: it is left alone")
        } else {
            try grouping { () throws(CgroupError) in
                try state.cgroups.killAll()
                try state.cgroups.remove()
            }
        }
        NetworkDevices(state).takeBack(releasing: store.path(id))
        try store.remove(id)
        HookRunner(state, .stopped).runAll(hooks)
    }
}
