import Cgroups
import LinuxSystem
import OCISpec

extension Container {
    /// `delete`. With `force` a running container is killed first, and one that does not exist is no error.
    package static func delete(_ id: String, in store: StateStore, force: Bool) throws(RuntimeError) {
        do throws(RuntimeError) {
            let directory = try store.lock(id)
            defer { _ = directory.path }
            let container = Container(force ? try store.loadEvenHalfMade(id) : try store.load(id), in: store)
            switch container.status() {
            case .stopped, .created: break
            case let status where !force: throw .deleteRunning(id, status)
            case .running, .paused: break
            }
            try container.destroy()
        } catch  where error.message == RuntimeError.doesNotExist.message && force {
            // A create that was killed before it wrote anything leaves an empty directory.
            try store.remove(id)
        }
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
