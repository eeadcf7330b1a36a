import LinuxSystem

/// Which call a thread is in that was interrupted before (by SIGSTOP, strace, an earlier checkpoint).
///
/// Such a thread stands in restart_syscall(2), which only the kernel that it was interrupted in understands, and the
/// number of its call is gone. There are just four calls that go on in this way, and their arguments are still in the
/// registers. The instruction in front of the call tells mostly (`mov eax, NUMBER; syscall`); where the number came in a
/// register (syscall(3)), what the arguments point at does: a timespec and a pollfd never look alike. Where neither
/// tells, the call ends with EINTR.
enum RestartedCall {
    static func number(of registers: user_regs_struct, in memory: TaskMemory) -> Int? {
        inCode(registers, memory) ?? byArguments(registers, memory)
    }

    private static func inCode(_ registers: user_regs_struct, _ memory: TaskMemory) -> Int? {
        let length = 16
        guard let code = try? memory.read(RemoteAddress(UInt64(registers.rip)) + -length, count: length),
            code[length - 2] == 0x0f, code[length - 1] == 0x05
        else { return nil }
        let calls = [UInt8(SYS_poll), UInt8(SYS_nanosleep), UInt8(SYS_futex), UInt8(SYS_clock_nanosleep)]
        for start in (0...(length - 7)).reversed() where code[start] == 0xb8 {
            guard calls.contains(code[start + 1]), code[(start + 2)..<(start + 5)].allSatisfy({ $0 == 0 }) else {
                continue
            }
            return Int(code[start + 1])
        }
        return nil
    }

    private static func byArguments(_ registers: user_regs_struct, _ memory: TaskMemory) -> Int? {
        let first = UInt64(registers.rdi)
        let second = UInt64(registers.rsi)
        func isTime(_ address: UInt64) -> Bool {
            guard let time = try? memory.value(RemoteAddress(address), as: SIMD2<UInt64>.self) else { return false }
            return time[0] < 1 << 32 && time[1] < 1_000_000_000
        }
        func isPoll() -> Bool {
            guard second > 0, second < 1 << 16,
                let bytes = try? memory.read(RemoteAddress(first), count: Int(second) * 8)
            else { return false }
            return stride(from: 0, to: bytes.count, by: 8).allSatisfy { offset in
                let entry = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: SIMD2<Int32>.self) }
                return entry[0] >= -1 && entry[0] < 1 << 20 && entry[1] & 0xffff != 0
            }
        }
        // FUTEX_WAIT and FUTEX_WAIT_BITSET, with FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME or without.
        let isWait = [0, 9].contains(second & ~0x180)
        if first < 16 { return second == 0 && isTime(UInt64(registers.rdx)) ? Int(SYS_clock_nanosleep) : nil }
        if isWait, second & 0x80 != 0, isTime(UInt64(registers.r10)) { return Int(SYS_futex) }
        if isTime(first), second == 0 || second > 1 << 16 { return Int(SYS_nanosleep) }
        if isPoll() { return Int(SYS_poll) }
        return isWait && isTime(UInt64(registers.r10)) ? Int(SYS_futex) : nil
    }
}
