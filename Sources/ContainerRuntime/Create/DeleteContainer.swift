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
            do throws(RuntimeError) {
                try Container(try store.loadEvenHalfMade(id), in: store).destroy()
            } catch  where error.message == RuntimeError.doesNotExist.message {
                // A create that was killed before it wrote anything leaves an empty directory.
                try store.remove(id)
            }
        } catch  where error.message == RuntimeError.doesNotExist.message {}
    }

    /// Of a create that was killed, the process that it was making holds the lock until it ends, which a hook may keep it
    /// from. So whoever still has it after ten seconds loses the container's processes.
    private static func lockByForce(_ id: String, in store: StateStore) throws(RuntimeError) -> ContainerDirectory {
        if let directory = try store.lock(id, within: 10) { return directory }
        try grouping { () throws(CgroupError) in
            try (try? store.loadEvenHalfMade(id))?.cgroups.killAll()
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
        if initIsAlive { try? signal(SIGKILL) }
        try grouping { () throws(CgroupError) in
            try state.cgroups.killAll()
            try state.cgroups.remove()
        }
        NetworkDevices(state).takeBack(releasing: store.path(id))
        try store.remove(id)
        HookRunner(state, .stopped).runAll(hooks)
    }
}
