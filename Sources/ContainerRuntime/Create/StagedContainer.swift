import Cgroups
import LinuxSystem
import OCISpec

/// A container whose first process is set up and waits, and which no other command can see yet.
@frozen package struct StagedContainer: ~Copyable {
    package var state: ContainerState
    /// In the caller's pid namespace.
    package let pid: pid_t
    package let pidfd: Pidfd
    package let request: CreateRequest
    let channel: InitChannel
    let directory: ContainerDirectory
    /// Outer end of the terminal, if the creator keeps it; open until the command ends.
    let terminal: CInt?
    let relay: NotifyRelay?
    private(set) var hasPidFile = false

    /// Makes the container known: from here on it is listed and can be started, killed and deleted.
    package mutating func publish() throws(RuntimeError) {
        let store = StateStore(root: request.stateRoot)
        state.restored = request.firstProcess == .restored
        try store.save(state)
        if let pidFile = request.pidFile {
            try writePidFile(pidFile, pid)
            hasPidFile = true
        }
        // One that has died meanwhile is a stopped container.
        if request.firstProcess == .command { try? channel.send(.proceed) }
    }

    /// Ends the container and removes every trace of it: its processes, cgroups and state. Then come its hooks of the stop.
    package consuming func abandon(because error: RuntimeError) -> RuntimeError {
        var error = error
        do throws(RuntimeError) {
            try launching { () throws(SystemError) in
                try pidfd.send(SIGKILL)
                _ = try pidfd.wait()
            }
        } catch {}
        do throws(RuntimeError) {
            let cgroups = state.cgroups
            try grouping { () throws(CgroupError) in
                try cgroups.killAll()
                try cgroups.remove()
            }
        } catch let cleanUp {
            error = error.followed(by: cleanUp)
        }
        let store = StateStore(root: request.stateRoot)
        NetworkDevices(state).takeBack(releasing: store.path(request.id))
        do throws(RuntimeError) {
            try store.remove(request.id)
        } catch let cleanUp {
            error = error.followed(by: cleanUp)
        }
        if hasPidFile, let pidFile = request.pidFile { unlink(pidFile) }
        HookRunner(state, .stopped).runAll(request.spec.hooks?.poststop ?? [])
        return error
    }

    /// Lets a process of ``FirstProcess/commandAtOnce`` become its program, and returns when it has.
    func launch() throws(RuntimeError) {
        let store = StateStore(root: request.stateRoot)
        try store.recordingStart(of: request.id, pid, request.spec) { () throws(RuntimeError) in
            try channel.send(.proceed)
        }
        let seccomp = request.spec.linux?.seccomp
        try channel.follow(pidfd, pid: pid, SeccompListener(seccomp, HookRunner.state(state, .created)))
    }

    /// Lets other commands at the container; what is left is what the foreground needs.
    consuming func settle() -> StartedContainer {
        StartedContainer(state: state, pid: pid, pidfd: pidfd, terminal: terminal, relay: relay)
    }

    /// Hooks of a container that runs.
    func runHooks(_ hooks: [Hook]) throws(RuntimeError) { try HookRunner(state, .running).run(hooks) }
}

/// A container that runs, for who waits in the foreground.
struct StartedContainer: ~Copyable {
    let state: ContainerState
    let pid: pid_t
    let pidfd: Pidfd
    let terminal: CInt?
    let relay: NotifyRelay?

    func waitUntilReady() throws(SystemError) { try relay?.waitUntilReady(pidfd, pid: pid) }
}

/// Written beside and renamed, so that nobody reads half a number.
func writePidFile(_ path: String, _ pid: pid_t) throws(RuntimeError) {
    try launching("write pid file") { () throws(SystemError) in
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        let temporary = (parts.dropLast() + [".\(parts.last ?? "")"]).joined(separator: "/")
        unlink(temporary)  // of a command that was killed
        let file = try openAt(AT_FDCWD, temporary, O_WRONLY | O_CREAT | O_EXCL, mode: 0o666)
        try writeAll(file.raw, Array("\(pid)".utf8), name: temporary)
        do throws(SystemError) {
            try system("rename \(temporary) to \(path)") { rename(temporary, path) }
        } catch {
            unlink(temporary)
            throw error
        }
    }
}
