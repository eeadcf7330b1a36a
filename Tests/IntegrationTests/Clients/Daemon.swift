import Glibc

/// A daemon that a test started, to be stopped by its id.
struct Daemon {
    private var running: RunningCommand
    var pid: pid_t { running.pid }

    /// Waits until a question that only the daemon answers succeeds.
    init(_ command: Command, log: String, isReady: () -> Bool) throws(Failure) {
        var command = command
        command.output = log
        running = try command.start()
        guard until(seconds: 20, isReady) else {
            stop()
            throw Failure("`\(command.line)` does not answer: \((Files.text(of: log) ?? "").suffix(2000))")
        }
    }

    mutating func stop() {
        running.kill(SIGTERM)
        running.kill()
    }
}
