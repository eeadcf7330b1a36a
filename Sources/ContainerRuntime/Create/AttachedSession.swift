import LinuxSystem

/// The runtime in the foreground: passes signals and terminal data on until the process ends.
struct AttachedSession: ~Copyable {
    private let pid: pid_t
    private let signals: SignalQueue
    private let terminal: TerminalProxy?
    private let process: CInt
    private let relay: NotifyRelay?

    /// The caller has blocked all signals before the process was made, so that none is lost.
    init(
        pid: pid_t, pidfd: CInt, terminal: CInt?, relay: NotifyRelay? = nil
    ) throws(SystemError) {
        let proxy = try terminal.map { raw throws(SystemError) in try TerminalProxy(OwnedDescriptor(raw)) }
        let queue = try SignalQueue()
        self.pid = pid
        process = pidfd
        signals = queue
        self.terminal = proxy
        self.relay = relay
    }

    /// Returns the exit code of the process, 128 + N if signal N ended it.
    consuming func run() throws(SystemError) -> CInt {
        // poll(2) passes over a negative descriptor.
        var notifications = relay?.raw ?? -1
        while true {
            var polls = [signals.raw, notifications].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            polls += terminal?.interests ?? []
            try system("poll") { clinux_poll(&polls, UInt(polls.count), -1) }
            if polls.count > 2 { terminal?.serve(polls[2...]) }
            // The runtime itself stays what the service manager watches. An error of its socket is no reason to end.
            if polls[1].revents != 0, relayIsDone() { notifications = -1 }
            guard polls[0].revents != 0 else { continue }
            while let signal = signals.next() {
                if let code = handle(signal) {
                    terminal?.drain()
                    return code
                }
            }
        }
    }

    private func relayIsDone() -> Bool {
        do { return try relay?.pass(pid: nil) ?? true } catch { return true }
    }

    private func handle(_ signal: CInt) -> CInt? {
        switch signal {
        case SIGCHLD: return reap()
        case SIGWINCH where terminal != nil: terminal?.resize()
        case SIGPIPE: break
        default: clinux_syscall(Int(CLINUX_SYS_pidfd_send_signal), Int(process), Int(signal), 0, 0, 0, 0)
        }
        return nil
    }

    /// Takes every dead child, for orphans of the container may be ours too.
    private func reap() -> CInt? {
        var status: CInt = 0
        var code: CInt?
        while true {
            let dead = waitpid(-1, &status, WNOHANG)
            if dead <= 0 { return code }
            if dead == pid { code = status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f) }
        }
    }
}
