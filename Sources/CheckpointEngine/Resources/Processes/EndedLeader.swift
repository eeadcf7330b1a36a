import CheckpointImages
import LinuxSystem
import Tracee

/// A first thread that has ended before the others of its process: a zombie, which stands for the process in /proc and to
/// its parent. Of what it had, ids, capabilities, name and priority can still be seen, and count when somebody wants to
/// signal the process. In the images it is a thread without registers.
enum EndedLeader {
    /// - Parameter task: the entry of its process, which gets its exit code.
    static func capture(_ process: CapturedProcess, into task: inout TaskCoreEntry, of dump: Dump) throws -> CoreEntry?
    {
        guard let status = process.endedLeader else { return nil }
        let code = UInt32(truncatingIfNeeded: try status.stat(52))
        guard isEnd(code) else {
            throw CheckpointError(
                "its first thread was killed alone (signal \(code & 0x7f)); this cannot be checkpointed yet")
        }
        task.exitCode = code
        return try CoreEntry.with {
            $0.mtype = .x8664
            $0.threadCore = try ThreadState.scheduling(of: process.hostPid)
            $0.threadCore.creds = try Credentials.capture(status, secureBits: 0, in: dump.userNamespace)
            $0.threadCore.comm = process.name
            ($0.threadCore.futexRla, $0.threadCore.futexRlaLen) = (0, 0)
        }
    }

    /// Whether a thread can end like that, by exit(2).
    static func isEnd(_ code: UInt32) -> Bool { code & ~0xff00 == 0 }

    /// Lets the thread end; the others of its process are there.
    static func recreate(_ leader: Stub, code: UInt32, area: InjectedArea) throws {
        var program = Program(area.main)
        program.call("exit", Int(SYS_exit), [UInt64(code >> 8)])
        try leader.endThread(program, agent: area.base)
        let end = Deadline.patience
        while try !ProcessStatus(leader.tid).isZombie {
            guard !end.hasPassed else { throw CheckpointError("its first thread does not end") }
            usleep(100)
        }
    }
}
