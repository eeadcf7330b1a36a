import LinuxSystem
import Testing

@testable import Tracee

/// What the kernel does with an interrupted system call on its way back to user space, when no handler runs.
@Suite struct RewindTests {
    private static func stopped(in number: Int, returning result: Int) -> user_regs_struct {
        var registers = user_regs_struct()
        registers.orig_rax = UInt64(bitPattern: Int64(number))
        registers.rax = UInt64(bitPattern: Int64(result))
        registers.rip = 0x1002
        registers.rdi = 0xd1
        registers.rsi = 0x51
        registers.rdx = 0xd8
        registers.r10 = 0x10
        return registers
    }

    /// ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND: the same call with the same arguments.
    @Test(arguments: [-512, -513, -514], [RestartBlock.restart, .again])
    func theCallIsMadeAgain(result: Int, block: RestartBlock) {
        let before = Self.stopped(in: Int(SYS_read), returning: result)
        #expect(before.restartingCall == Int(SYS_read))
        let after = before.rewound(restartBlock: block)
        #expect(after.rip == 0x1000)
        #expect(after.rax == UInt64(SYS_read))
        #expect(after.orig_rax == UInt64.max)
        #expect([after.rdi, after.rsi, after.rdx, after.r10] == [0xd1, 0x51, 0xd8, 0x10])
    }

    /// ERESTART_RESTARTBLOCK, while the task is the one that made the call.
    @Test(arguments: [SYS_nanosleep, SYS_clock_nanosleep, SYS_poll, SYS_futex])
    func theKernelGoesOn(number: CInt) {
        let after = Self.stopped(in: Int(number), returning: -516).rewound(restartBlock: .restart)
        #expect(after.rip == 0x1000)
        #expect(after.rax == UInt64(SYS_restart_syscall))
        #expect(after.orig_rax == UInt64.max)
        #expect([after.rdi, after.rsi, after.rdx, after.r10] == [0xd1, 0x51, 0xd8, 0x10])
    }

    @Test func aNewTaskSleepsForTheRemainder() {
        let short = Self.stopped(in: Int(SYS_nanosleep), returning: -516).rewound(restartBlock: .again)
        #expect(short.rax == UInt64(SYS_nanosleep))
        #expect([short.rdi, short.rsi] == [0x51, 0x51])
        let clock = Self.stopped(in: Int(SYS_clock_nanosleep), returning: -516).rewound(restartBlock: .again)
        #expect(clock.rax == UInt64(SYS_clock_nanosleep))
        #expect([clock.rdi, clock.rsi, clock.rdx, clock.r10] == [0xd1, 0x51, 0x10, 0x10])
        let poll = Self.stopped(in: Int(SYS_poll), returning: -516).rewound(restartBlock: .again)
        #expect(poll.rax == UInt64(SYS_poll))
        #expect([poll.rdi, poll.rsi, poll.rdx] == [0xd1, 0x51, 0xd8])
    }

    @Test func withoutAPlaceForTheRemainderTheWholeTimeIsSlept() {
        var short = Self.stopped(in: Int(SYS_nanosleep), returning: -516)
        short.rsi = 0
        #expect(short.rewound(restartBlock: .again).rdi == 0xd1)
        var clock = Self.stopped(in: Int(SYS_clock_nanosleep), returning: -516)
        clock.r10 = 0
        #expect(clock.rewound(restartBlock: .again).rdx == 0xd8)
    }

    /// Finished calls, failed ones, and tasks that were in no call.
    @Test(arguments: [(0, 5), (0, -4), (0, -515), (0, -517), (-1, -512), (-1, 0x7fff)])
    func whatIsNotRestarting(number: Int, result: Int) {
        let before = Self.stopped(in: number, returning: result)
        #expect(before.restartingCall == nil)
        let after = before.rewound(restartBlock: .restart)
        #expect(after.rip == 0x1002)
        #expect(after.rax == before.rax)
        #expect(after.orig_rax == UInt64.max)
    }
}
