import LinuxSystem
import Testing

@testable import Tracee

/// The frame against the kernel's `struct ucontext`, `struct sigcontext_64` and `struct _fpx_sw_bytes`.
@Suite struct SignalFrameTests {
    static let address = RemoteAddress(0x7000_0000)
    static let mask: UInt64 = 0x8000_0000_0000_4001
    static let state: [UInt8] = (0..<2696).map { UInt8(truncatingIfNeeded: $0 * 7) }

    static let registers: user_regs_struct = {
        var registers = user_regs_struct()
        registers.r8 = 8
        registers.r9 = 9
        registers.r10 = 10
        registers.r11 = 11
        registers.r12 = 12
        registers.r13 = 13
        registers.r14 = 14
        registers.r15 = 15
        registers.rdi = 16
        registers.rsi = 17
        registers.rbp = 18
        registers.rbx = 19
        registers.rdx = 20
        registers.rax = 21
        registers.rcx = 22
        registers.rsp = 23
        registers.rip = 24
        registers.eflags = 0x246
        registers.cs = 0x33
        registers.ss = 0x2b
        registers.orig_rax = UInt64.max
        return registers
    }()

    private func frame() -> [UInt8] {
        SignalFrame.bytes(at: Self.address, registers: Self.registers, mask: Self.mask, extendedState: Self.state)
    }

    private func word<T: FixedWidthInteger>(_ bytes: [UInt8], _ offset: Int, _ type: T.Type = UInt64.self) -> T {
        bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: T.self) }
    }

    @Test func context() {
        let frame = frame()
        #expect(word(frame, 0) == UInt64(7), "UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS")
        #expect((1..<5).allSatisfy { word(frame, $0 * 8) == UInt64(0) }, "no link, no alternate stack")
        #expect((0..<17).map { word(frame, 40 + $0 * 8) } == (8...24).map { UInt64($0) })
        #expect(word(frame, 40 + 17 * 8) == UInt64(0x246))
        let selectors = (0..<4).map { word(frame, 40 + 18 * 8 + $0 * 2, UInt16.self) }
        #expect(selectors == [0x33, 0, 0, 0x2b], "cs, gs, fs, ss")
        #expect(word(frame, 40 + 23 * 8) == Self.address.raw + 320, "where the XSAVE area is")
        // sigcontext has 256 bytes, so the mask begins at 40 + 256.
        #expect(word(frame, 296) == Self.mask)
        #expect(SignalFrame.contextSize == 304)
    }

    @Test func extendedState() {
        let frame = frame()
        let count = Self.state.count
        let area = Array(frame[320...])
        #expect(area.count == count + 4)
        #expect((Self.address.raw + 320) % 64 == 0)
        #expect(Array(area[0..<464]) == Array(Self.state[0..<464]))
        #expect(word(area, 464, UInt32.self) == 0x4650_5853, "FP_XSTATE_MAGIC1")
        #expect(word(area, 468, UInt32.self) == UInt32(count + 4), "with the magic number behind it")
        let features: UInt64 = word(Self.state, 464)
        #expect(word(area, 472) == features)
        #expect(word(area, 480, UInt32.self) == UInt32(count))
        #expect(Array(area[484..<count]) == Array(Self.state[484...]))
        #expect(word(area, count, UInt32.self) == 0x4650_5845, "FP_XSTATE_MAGIC2")
        #expect(frame.count <= SignalFrame.size(extendedState: count))
    }

    @Test func anInterruptedCallIsRewound() {
        var registers = Self.registers
        registers.orig_rax = UInt64(SYS_read)
        registers.rax = UInt64(bitPattern: -512)
        registers.rip = 0x1002
        let frame = SignalFrame.bytes(at: Self.address, registers: registers, mask: 0, extendedState: Self.state)
        #expect(word(frame, 40 + 13 * 8) == UInt64(SYS_read))
        #expect(word(frame, 40 + 16 * 8) == UInt64(0x1000))
    }

    /// rt_sigreturn(2) ends what restart_syscall(2) would go on with, which then returns EINTR: the call is made again.
    @Test func aSleepIsMadeAgain() {
        var registers = Self.registers
        registers.orig_rax = UInt64(SYS_clock_nanosleep)
        registers.rax = UInt64(bitPattern: -516)
        registers.rip = 0x1002
        let frame = SignalFrame.bytes(at: Self.address, registers: registers, mask: 0, extendedState: Self.state)
        #expect(word(frame, 40 + 13 * 8) == UInt64(SYS_clock_nanosleep))
    }
}
