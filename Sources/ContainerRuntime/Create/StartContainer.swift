import LinuxSystem
import OCISpec

extension Container {
    /// `start`: lets the created container's process become its program. With a service manager's socket it returns when
    /// the program says that it is ready.
    package func start(notifySocket host: String? = nil) throws(RuntimeError) {
        let directory = try store.lock(id)
        switch status() {
        case .created: break
        case .stopped: throw .startStopped
        case .running, .paused: throw .alreadyRunning
        }
        let spec = try store.loadConfiguration(id)
        let channel = try StartSocket.connect(in: directory.path)
        let process = try launching { () throws(SystemError) in try Pidfd(pid: state.initPid) }
        let notifySocket = NotifySocket(host: host, container: store.path(id))
        let relay = try launching { () throws(SystemError) in try notifySocket?.listen() ?? nil }
        try store.recordingStart(of: id, state.initPid, spec) { () throws(RuntimeError) in
            try channel.send(.proceed)
        }
        try launching { () throws(SystemError) in
            let socket = store.startSocketPath(id)
            try system("unlink \(socket)") { unlink(socket) }
        }
        do throws(RuntimeError) {
            Trace.note("process \(state.initPid) may become its program")
            // Its end closes when it becomes its program: from then on it is running, not before.
            try channel.follow(
                process, pid: state.initPid, SeccompListener(spec.linux?.seccomp, HookRunner.state(state, .created)))
            try HookRunner(state, .running).run(spec.hooks?.poststart ?? [])
        } catch {
            try? signal(SIGKILL)
            throw error
        }
        // Others may have the container while this waits.
        _ = consume directory
        try launching { () throws(SystemError) in try relay?.waitUntilReady(process, pid: state.initPid) }
    }
}
