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
/// 4. SIGSTOP arrives while the engine works. Nobody can block it: it is held back, and sent again before the detach unless
///    SIGCONT came after it. (The kernel drops each of the two when the other one comes, but knows only what it has.)
///    The first process of a pid namespace gets none from inside it, unless it is traced when one comes: those are dropped.
/// 5. It stood in a restartable sequence (rseq). Any excursion aborts it, so it goes on at the abort handler.
/// 6. It has seccomp filters, which do not let the agent work. They are suspended from the first injected instruction to
///    the last, and for none of its own.
/// 7. It slept in a call that a stop ends with EINTR, handler or not: epoll_wait(2), a recv(2) with a time-out. No program
///    expects that of a checkpoint, so the call is made again unless a handler is to run, with its whole time-out.
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
    /// Whether it belongs to the first process of its pid namespace.
    private let isFirst: Bool
    /// The last job-control signal that came while the engine worked.
    private var heldBack: CInt?
    private var hasDropped = false
    private var isDisturbed = false
    /// With what a container's task is seized, and runs its own code.
    public static let options: Ptrace.Options = [.distinguishSystemCalls, .traceFork, .traceVfork, .traceClone]

    /// Takes over a thread that ``Ptrace/waitUntilInterrupted()`` has brought to its stop.
    public init(stopped ptrace: Ptrace, by stop: Stop, isFirst: Bool = false) throws(TraceeError) {
        self.isFirst = isFirst
        tid = ptrace.task
        self.ptrace = ptrace
        if case .groupStop(let signal) = stop { stoppedBy = signal } else { stoppedBy = nil }
        registers = try ptrace.registers()
        signalMask = try ptrace.signalMask()
        rseq = try ptrace.restartableSequence()
        try leaveRestartableSequence()
        if registers.isInterruptedForGood {
            registers.rax = user_regs_struct.restartWithoutHandler
            isDisturbed = true
        }
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

    /// Makes the thread stand before injected code.
    func point(
        at instruction: RemoteAddress, _ change: (inout user_regs_struct) -> Void = { _ in }
    ) throws(TraceeError) {
        var injected = registers
        injected.rip = instruction.raw
        injected.orig_rax = UInt64.max
        change(&injected)
        isDisturbed = true
        try ptrace.setOptions(Self.options.union(.suspendSeccomp))
        try ptrace.setRegisters(injected)
    }

    /// Lets injected code make its next system call, and stands behind it.
    ///
    /// - Returns: the registers there.
    func makeCall(
        meanwhile: () throws(TraceeError) -> Void = {}
    ) throws(TraceeError) -> user_regs_struct {
        let end = Deadline.patience
        for _ in 0..<2 {
            repeat {
                try ptrace.resumeToSystemCall()
            } while try !met(
                ptrace.wait(until: end, meanwhile: meanwhile), end: { $0 == .systemCall })
        }
        return try ptrace.registers()
    }

    /// Lets injected code make `count` system calls, and stands behind the last of them.
    func makeCalls(
        _ count: Int, from instruction: RemoteAddress, _ change: (inout user_regs_struct) -> Void
    ) throws(TraceeError) {
        try point(at: instruction, change)
        for _ in 0..<count { _ = try makeCall() }
    }

    /// Lets a thread that runs injected code go on from whatever has stopped it meanwhile.
    func keepGoing() throws(TraceeError) {
        // Signals may come faster than they are held back; whoever waits has a clock.
        for _ in 0..<1000 {
            guard let stop = try ptrace.news() else { return }
            _ = try met(stop) { _ in false }
            try ptrace.resume()
        }
    }

    /// Stops a thread that runs agent code.
    public func stop() throws(TraceeError) {
        try ptrace.interrupt()
        try awaitStop()
    }

    /// Waits for the stop of a thread that was interrupted. Any other stop takes a pending interrupt with it.
    func awaitStop() throws(TraceeError) {
        let end = Deadline.patience
        while try !met(
            ptrace.wait(until: end),
            end: {
                switch $0 {
                case .interrupted, .groupStop: true
                default: false
                }
            })
        {
            try ptrace.interrupt()
            try ptrace.resume()
        }
    }

    /// Puts registers and mask back, from any ptrace stop. The thread still stands, but now as it stood at first.
    public func settle() throws(TraceeError) {
        guard isDisturbed else { return }
        try ptrace.setSignalMask(signalMask)
        // With these it goes on well by itself; only where signals are looked at the kernel takes the real ones.
        try ptrace.setRegisters(registers.rewound(restartBlock: .restart))
        try ptrace.setOptions(Self.options)
        try ptrace.interrupt()
        try ptrace.resume()
        try awaitStop()
        try ptrace.setRegisters(registers)
        isDisturbed = false
    }

    /// Takes note of a stop.
    ///
    /// - Returns: whether it is the awaited one.
    private func met(_ stop: Stop, end isEnd: (Stop) -> Bool) throws(TraceeError) -> Bool {
        switch stop {
        case .exited, .killed: throw .gone(tid)
        case .signal(SIGSTOP) where try isIgnored(): hasDropped = true
        case .signal(let signal): heldBack = signal
        case .interrupted, .groupStop, .systemCall, .cloned, .event: break
        }
        return isEnd(stop)
    }

    /// Whether the stop that the thread is about to be given is one that its process ignores.
    private func isIgnored() throws(TraceeError) -> Bool {
        let isOutside = try ptrace.signalInformation().isOutside
        return isFirst && !isOutside
    }

    /// The signal that will stop the thread's process once it goes on; nil for none. Only where it stands settled.
    ///
    /// - Parameter pending: the signals that wait for the process and its threads.
    public func stopSignal(pending: [SignalInformation]) -> CInt? {
        // The kernel has dropped a stop that came before it.
        if pending.contains(where: { $0.signal == SIGCONT }) { return nil }
        if pending.contains(where: isStop) || heldBack == SIGSTOP { return SIGSTOP }
        return heldBack == SIGCONT ? nil : stoppedBy
    }

    /// Whether this process is stopped by it.
    private func isStop(_ information: SignalInformation) -> Bool {
        information.signal == SIGSTOP && (!isFirst || information.isOutside)
    }

    /// Lets a settled thread go on by itself.
    public func detach() throws(TraceeError) {
        let pending =
            heldBack == nil && !isFirst
            ? [] : try ptrace.pendingSignals(shared: true) + ptrace.pendingSignals(shared: false)
        if let heldBack, heldBack != SIGSTOP || !pending.contains(where: { $0.signal == SIGCONT }) {
            kill(tid, heldBack)
        } else if isFirst, pending.contains(where: { $0.signal == SIGSTOP && !$0.isOutside }) {
            hasDropped = true
        }
        try ptrace.detach()
        if hasDropped, heldBack == nil, stoppedBy == nil { FirstProcess.wake(tid) }
    }
}

/// The first process of a pid namespace, which ignores the stops that come from inside; but not such as came while it was
/// traced and have not been delivered when it goes on.
enum FirstProcess {
    /// Lets it go on if one has stopped it, or is about to. A SIGCONT takes back both.
    static func wake(_ process: pid_t) {
        for _ in 0..<20 {
            guard let status = try? readText("/proc/\(process)/status") else { return }
            let lines = status.split(separator: "\n")
            let isStopped = lines.contains { $0.hasPrefix("State:\tT") }
            let waits = lines.contains { line in
                guard line.hasPrefix("SigPnd:\t") || line.hasPrefix("ShdPnd:\t") else { return false }
                return UInt64(line.dropFirst(8), radix: 16).map { $0 & (1 << UInt64(SIGSTOP - 1)) != 0 } ?? false
            }
            if isStopped || waits { kill(process, SIGCONT) }
            usleep(50)
        }
    }
}
