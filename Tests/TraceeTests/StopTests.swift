import LinuxSystem
import Testing

@testable import Tracee

/// Status words as wait(2) and ptrace(2) define them: low seven bits, signal in the second byte, event in the third.
@Suite struct StopTests {
    @Test(
        arguments: [
            (0x0000, Stop.exited(status: 0)),
            (0x2a00, .exited(status: 42)),
            (0xff00, .exited(status: 255)),
            (0x0009, .killed(signal: SIGKILL)),
            (0x008b, .killed(signal: SIGSEGV)),  // with a core dump
            (0x80_057f, .interrupted),
            (0x80_137f, .groupStop(SIGSTOP)),
            (0x80_147f, .groupStop(SIGTSTP)),
            (0x01_057f, .cloned),  // PTRACE_EVENT_FORK
            (0x02_057f, .cloned),  // PTRACE_EVENT_VFORK
            (0x03_057f, .cloned),  // PTRACE_EVENT_CLONE
            (0x04_057f, .event(4)),  // PTRACE_EVENT_EXEC
            (0x06_057f, .event(6)),  // PTRACE_EVENT_EXIT
            (0x00_857f, .systemCall),  // SIGTRAP | 0x80
            (0x00_057f, .signal(SIGTRAP)),
            (0x00_137f, .signal(SIGSTOP)),
            (0x00_0a7f, .signal(SIGUSR1)),
            (0x00_407f, .signal(64)),
        ] as [(CInt, Stop)])
    func decoding(status: CInt, stop: Stop) {
        #expect(Stop(status: status) == stop)
    }
}
