import LinuxSystem
import Tracee

/// Executable memory of a task that nothing uses: the end of the last page of its vdso.
enum CodeCave {
    static func find(in process: pid_t, _ vdso: Range<UInt64>) throws -> RemoteAddress {
        let code = try TaskMemory(process).read(
            RemoteAddress(vdso.lowerBound), count: Int(vdso.upperBound - vdso.lowerBound))
        let used = (code.lastIndex { $0 != 0 } ?? 0) + 1
        let start = (used + 64) & ~63
        guard code.count - start >= AgentSession.caveSize else {
            throw CheckpointError("the kernel's code (vdso) fills its pages; there is no room for the engine to begin")
        }
        return RemoteAddress(vdso.lowerBound) + start
    }
}

/// Where a task's memory holds a `syscall` instruction: in the vdso.
enum SystemCallInstruction {
    static func find(in process: pid_t, _ vdso: Range<UInt64>) throws -> RemoteAddress {
        let code = try TaskMemory(process).read(
            RemoteAddress(vdso.lowerBound), count: Int(vdso.upperBound - vdso.lowerBound))
        for offset in 0..<(code.count - 1) where code[offset] == 0x0f && code[offset + 1] == 0x05 {
            return RemoteAddress(vdso.lowerBound) + offset
        }
        throw CheckpointError("no system call instruction in its vdso")
    }
}
