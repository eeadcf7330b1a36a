import FoundationEssentials
import LinuxSystem
import OCISpec

/// Runs hooks with the container's state on their standard input. runtime-spec config.md, "POSIX-platform Hooks".
struct HookRunner {
    /// What hooks read. runtime-spec runtime.md, "State".
    struct State: Encodable {
        var ociVersion: String
        var id: String
        var status: String
        var pid: Int32?
        var bundle: String
        var annotations: [String: String]?
    }

    var state: State

    init(_ request: CreateRequest, pid: Int32?, status: String) {
        state = State(
            ociVersion: request.spec.ociVersion, id: request.id, status: status, pid: pid, bundle: request.bundle,
            annotations: request.spec.annotations.isEmpty ? nil : request.spec.annotations)
    }

    init(_ container: ContainerState, pid: Int32?, status: String) {
        state = State(
            ociVersion: container.ociVersion, id: container.id, status: status, pid: pid, bundle: container.bundle,
            annotations: container.annotations.isEmpty ? nil : container.annotations)
    }

    /// Runs each in turn and stops at the first that fails.
    func run(_ hooks: [Hook]) throws(RuntimeError) {
        for (index, hook) in hooks.enumerated() {
            try within("error running hook #\(index)") { () throws(RuntimeError) in try run(hook) }
        }
    }

    func run(_ hook: Hook) throws(RuntimeError) {
        // Files in memory instead of pipes: no reader has to keep up, and a hook that leaves a daemon behind does not
        // keep the runtime waiting.
        let input = try launching { () throws(SystemError) in try memoryFile(holding: encodedState()) }
        let output = try launching { () throws(SystemError) in try makeMemoryFile("hook output") }
        let errors = try launching { () throws(SystemError) in try makeMemoryFile("hook errors") }
        let result = try launching("start hook \(hook.path)") { () throws(SystemError) in
            try cloneProcess(CloneRequest())
        }
        switch consume result {
        case .child: Self.become(hook, input.raw, output.raw, errors.raw)
        case .parent(_, let process):
            let exit = try launching { () throws(SystemError) -> Pidfd.Exit? in
                guard let timeout = hook.timeout, timeout > 0 else { return try process.wait() }
                if try process.ends(within: CInt(clamping: timeout * 1000)) { return try process.wait() }
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

    private static func become(_ hook: Hook, _ input: CInt, _ output: CInt, _ errors: CInt) -> Never {
        dup2(input, 0)
        dup2(output, 1)
        dup2(errors, 2)
        SignalMask.clear()
        do {
            try CallingProcess.closeOnExec(from: 3)
            try CallingProcess.execute(
                path: hook.path, arguments: hook.args.isEmpty ? [hook.path] : hook.args,
                environment: hook.env.isEmpty ? currentEnvironment() : hook.env)
        } catch {
            try? writeAll(2, Array(error.description.utf8))
            _exit(127)
        }
    }

    private func encodedState() -> [UInt8] {
        (try? JSONEncoder().encode(state)).map(Array.init) ?? []
    }

    private func memoryFile(holding bytes: [UInt8]) throws(SystemError) -> OwnedDescriptor {
        let file = try makeMemoryFile("hook state")
        try writeAll(file.raw, bytes)
        try system("rewind") { lseek(file.raw, 0, SEEK_SET) }
        return file
    }

    private static func text(_ file: CInt) -> String {
        lseek(file, 0, SEEK_SET)
        return String(decoding: (try? readAll(file)) ?? [], as: UTF8.self)
    }
}
