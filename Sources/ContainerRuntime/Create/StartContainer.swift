import LinuxSystem
import OCISpec

extension Container {
    /// `start`: lets the created container's process become its program.
    package func start() throws(RuntimeError) {
        let directory = try store.lock(id)
        switch status() {
        case .created: break
        case .stopped: throw .startStopped
        case .running, .paused: throw .alreadyRunning
        }
        try launching("start container") { () throws(SystemError) in
            // Without a reader, that is without a process, this fails at once instead of waiting for one.
            let fifo = try openAt(AT_FDCWD, directory.fifoPath, O_WRONLY | O_NONBLOCK | O_NOFOLLOW)
            try writeAll(fifo.raw, [0], name: "exec.fifo")
            try system("unlink \(directory.fifoPath)") { unlink(directory.fifoPath) }
            // The process's end closes when it becomes its program: from then on it is running, not before.
            var poll = pollfd(fd: fifo.raw, events: 0, revents: 0)
            try system("poll exec.fifo") { clinux_poll(&poll, 1, -1) }
        }
        let hooks = try store.loadConfiguration(id).hooks?.poststart ?? []
        do throws(RuntimeError) {
            try HookRunner(state, pid: state.initPid, status: "running").run(hooks)
        } catch {
            try? signal(SIGKILL)
            throw error
        }
    }
}
