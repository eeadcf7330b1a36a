import FoundationEssentials
import LinuxSystem

/// Hands the listener of a filter with SCMP_ACT_NOTIFY to the agent that decides.
/// runtime-spec config-linux.md, "The Container Process State".
struct SeccompListener {
    private struct State: Encodable {
        var ociVersion: String
        var fds = ["seccompFd"]
        var pid: Int32
        var metadata: String
        var state: HookRunner.State
    }

    var path: String
    var metadata: String?

    func hand(_ number: CInt, of process: borrowing Pidfd, pid: pid_t, _ state: HookRunner.State) throws(RuntimeError) {
        let text =
            (try? JSONEncoder().encode(
                State(ociVersion: state.ociVersion, pid: pid, metadata: metadata ?? "", state: state))).map(Array.init)
            ?? []
        try launching("hand over seccomp listener") { () throws(SystemError) in
            let listener = try process.descriptor(number)
            let socket = try connectUnixSocket(path)
            try sendMessage(socket.raw, text, descriptors: [listener.raw])
        }
    }
}
