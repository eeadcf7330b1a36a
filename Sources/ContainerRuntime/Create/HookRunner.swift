import LinuxSystem
import OCISpec

/// Runs hooks with the container's state on their standard input. runtime-spec config.md, "POSIX-platform Hooks".
struct HookRunner {
    private var state: State

    /// For a container that is being made: `pid` as the hooks see it.
    init(_ container: ContainerState, creating pid: Int32) { state = Self.state(container, "creating", pid) }

    init(_ container: ContainerState, _ status: Container.Status) { state = Self.state(container, status) }

    /// The same container, further on.
    func of(_ status: Container.Status) -> HookRunner {
        var runner = self
        runner.state.status = status.rawValue
        return runner
    }

    /// What hooks read. runtime-spec runtime.md, "State".
    static func state(_ container: ContainerState, _ status: Container.Status) -> State {
        state(container, status.rawValue, status == .stopped ? nil : container.initPid)
    }

    static func state(_ container: ContainerState, _ status: String, _ pid: Int32?) -> State {
        var state = State(
            ociVersion: container.ociVersion, id: container.id, status: status, pid: pid, bundle: container.bundle)
        state.annotations = container.annotations
        return state
    }

    /// Hooks after the end: all of them, and one that fails is only warned of.
    func runAll(_ hooks: [Hook]) {
        for (index, hook) in hooks.enumerated() {
            do throws(RuntimeError) {
                try run(hook)
            } catch {
                Warnings.add("error running poststop hook #\(index): \(error)")
            }
        }
    }

    /// Runs each in turn and stops at the first that fails.
    ///
    /// - Parameters:
    ///   - environment: of those that do not say one; the runtime's, where it is not given.
    ///   - confine: called in each hook's process last of all before its exec.
    func run(
        _ hooks: [Hook], environment: [String]? = nil, confine: () throws(RuntimeError) -> Void = {}
    ) throws(RuntimeError) {
        for (index, hook) in hooks.enumerated() {
            try within("error running hook #\(index)") { () throws(RuntimeError) in
                try run(hook, environment, confine)
            }
        }
    }

    private func run(
        _ hook: Hook, _ environment: [String]? = nil, _ confine: () throws(RuntimeError) -> Void = {}
    ) throws(RuntimeError) {
        // Files in memory instead of pipes: no reader has to keep up, and a hook that leaves a daemon behind does not
        // keep the runtime waiting.
        let input = try launching { () throws(SystemError) in try memoryFile(holding: Array(state.json.text().utf8)) }
        let output = try launching { () throws(SystemError) in try makeMemoryFile("hook output") }
        let errors = try launching { () throws(SystemError) in try makeMemoryFile("hook errors") }
        let result = try launching("start hook \(hook.path)") { () throws(SystemError) in
            try cloneProcess(CloneRequest())
        }
        switch consume result {
        case .child:
            let variables = hook.env ?? environment ?? currentEnvironment()
            Self.become(hook, variables, input.raw, output.raw, errors.raw, confine)
        case .parent(let pid, let process):
            let exit = try launching { () throws(SystemError) -> Pidfd.Exit? in
                guard let timeout = hook.timeout, timeout > 0 else { return try process.wait() }
                if try process.ends(within: CInt(clamping: timeout * 1000)) { return try process.wait() }
                // With what it has started; a daemon that left its group has left the hook, too.
                kill(-pid, SIGKILL)
                try process.send(SIGKILL)
                _ = try process.wait()
                return nil
            }
            guard let exit else { throw RuntimeError("hook ran past specified timeout of \(hook.timeout ?? 0).0s") }
            if exit == .exited(0) { return }
            let reason =
                switch exit {
                case .exited(let code): "exit status \(code)"
                case .killed(let signal): "signal \(signal)"
                }
            throw RuntimeError(
                "error running hook: \(reason), stdout: \(Self.text(output.raw)), stderr: \(Self.text(errors.raw))")
        }
    }

    private static func become(
        _ hook: Hook, _ environment: [String], _ input: CInt, _ output: CInt, _ errors: CInt,
        _ confine: () throws(RuntimeError) -> Void
    ) -> Never {
        let arguments = hook.args.isEmpty ? [hook.path] : hook.args
        let program = PreparedProgram(path: hook.path, arguments: arguments, environment: environment)
        dup2(input, 0)
        dup2(output, 1)
        dup2(errors, 2)
        setpgid(0, 0)
        SignalMask.clear()
        do {
            try CallingProcess.closeOnExec(from: 3)
            try confine()
            throw program.execute()
        } catch {
            try? writeAll(2, Array("\(error)".utf8))
            _exit(127)
        }
    }

    private func memoryFile(holding bytes: [UInt8]) throws(SystemError) -> OwnedDescriptor {
        let file = try makeMemoryFile("hook state")
        try writeAll(file.raw, bytes)
        try system("rewind") { lseek(file.raw, 0, SEEK_SET) }
        return file
    }

    /// The end of what it said: the error is to fit in one message.
    private static func text(_ file: CInt) -> String {
        lseek(file, 0, SEEK_SET)
        return String(decoding: ((try? readAll(file)) ?? []).suffix(4096), as: UTF8.self)
    }
}
