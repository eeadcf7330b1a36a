import LinuxSystem
import Tracee

/// How often a checkpoint is tried. A busy program has at any moment something that waits for it to be read and that nobody
/// else can read without taking it away: a connection to be accepted, an event of inotify, bytes of a terminal. Some
/// milliseconds later it has read it. So the container is let run, and stopped again.
struct Attempts {
    private var made = 1
    private let start = microseconds()
    private let end = Deadline(milliseconds: 2000)

    static let most = 20

    /// Decides what becomes of a checkpoint that has failed, while the container runs again. Waits for its programs a little
    /// longer each time: the busy ones are through soon, others sleep.
    ///
    /// - Throws: the error, if it is to be given up.
    mutating func wait(after error: any Error, of request: CheckpointRequest) throws {
        // Who is paused reads nothing.
        guard var refusal = error as? CheckpointError, refusal.isPassing, !request.isPaused else { throw error }
        guard made < Self.most, !end.hasPassed else {
            refusal.description += "; tried \(made) times within \((microseconds() - start) / 1000) ms"
            throw refusal
        }
        request.logger.info("attempt \(made) of at most \(Self.most): \(refusal); the container goes on for a moment")
        usleep(UInt32(made) * 5000)
        made += 1
    }
}
