import LinuxSystem
import OCISpec

/// Hands the listener of a filter with SCMP_ACT_NOTIFY to the agent that decides.
/// runtime-spec config-linux.md, "The Container Process State".
struct SeccompListener {
    private let path: String
    private let metadata: String
    private let container: State

    init(_ seccomp: Seccomp?, _ container: State) {
        path = seccomp?.listenerPath ?? ""
        metadata = seccomp?.listenerMetadata ?? ""
        self.container = container
    }

    /// - Parameter number: of the listener, in the process.
    func fetch(_ number: CInt, from process: borrowing Pidfd) throws(RuntimeError) -> OwnedDescriptor {
        try launching("fetch seccomp listener") { () throws(SystemError) in try process.descriptor(number) }
    }

    /// - Parameter pid: of the process that the listener is about.
    func hand(_ listener: consuming OwnedDescriptor, pid: pid_t) throws(RuntimeError) {
        let listener = consume listener
        try launching("hand over seccomp listener") { () throws(SystemError) in
            let socket = try connectUnixSocketAtOnce(path)
            try sendMessage(socket.raw, Array(document(pid).text().utf8), descriptors: [listener.raw])
        }
    }

    /// `fds` names the descriptors that come with it.
    private func document(_ pid: pid_t) -> JSONText {
        var members: [(String, JSONText)] = [
            ("ociVersion", .string(Spec.version)), ("fds", .strings(["seccompFd"])), ("pid", .number(Int(pid))),
        ]
        if !metadata.isEmpty { members.append(("metadata", .string(metadata))) }
        return .object(members + [("state", container.json)])
    }
}
