import LinuxSystem

/// A task under construction: traced from birth, without a life of its own, driven program by program until it takes up
/// the registers of the task it replaces. It dies with the engine (PTRACE_O_EXITKILL).
public final class Stub {
    public let ptrace: Ptrace
    /// The task's id as the engine sees it.
    public var tid: pid_t { ptrace.task }
    /// Process and thread id as the container sees them.
    public let process: pid_t
    public let thread: pid_t
    /// The process's id as the engine sees it; its memory is reached by this.
    public let hostProcess: pid_t
    private var template: user_regs_struct

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
        _ = try ptrace.waitUntilInterrupted()
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
        for _ in 0..<2 {
            try ptrace.resumeToSystemCall()
            var stop = try ptrace.wait()
            while stop != .systemCall {
                guard case .signal = stop else { throw .unexpected(tid, "\(stop) in an injected call") }
                try ptrace.resumeToSystemCall()
                stop = try ptrace.wait()
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
        return try finish(program)
    }

    /// Starts a program; ``finish(_:)`` waits for it. Several stubs may run at the same time.
    public func begin(_ program: Program, agent: RemoteAddress) throws(TraceeError) {
        var program = program
        program.stopAtEnd(process: process, thread: thread)
        let memory = TaskMemory(hostProcess)
        var failure: TraceeError?
        program.table.withUnsafeBytes { raw in
            do throws(TraceeError) { try memory.write(program.space.table, raw) } catch { failure = error }
        }
        if let failure { throw failure }
        try memory.write(program.space.data, program.data)
        var registers = template
        registers.orig_rax = UInt64.max
        registers.rip = (agent + Agent.runEntry).raw
        registers.rbx = program.space.table.raw
        registers.rbp = UInt64(program.calls.count)
        try ptrace.setRegisters(registers)
        try ptrace.resume()
    }

    public func finish(_ program: Program) throws(TraceeError) -> Outcome {
        var born: [pid_t] = []
        loop: while true {
            let stop = try ptrace.wait()
            switch stop {
            case .cloned:
                let child = pid_t(truncatingIfNeeded: try ptrace.eventMessage())
                _ = try Ptrace(child).waitUntilInterrupted()
                born.append(child)
                try ptrace.resume()
            case .signal(SIGSTOP): break loop
            case .signal(SIGCHLD): try ptrace.resume()
            case .signal(let signal): throw .unexpected(tid, "signal \(signal) while it is being restored")
            case .systemCall, .interrupted, .groupStop, .event: try ptrace.resume()
            case .exited(let status): throw .unexpected(tid, "exited with \(status) while it is being restored")
            case .killed(let signal):
                throw .unexpected(tid, "was killed by signal \(signal) while it is being restored")
            }
        }
        let results = try TaskMemory(hostProcess).results(of: program, in: tid)
        try results.check()
        return Outcome(results: results, born: born)
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
    /// Ends the program with a stop that no mask and no handler can hinder, for the tracer to see.
    mutating func stopAtEnd(process: pid_t, thread: pid_t) {
        call("tgkill", Int(SYS_tgkill), [UInt64(process), UInt64(thread), UInt64(SIGSTOP)])
    }
}

extension Stub {
    /// Runs a program that ends the process, by itself or by `signal`, and sees it dead.
    public func end(_ program: Program, signal: CInt, agent: RemoteAddress) throws(TraceeError) {
        if signal != 0 { try ptrace.setSignalMask(0) }
        try begin(program, agent: agent)
        while true {
            switch try ptrace.wait() {
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
