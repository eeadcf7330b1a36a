import LinuxSystem

/// The frame that rt_sigreturn(2) takes a task back with: registers, signal mask and XSAVE area (x86-64).
///
/// Layout of what r15 of the agent points at, `struct ucontext` of the kernel:
/// flags 8, link 8, stack 24, sigcontext 256, mask 8; the XSAVE area follows, aligned to 64 bytes.
struct SignalFrame {
    static let contextSize = 304

    /// Bytes for a frame at a 64-byte aligned address with an XSAVE area of `count` bytes.
    static func size(extendedState count: Int) -> Int { 320 + ((count + 4 + 63) & ~63) }

    /// The frame's bytes for `address`, with the system call that was interrupted rewound as the kernel would.
    static func bytes(
        at address: RemoteAddress, registers: user_regs_struct, mask: UInt64, extendedState: [UInt8]
    ) -> [UInt8] {
        // rt_sigreturn forgets what restart_syscall would go on with.
        let registers = registers.rewound(restartBlock: .again)
        // UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS, no link, and an alternate stack of no size, which the
        // kernel refuses, so that the task's own one stays.
        var words: [UInt64] = [0x7, 0, 0, 0, 0]
        words += [
            registers.r8, registers.r9, registers.r10, registers.r11, registers.r12, registers.r13, registers.r14,
            registers.r15, registers.rdi, registers.rsi, registers.rbp, registers.rbx, registers.rdx, registers.rax,
            registers.rcx, registers.rsp, registers.rip, registers.eflags,
        ]
        words.append(registers.cs & 0xffff | (registers.ss & 0xffff) << 48)
        words += [0, 0, 0, 0]  // err, trapno, oldmask, cr2
        words.append((address + 320).raw)
        words += Array(repeating: 0, count: 8)
        words.append(mask)
        var frame = words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
        frame.append(contentsOf: repeatElement(0, count: 320 - frame.count))

        // struct _fpx_sw_bytes in the XSAVE area's bytes 464…511, and the magic number behind it, make the kernel take
        // more than the legacy part.
        var state = extendedState
        let features = state[464..<472].enumerated().reduce(UInt64(0)) { $0 | UInt64($1.element) << (8 * $1.offset) }
        func put(_ value: UInt64, _ count: Int, at offset: Int) {
            for byte in 0..<count { state[offset + byte] = UInt8(truncatingIfNeeded: value >> (8 * byte)) }
        }
        put(0x4650_5853, 4, at: 464)
        put(UInt64(extendedState.count + 4), 4, at: 468)
        put(features, 8, at: 472)
        put(UInt64(extendedState.count), 4, at: 480)
        state += [0x45, 0x58, 0x50, 0x46]
        frame += state
        return frame
    }
}

/// What becomes of a call that keeps its progress in the kernel (nanosleep, poll, futex) and not in its arguments.
public enum RestartBlock: Sendable {
    /// Go on through restart_syscall(2): right while the task is still the one that made the call.
    case restart
    /// Make the call again: right in a new task, where the kernel knows of no call to go on with.
    case again
}

extension user_regs_struct {
    /// ERESTARTNOHAND: made again where no handler is to run, else EINTR.
    static let restartWithoutHandler = UInt64(bitPattern: -514)

    /// Whether a call that the kernel does not restart by itself has been interrupted, and may be made once more: nothing of
    /// it was done yet. signal(7) lists those that a stop ends with EINTR.
    var isInterruptedForGood: Bool {
        Int64(bitPattern: UInt64(rax)) == -Int64(EINTR) && Self.repeatable.contains(Int64(bitPattern: UInt64(orig_rax)))
    }

    private static let repeatable: Set<Int64> = Set(
        [
            SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_rt_sigtimedwait, SYS_semop, SYS_semtimedop,
            SYS_io_getevents, SYS_io_pgetevents, SYS_accept, SYS_accept4, SYS_connect, SYS_read, SYS_readv,
            SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg, SYS_write, SYS_writev, SYS_sendto, SYS_sendmsg, SYS_sendmmsg,
            SYS_io_uring_enter,
        ].map { Int64($0) })

    /// The interrupted system call's number, if the task stands in one that is to be restarted.
    public var restartingCall: Int? {
        let number = Int64(bitPattern: UInt64(orig_rax))
        guard number >= 0, [-512, -513, -514, -516].contains(Int64(bitPattern: UInt64(rax))) else { return nil }
        return Int(number)
    }

    /// The registers with which the task makes its interrupted system call again: what the kernel does on its way back
    /// to user space when there is no signal handler to run (arch_do_signal_or_restart).
    public func rewound(restartBlock: RestartBlock) -> user_regs_struct {
        var registers = self
        registers.orig_rax = UInt64.max
        guard let number = restartingCall else { return registers }
        registers.rip -= 2
        registers.rax = UInt64(number)
        if Int64(bitPattern: UInt64(rax)) == -516 {
            switch restartBlock {
            case .restart: registers.rax = UInt64(SYS_restart_syscall)
            case .again:
                // The kernel has written what is left of the time where the caller asked for it. A call whose number
                // is not known any more can only say that it was interrupted.
                if number == SYS_restart_syscall {
                    registers.rip = rip
                    registers.rax = UInt64(bitPattern: Int64(-EINTR))
                }
                if number == SYS_nanosleep, rsi != 0 { registers.rdi = rsi }
                if number == SYS_clock_nanosleep, r10 != 0 { registers.rdx = r10 }
            }
        }
        return registers
    }
}
