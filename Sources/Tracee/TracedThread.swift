import LinuxSystem

/// A seized thread that stands still, and what it needs to go on as if nothing had happened.
///
/// Numbered stories of what must survive an injection:
/// 1. The thread slept in read(2). Its rax says −ERESTARTSYS; whoever changes registers and lets it go on leaks that
///    number into the program. So the registers are put back, orig_rax included, in a stop where the kernel still looks
///    at them: the last one is always an interrupt.
/// 2. It slept in sigsuspend(2), and the signal arrives while the engine works. All signals are blocked meanwhile; with
///    mask and registers put back the kernel delivers the signal and the call returns EINTR, as it must.
/// 3. It was stopped by SIGSTOP. It stays seized without losing the stop, which takes hold again at the detach.
/// 4. SIGSTOP arrives while the engine works. Nobody can block it: it is held back and sent again before the detach.
/// 5. It stood in a restartable sequence (rseq). Any excursion aborts it, so it goes on at the abort handler.
public final class TracedThread {
    public let tid: pid_t
    public let ptrace: Ptrace
    /// Whether job control had the process stopped, and by which signal.
    public let stoppedBy: CInt?
    public private(set) var registers: user_regs_struct
    public let signalMask: UInt64
    public let rseq: clinux_ptrace_rseq_configuration
    public private(set) lazy var extendedState: Result<[UInt8], TraceeError> = Result { () throws(TraceeError) in
        try ptrace.extendedState()
    }
    private var heldBack: CInt?
    private var isDisturbed = false

    /// Takes over a thread that ``Ptrace/waitUntilInterrupted()`` has brought to its stop.
    public init(stopped ptrace: Ptrace, by stop: Stop) throws(TraceeError) {
        tid = ptrace.task
        self.ptrace = ptrace
        if case .groupStop(let signal) = stop { stoppedBy = signal } else { stoppedBy = nil }
        registers = try ptrace.registers()
        signalMask = try ptrace.signalMask()
        rseq = try ptrace.restartableSequence()
        try leaveRestartableSequence()
    }

    /// Story 5. struct rseq keeps the address of struct rseq_cs {version, flags, start, length, abort} at offset 8.
    private func leaveRestartableSequence() throws(TraceeError) {
        guard rseq.rseq_abi_pointer != 0 else { return }
        let memory = TaskMemory(tid)
        let section = try memory.value(RemoteAddress(rseq.rseq_abi_pointer) + 8, as: UInt64.self)
        guard section != 0 else { return }
        let start = try memory.value(RemoteAddress(section) + 8, as: UInt64.self)
        let length = try memory.value(RemoteAddress(section) + 16, as: UInt64.self)
        let abort = try memory.value(RemoteAddress(section) + 24, as: UInt64.self)
        let position = UInt64(registers.rip)
        guard position >= start, position - start < length else { return }
        registers.rip = abort
        isDisturbed = true
    }

    /// The registers with which a copy of this thread makes its interrupted call again.
    public func registersForCopy() -> user_regs_struct {
        guard registers.restartingCall == Int(SYS_restart_syscall),
            let number = RestartedCall.number(of: registers, in: TaskMemory(tid))
        else { return registers.rewound(restartBlock: .again) }
        var original = registers
        original.orig_rax = UInt64(number)
        return original.rewound(restartBlock: .again)
    }

    /// Lets the thread run injected code from `instruction`.
    ///
    /// The mask is changed behind the registers, and back before them: whenever the engine dies, the thread is either in
    /// injected code that knows its way back, or it has everything of its own.
    ///
    /// Nothing but the engine moves the thread until ``settle()``.
    func run(
        from instruction: RemoteAddress, _ change: (inout user_regs_struct) -> Void
    ) throws(TraceeError) {
        try point(at: instruction, change)
        try ptrace.setSignalMask(UInt64.max)
        try ptrace.resume()
    }

    private func point(
        at instruction: RemoteAddress, _ change: (inout user_regs_struct) -> Void
    ) throws(TraceeError) {
        var injected = registers
        injected.rip = instruction.raw
        injected.orig_rax = UInt64.max
        change(&injected)
        isDisturbed = true
        try ptrace.setRegisters(injected)
    }

    /// Lets injected code make `count` system calls, and stands behind the last of them.
    func makeCalls(
        _ count: Int, from instruction: RemoteAddress, _ change: (inout user_regs_struct) -> Void
    ) throws(TraceeError) {
        try point(at: instruction, change)
        for _ in 0..<(2 * count) { try untilSystemCallStop() }
    }

    private func untilSystemCallStop() throws(TraceeError) {
        while true {
            try ptrace.resumeToSystemCall()
            switch try ptrace.wait() {
            case .systemCall: return
            case .signal(let signal): heldBack = signal
            case .interrupted, .groupStop, .cloned, .event: continue
            case .exited, .killed: throw .gone(tid)
            }
        }
    }

    /// Lets a thread go on that has come to another stop of job control.
    ///
    /// - Returns: whether it lives.
    func resumeIfStopped() -> Bool {
        var status: CInt = 0
        guard waitpid(tid, &status, 0x4000_0000 | WNOHANG) == tid else { return true }
        switch Stop(status: status) {
        case .exited, .killed: return false
        default: return (try? ptrace.resume()) != nil
        }
    }

    /// What the thread holds now, after its code has put everything back by itself and gone on.
    func metAgain() throws(TraceeError) {
        registers = try ptrace.registers()
        isDisturbed = false
    }

    /// Stops a thread that runs agent code.
    public func stop() throws(TraceeError) {
        try ptrace.interrupt()
        while true {
            switch try ptrace.wait() {
            case .interrupted, .groupStop: return
            case .signal(let signal):
                heldBack = signal
                try ptrace.resume()
            case .systemCall, .cloned, .event: try ptrace.resume()
            case .exited, .killed: throw .gone(tid)
            }
        }
    }

    /// Puts registers and mask back, from any ptrace stop. The thread still stands, but now as it stood at first.
    public func settle() throws(TraceeError) {
        guard isDisturbed else { return }
        try ptrace.setSignalMask(signalMask)
        // With these it goes on well by itself; only where signals are looked at the kernel takes the real ones.
        try ptrace.setRegisters(registers.rewound(restartBlock: .restart))
        try ptrace.interrupt()
        try ptrace.resume()
        while true {
            switch try ptrace.wait() {
            case .interrupted, .groupStop:
                try ptrace.setRegisters(registers)
                isDisturbed = false
                return
            case .signal(let signal):
                heldBack = signal
                try ptrace.resume()
            case .systemCall, .cloned, .event: try ptrace.resume()
            case .exited, .killed: throw .gone(tid)
            }
        }
    }

    /// Lets a settled thread go on by itself.
    public func detach() throws(TraceeError) {
        if let heldBack { kill(tid, heldBack) }
        try ptrace.detach()
    }
}
