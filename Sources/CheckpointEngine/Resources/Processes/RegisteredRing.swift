import CheckpointImages
import LinuxSystem
import Tracee

/// A ring of io_uring that a thread knows by a number of its own (IORING_REGISTER_RING_FDS), and that may have no descriptor any
/// more. Nobody but the thread is told. Refused.
enum RegisteredRing: ProcessKind {
    static func askThread(_ thread: CapturedThread, in program: inout Program, of dump: Dump) -> ThreadAnswer? {
        // IORING_ENTER_REGISTERED_RING, Linux 5.18. The first number is 0; nothing is submitted, and nothing waited for.
        let entered = program.call(
            "io_uring_enter of a registered ring", Int(SYS_io_uring_enter), [0, 0, 0, 1 << 4, 0, 0], tolerated: nil)
        return { results, _ in
            // The thread has never used a ring; it has none by this number; the kernel has none.
            guard ![EINVAL, EBADF, ENOSYS].contains(CInt(-results[entered])) else { return }
            throw CheckpointError(
                "thread \(thread.innerID) has registered an io_uring (IORING_REGISTER_RING_FDS); this cannot be checkpointed yet"
            )
        }
    }
}
