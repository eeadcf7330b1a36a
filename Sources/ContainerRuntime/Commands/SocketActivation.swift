import LinuxSystem

/// Refuses descriptors from 3 on that the caller has not opened. Those that this program has opened since are close-on-exec.
package func checkPreserved(_ count: CInt) throws(RuntimeError) {
    for number in 3..<3 + max(count, 0) {
        let flags = clinux_fcntl(number, F_GETFD, 0)
        if flags < 0 || flags & FD_CLOEXEC != 0 {
            throw RuntimeError("--preserve-fds: of \(count) from 3 on, descriptor \(number) is not open")
        }
    }
}

/// Sockets that systemd or conmon handed to the runtime for the container. sd_listen_fds(3).
package struct SocketActivation: Equatable, Sendable {
    /// Descriptors from 3 on.
    package var count: CInt = 0

    package init(variable: (String) -> String?) {
        guard let count = variable("LISTEN_FDS").flatMap({ CInt($0) }), count > 0 else { return }
        // Meant for somebody else if the pid is given and not ours.
        if let pid = variable("LISTEN_PID").flatMap({ pid_t($0) }), pid != getpid() { return }
        self.count = count
    }

    /// What the container's process is told: it has pid 1.
    package var environment: [String] { count > 0 ? ["LISTEN_FDS=\(count)", "LISTEN_PID=1"] : [] }
}
