import LinuxSystem
import Testing

@testable import Tracee

@Suite(.serialized, .enabled(if: geteuid() == 0, "needs root"), .enabled(if: Victim.canBeBuilt, "needs a C compiler"))
struct WaitingTests {
    /// The kernel tells of a first thread's death when the tracer has buried the others of its process, and shows them to a
    /// look at all tasks only behind those that were traced before and have a stop to tell.
    @Test func theDeathOfAProcessIsNoticedBehindAStopOfAnother() throws {
        let (other, killed) = (try Victim(threaded: false), try Victim(threaded: true))
        let tasks = try killed.tasks
        for task in [other.pid] + tasks { try Ptrace(task).seize(TracedThread.options) }
        defer { try? Ptrace(other.pid).detach() }
        try Ptrace(other.pid).interrupt()
        while try readText("/proc/\(other.pid)/stat").contains(") t ") == false { usleep(1000) }
        // Or nobody could wait for it after a failure.
        defer { for task in tasks.dropFirst() { _ = try? Ptrace(task).news() } }
        kill(killed.pid, SIGKILL)
        #expect(throws: TraceeError.self) {
            try Ptrace(killed.pid).waitUntilInterrupted(until: Deadline(seconds: 5))
        }
        #expect(try Ptrace(other.pid).waitUntilInterrupted() == .interrupted)
    }
}
