import LinuxSystem

/// A task under construction: traced from birth, without a life of its own, driven program by program until it takes up
/// the registers of the task it replaces. It dies with the engine (PTRACE_O_EXITKILL).
///
/// A program's end is a SIGSTOP that the stub sends to itself. Others may come: of a timer that was armed, of a neighbour
/// in the pid namespace. So the end counts only where it can be the program's own: at the last calls of its table, and
/// with the sender and si_code that no one else can give a signal. Any other is held back until the release.
public final class Stub {
    public let ptrace: Ptrace
    /// The task's id as the engine sees it.
    public var tid: pid_t { ptrace.task }
    /// Process and thread id as the container sees them.
    public let process: pid_t
    public let thread: pid_t
    /// The process's id as the engine sees it.
    public let hostProcess: pid_t
    private var template: user_regs_struct
    /// Whether somebody wants the process stopped.
    public private(set) var isToStop = false
    /// While stubs are programmed, the slowest calls read pages from a disk.
    private static var patience: Deadline { Deadline(seconds: 300) }

    public static let options: Ptrace.Options = [
        .distinguishSystemCalls, .traceFork, .traceVfork, .traceClone, .exitKill, .suspendSeccomp,
    ]

    private init(
        _ ptrace: Ptrace, process: pid_t, thread: pid_t, hostProcess: pid_t, template: user_regs_struct
    ) {
        self.ptrace = ptrace
        self.process = process
        self.thread = thread
        self.hostProcess = hostProcess
        self.template = template
    }

    /// Seizes the container's first process, which sleeps in our own code.
    public static func first(_ pid: pid_t, process: pid_t) throws(TraceeError) -> Stub {
        let ptrace = Ptrace(pid)
        do throws(SystemError) { try ptrace.seize(options) } catch { throw .failed(error) }
        try ptrace.interrupt()
        guard try ptrace.waitUntilInterrupted() != nil else { throw .unexpected(pid, "does not stop") }
        // Not SIGTRAP's or any handler's business: nothing may run in here but programs.
        try ptrace.setSignalMask(UInt64.max)
        return Stub(ptrace, process: process, thread: process, hostProcess: pid, template: try ptrace.registers())
    }

    /// Makes one call at a `syscall` instruction of the stub's memory, before and after there is an agent.
    public func call(
        _ number: Int, _ arguments: [UInt64], at instruction: RemoteAddress
    ) throws(TraceeError) -> Int {
        var registers = template
        registers.rip = instruction.raw
        registers.rax = UInt64(number)
        registers.orig_rax = UInt64.max
        registers.rdi = arguments.count > 0 ? arguments[0] : 0
        registers.rsi = arguments.count > 1 ? arguments[1] : 0
        registers.rdx = arguments.count > 2 ? arguments[2] : 0
        registers.r10 = arguments.count > 3 ? arguments[3] : 0
        registers.r8 = arguments.count > 4 ? arguments[4] : 0
        registers.r9 = arguments.count > 5 ? arguments[5] : 0
        try ptrace.setRegisters(registers)
        let end = Deadline.patience
        for _ in 0..<2 {
            try ptrace.resumeToSystemCall()
            var stop = try ptrace.wait(until: end)
            while stop != .systemCall {
                guard case .signal(let signal) = stop else { throw .unexpected(tid, "\(stop) in an injected call") }
                try hold(signal)
                try ptrace.resumeToSystemCall()
                stop = try ptrace.wait(until: end)
            }
        }
        return Int(Int64(bitPattern: UInt64(try ptrace.registers().rax)))
    }

    /// What a program brought forth: its results, and the tasks that it cloned, in order, as the engine sees them.
    public struct Outcome {
        public let results: Program.Results
        public let born: [pid_t]
    }

    /// Runs a program in this task and checks its results.
    @discardableResult
    public func run(_ program: Program, agent: RemoteAddress) throws(TraceeError) -> Outcome {
        if program.isEmpty {
            return Outcome(results: Program.Results(program: program, words: [], task: tid), born: [])
        }
        try begin(program, agent: agent)
        return try finish(program, agent: agent)
    }

    /// Starts a program; ``finish(_:agent:)`` waits for it. Several stubs may run at the same time.
    public func begin(_ program: Program, agent: RemoteAddress) throws(TraceeError) {
        var table = program
        table.stopAtEnd(process: process, thread: thread)
        let memory = TaskMemory(tid)
        var failure: TraceeError?
        table.table.withUnsafeBytes { raw in
            do throws(TraceeError) { try memory.write(program.space.table, raw) } catch { failure = error }
        }
        if let failure { throw failure }
        try memory.write(program.space.data, program.data)
        var registers = template
        registers.orig_rax = UInt64.max
        // Where no call ends the program, the agent finds neither a socket nor a place to write: SIGSEGV.
        registers.r13 = UInt64.max
        registers.r12 = 0
        registers.rip = (agent + Agent.runEntry).raw
        registers.rbx = program.space.table.raw
        registers.rbp = UInt64(table.calls.count)
        try ptrace.setRegisters(registers)
        try ptrace.resume()
    }

