import CheckpointImages
import LinuxSystem
import Tracee

/// The general purpose registers (x86-64), as the task will resume with them: an interrupted system call is rewound so
/// that it is made again, or returns EINTR where a handler will run first.
enum Registers: ProcessKind {
    static func capture(_ process: CapturedProcess, into images: inout ProcessImages, of dump: Dump) throws {
        let (actions, shared) = (images.task.sigactions, PendingSignals.numbers(images.task.signalsS))
        for (index, thread) in process.threads.enumerated() {
            let pending = PendingSignals.numbers(images.cores[index].threadCore.signalsP) + shared
            let handled = pending.first { signal in
                thread.signalMask & (1 << UInt64(signal - 1)) == 0 && SignalActions.hasHandler(actions, signal)
            }
            let restarts = handled.map { SignalActions.restarts(actions, $0) }
            images.cores[index].threadInfo.gpregs = entry(thread, handlerRestarts: restarts)
        }
    }

    /// - Parameter handlerRestarts: set if a handler will run first; whether it has SA_RESTART.
    private static func entry(_ thread: TracedThread, handlerRestarts: Bool?) -> UserX86RegsEntry {
        var now = thread.registersForCopy()
        // As the kernel decides it (signal(7)): made again after the handler, pause(2) would wait for a second signal.
        if let handlerRestarts, thread.registers.restartingCall != nil {
            let code = Int64(bitPattern: UInt64(thread.registers.rax))
            // ERESTARTNOHAND and ERESTART_RESTARTBLOCK always end, ERESTARTSYS without SA_RESTART.
            if code == -514 || code == -516 || (code == -512 && !handlerRestarts) {
                now = thread.registers
                now.orig_rax = UInt64.max
                now.rax = UInt64(bitPattern: Int64(-EINTR))
            }
        }
        return UserX86RegsEntry.with {
            $0.r15 = UInt64(now.r15)
            $0.r14 = UInt64(now.r14)
            $0.r13 = UInt64(now.r13)
            $0.r12 = UInt64(now.r12)
            $0.bp = UInt64(now.rbp)
            $0.bx = UInt64(now.rbx)
            $0.r11 = UInt64(now.r11)
            $0.r10 = UInt64(now.r10)
            $0.r9 = UInt64(now.r9)
            $0.r8 = UInt64(now.r8)
            $0.ax = UInt64(now.rax)
            $0.cx = UInt64(now.rcx)
            $0.dx = UInt64(now.rdx)
            $0.si = UInt64(now.rsi)
            $0.di = UInt64(now.rdi)
            $0.origAx = UInt64(now.orig_rax)
            $0.ip = UInt64(now.rip)
            $0.cs = UInt64(now.cs)
            $0.flags = UInt64(now.eflags)
            $0.sp = UInt64(now.rsp)
            $0.ss = UInt64(now.ss)
            $0.fsBase = UInt64(now.fs_base)
            $0.gsBase = UInt64(now.gs_base)
            $0.ds = UInt64(now.ds)
            $0.es = UInt64(now.es)
            $0.fs = UInt64(now.fs)
            $0.gs = UInt64(now.gs)
            $0.mode = .native
        }
    }

    static func registers(_ entry: UserX86RegsEntry) throws -> user_regs_struct {
        guard !entry.hasMode || entry.mode == .native, entry.cs == 0x33 else {
            throw CheckpointError("a 32-bit task cannot be restored yet")
        }
        var registers = user_regs_struct()
        registers.r15 = entry.r15
        registers.r14 = entry.r14
        registers.r13 = entry.r13
        registers.r12 = entry.r12
        registers.rbp = entry.bp
        registers.rbx = entry.bx
        registers.r11 = entry.r11
        registers.r10 = entry.r10
        registers.r9 = entry.r9
        registers.r8 = entry.r8
        registers.rax = entry.ax
        registers.rcx = entry.cx
        registers.rdx = entry.dx
        registers.rsi = entry.si
        registers.rdi = entry.di
        // What the registers say is final: the kernel must not take it for an interrupted call.
        registers.orig_rax = UInt64.max
        registers.rip = entry.ip
        registers.cs = entry.cs
        registers.eflags = entry.flags
        registers.rsp = entry.sp
        registers.ss = entry.ss
        registers.fs_base = entry.fsBase
        registers.gs_base = entry.gsBase
        registers.ds = entry.ds
        registers.es = entry.es
        registers.fs = entry.fs
        registers.gs = entry.gs
        return registers
    }
}
