import Cgroups
import LinuxSystem
import OCISpec

/// A container as the store has it, together with what the kernel says of it now.
package struct Container: Sendable {
    package enum Status: String, Sendable {
        case created, running, paused, stopped
    }

    package let store: StateStore
    package var state: ContainerState

    package init(_ id: String, in store: StateStore) throws(RuntimeError) {
        self.init(try store.load(id), in: store)
    }

    package init(_ state: ContainerState, in store: StateStore) {
        self.store = store
        self.state = state
    }

    package var id: String { state.id }

    /// What the specification calls the status. Computed at each call, since nothing of ours runs beside a container.
    package func status() -> Status {
        guard initIsAlive else { return .stopped }
        if (try? state.cgroups.isFrozen()) == true { return .paused }
        return awaitsStart ? .created : .running
    }

    /// Whether the process that init was still runs: a zombie does not, and another process with its id is not it.
    package var initIsAlive: Bool {
        guard state.initPid > 0, let stat = try? ProcessStat(pid: state.initPid) else { return false }
        return stat.startTime == state.initStartTime && !stat.isDead && !isInOwnMountNamespace
    }

    /// So is a process of the host that a damaged `state.json` names, and no container's: each has one of its own.
    private var isInOwnMountNamespace: Bool {
        guard let theirs = try? LinuxSystem.status("/proc/\(state.initPid)/ns/mnt"),
            let ours = try? LinuxSystem.status("/proc/self/ns/mnt")
        else { return false }
        return theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev
    }

    /// The socket goes when the container is started. Of a `start` that was killed it stays, and nobody listens there.
    private var awaitsStart: Bool {
        (try? LinuxSystem.status(store.startSocketPath(id))) != nil && StartSocket.isOpen(in: store.path(id))
    }
}
