import LinuxSystem

/// Of so many descriptors from 3 on those that the caller has opened. What this program has opened since is close-on-exec.
package func openDescriptors(_ count: CInt) -> [CInt] {
    (3..<3 + max(count, 0)).filter { clinux_fcntl($0, F_GETFD, 0) == 0 }
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