    public func finish(_ program: Program, agent: RemoteAddress) throws(TraceeError) -> Outcome {
        var born: [pid_t] = []
        let end = Self.patience
        loop: while true {
            switch try ptrace.wait(until: end) {
            case .cloned:
                let child = pid_t(truncatingIfNeeded: try ptrace.eventMessage())
                guard try Ptrace(child).waitUntilInterrupted() != nil else {
                    throw .unexpected(child, "does not stop at its birth")
                }
                born.append(child)
            case .signal(SIGSTOP) where try isEnd(of: program, agent: agent): break loop
            case .signal(SIGSEGV): throw try failureToStop(after: program)
            case .signal(let signal): try hold(signal)
            case .systemCall, .interrupted, .groupStop, .event: break
            case .exited(let status): throw .unexpected(tid, "exited with \(status) while it is being restored")
            case .killed(let signal):
                throw .unexpected(tid, "was killed by signal \(signal) while it is being restored")
            }
            try ptrace.resume()
        }
        let results = try TaskMemory(tid).results(of: program, in: tid)
        try results.check()
        return Outcome(results: results, born: born)
    }

    /// Whether the stub stands behind one of the calls that end a program, and has sent the signal itself: who did not may
    /// not give a signal that number of a process together with SI_TKILL.
    private func isEnd(of program: Program, agent: RemoteAddress) throws(TraceeError) -> Bool {
        let registers = try ptrace.registers()
        let left = UInt64(registers.rbp)
        guard (1...UInt64(Program.ends)).contains(left) else { return false }
        let entry = program.space.table + (program.calls.count + Program.ends - Int(left)) * Program.entrySize
        let signal = try ptrace.signalInformation()
        return registers.rip == (agent + Agent.behindSystemCall).raw && registers.rbx == entry.raw
            && signal.code == SignalInformation.ofThread && signal.sender == process
    }

    /// What a fault in a stub is: the calls that end a program were refused, or something else.
    private func failureToStop(after program: Program) throws(TraceeError) -> TraceeError {
        let result = try TaskMemory(tid).value(program.resultOfEnd, as: Int64.self)
        guard (-4095..<0).contains(result) else { return .unexpected(tid, "signal 11 while it is being restored") }
        let call = "SIGSTOP to itself, which the policy of the security module must allow (SELinux: process sigstop)"
        return .refused(tid, call: call, errno: Errno(rawValue: CInt(-result)))
    }

    /// Keeps a signal that is not the program's own from the stub.
    private func hold(_ signal: CInt) throws(TraceeError) {
        switch signal {
        case SIGSTOP:
            // As story 4 of ``TracedThread``.
            let isOutside = try ptrace.signalInformation().isOutside
            if process != 1 || isOutside { isToStop = true }
        case SIGCHLD: break
        default: throw .unexpected(tid, "signal \(signal) while it is being restored")
        }
    }

    /// Lets the task live by itself.
    public func release() throws(TraceeError) {
        let isFirst = process == 1 && thread == 1
        let stops = isFirst ? try ptrace.pendingSignals(shared: true) + ptrace.pendingSignals(shared: false) : []
        try ptrace.detach()
        if !isToStop, stops.contains(where: { $0.signal == SIGSTOP && !$0.isOutside }) { FirstProcess.wake(tid) }
    }

    /// Takes charge of a process that this stub cloned.
    public func child(_ born: pid_t, process: pid_t) throws(TraceeError) -> Stub {
        Stub(Ptrace(born), process: process, thread: process, hostProcess: born, template: template)
    }

    /// Takes charge of a thread that this stub cloned.
    public func sibling(_ born: pid_t, thread: pid_t) throws(TraceeError) -> Stub {
        Stub(Ptrace(born), process: process, thread: thread, hostProcess: hostProcess, template: template)
    }
}

extension Program {
    /// More than one, since the kernel drops a SIGSTOP of the stub's while one of somebody else's waits.
    static let ends = 4

    /// Where the first of the calls that are added at the end leaves its result.
    var resultOfEnd: RemoteAddress { space.table + (calls.count * Self.entrySize + 56) }

    /// Ends the program with a stop that no mask and no handler can hinder, for the tracer to see.
    mutating func stopAtEnd(process: pid_t, thread: pid_t) {
        for _ in 0..<Self.ends {
            call("tgkill", Int(SYS_tgkill), [UInt64(process), UInt64(thread), UInt64(SIGSTOP)])
        }
    }
}

extension Stub {
    /// Runs a program that ends this thread alone, and lets go of it where nothing keeps it from its end any more: a
    /// parent hears of a process only when nobody traces its first thread.
    public func endThread(_ program: Program, agent: RemoteAddress) throws(TraceeError) {
        // The other threads die with the engine.
        try ptrace.setOptions(Self.options.subtracting(.exitKill).union(.traceExit))
        try begin(program, agent: agent)
        let end = Self.patience
        while true {
            switch try ptrace.wait(until: end) {
            case .event(Stop.exit): return try ptrace.detach()
            case .exited, .killed: throw .gone(tid)
            case .signal(let signal):
                try hold(signal)
                try ptrace.resume()
            case .systemCall, .interrupted, .groupStop, .cloned, .event: try ptrace.resume()
            }
        }
    }

    /// Runs a program that ends the process, by itself or by `signal`, and sees it dead.
    public func end(_ program: Program, signal: CInt, agent: RemoteAddress) throws(TraceeError) {
        if signal != 0 { try ptrace.setSignalMask(0) }
        try begin(program, agent: agent)
        let end = Deadline.patience
        while true {
            switch try ptrace.wait(until: end) {
            case .exited, .killed: return
            case .signal(let delivered) where delivered == signal: try ptrace.resume(signal: signal)
            case .signal(let fault) where [SIGSEGV, SIGBUS, SIGILL].contains(fault):
                throw .unexpected(tid, "does not end of signal \(signal)")
            case .signal: try ptrace.resume()
            case .systemCall, .interrupted, .groupStop, .cloned, .event: try ptrace.resume()
            }
        }
    }
}
