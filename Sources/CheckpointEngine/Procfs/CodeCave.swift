import LinuxSystem
import Tracee

/// Executable memory of a task that nothing uses: the end of the last page of its vdso.
enum CodeCave {
    /// What an engine that died has left there is used again, unless a thread is still on its way out of it.
    static func find(in process: CapturedProcess, _ vdso: Range<UInt64>) throws -> RemoteAddress {
        let code = try TaskMemory(process.task).read(
            RemoteAddress(vdso.lowerBound), count: Int(vdso.upperBound - vdso.lowerBound))
        let size = AgentSession.caveSize
        let positions = process.threads.map { UInt64($0.registers.rip) }
        for start in stride(from: 0, to: code.count - size + 1, by: 64)
        where code[start] == AgentSession.caveMark.first && code[start...].starts(with: AgentSession.caveMark) {
            let cave = RemoteAddress(vdso.lowerBound) + start
            if !positions.contains(where: { $0 >= cave.raw && $0 < (cave + size).raw }) { return cave }
        }
        let used = (code.lastIndex { $0 != 0 } ?? 0) + 1
        let start = (used + 63) & ~63
        guard code.count - start >= size else {
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
