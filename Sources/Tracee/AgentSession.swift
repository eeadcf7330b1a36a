import LinuxSystem

/// One process of a running container with the agent in it.
///
/// Entering saves nothing that ``TracedThread`` has not saved already; ``leave()`` takes agent, socket and memory out
/// again and settles every thread. If the engine dies while the session lasts, the kernel detaches the threads, the
/// agent reads the end of its socket and returns through the frames written here (`specs/engine.md`).
public final class AgentSession {
    public let leader: TracedThread
    public let threads: [TracedThread]
    public let area: InjectedArea
    private let memory: TaskMemory
    private let instruction: RemoteAddress
    private var socket: CInt = -1
    private var remoteSocket: CInt = -1
    private var isMapped = false
    private var isServing = false
    private var busyThreads: Set<Int> = []

    /// Puts the agent into the process whose first thread is `threads[0]`.
    ///
    /// - Parameter instruction: where the process's memory holds a `syscall` instruction.
    public init(threads: [TracedThread], instruction: RemoteAddress) throws(TraceeError) {
        self.threads = threads
        leader = threads[0]
        memory = TaskMemory(leader.tid)
        self.instruction = instruction
        let state = try leader.extendedState.get()
        let probe = InjectedArea(base: RemoteAddress(0), lanes: threads.count, extendedStateSize: state.count)
        try leader.blockSignals()
        let mapped = try leader.call(
            Int(SYS_mmap), [0, UInt64(probe.size), 7, 0x4022, UInt64.max, 0], at: instruction)
        guard mapped > 0 || mapped < -4095 else {
            try leader.settle()
            throw .refused(leader.tid, call: "mmap of the agent's area", errno: Errno(rawValue: CInt(-mapped)))
        }
        area = InjectedArea(
            base: RemoteAddress(UInt64(bitPattern: Int64(mapped))), lanes: threads.count,
            extendedStateSize: state.count)
        isMapped = true
        do throws(TraceeError) { try connect() } catch {
            try? leave()
            throw error
        }
    }

    /// Gives the agent a socket whose other end this process holds, and lets it serve.
    private func connect() throws(TraceeError) {
        try memory.write(area.base, Agent.code)
        let pair = area.commandBuffer(0)
        let made = try leader.call(
            Int(SYS_socketpair), [UInt64(AF_UNIX), 5 | 0o2000000, 0, pair.raw], at: instruction)
        guard made == 0 else {
            throw .refused(leader.tid, call: "socketpair for the agent", errno: Errno(rawValue: CInt(-made)))
        }
        let ends = try memory.value(pair, as: SIMD2<Int32>.self)
        remoteSocket = ends[0]
        do throws(SystemError) {
            let pidfd = OwnedDescriptor(
                CInt(try systemCall("pidfd_open \(leader.tid)", Int(CLINUX_SYS_pidfd_open), Int(leader.tid))))
            socket = CInt(
                try systemCall(
                    "pidfd_getfd from task \(leader.tid)", Int(CLINUX_SYS_pidfd_getfd), Int(pidfd.raw), Int(ends[1])))
        } catch { throw .failed(error) }
        _ = try leader.call(Int(SYS_close), [UInt64(ends[1])], at: instruction)
        try memory.write(
            area.frame(0),
            SignalFrame.bytes(
                at: area.frame(0), registers: leader.registers, mask: leader.signalMask,
                extendedState: try leader.extendedState.get()))
        // With other threads in the table of descriptors nobody may close the socket: its number could be theirs by then.
        let closing = threads.count == 1 ? remoteSocket : -1
        try leader.run(from: area.base + Agent.waitEntry) { registers in
            registers.r12 = area.commandBuffer(0).raw
            registers.r13 = UInt64(remoteSocket)
            registers.r14 = UInt64(UInt32(bitPattern: closing))
            registers.r15 = area.frame(0).raw
        }
        isServing = true
    }

    /// Runs a program in the first thread. Build it for ``InjectedArea/main``.
    public func run(_ program: Program) throws(TraceeError) -> Program.Results {
        try load(program)
        let command = [program.space.table.raw, UInt64(program.calls.count)]
        do throws(SystemError) {
            // MSG_NOSIGNAL
            try system("send to the agent in task \(leader.tid)") {
                command.withUnsafeBytes { send(socket, $0.baseAddress, $0.count, 0x4000) }
            }
        } catch { throw .failed(error) }
        try awaitReply()
        return try results(of: program, in: leader.tid)
    }

    /// Runs a program in another thread, which stands still behind it until ``leave()``. Build it for
    /// ``InjectedArea/lane(_:)``. After the first such call ``run(_:)`` must not be used any more: the threads share
    /// one socket, and the first thread's next command could be read by another.
    public func run(_ program: Program, inThread index: Int) throws(TraceeError) -> Program.Results {
        let thread = threads[index]
        try load(program)
        try memory.write(
            area.frame(index),
            SignalFrame.bytes(
                at: area.frame(index), registers: thread.registers, mask: thread.signalMask,
                extendedState: try thread.extendedState.get()))
        try thread.blockSignals()
        try thread.run(from: area.base + Agent.runEntry) { registers in
            registers.r12 = area.commandBuffer(index).raw
            registers.r13 = UInt64(remoteSocket)
            registers.r14 = UInt64(UInt32.max)
            registers.r15 = area.frame(index).raw
            registers.rbx = program.space.table.raw
            registers.rbp = UInt64(program.calls.count)
        }
        busyThreads.insert(index)
        try awaitReply()
        return try results(of: program, in: thread.tid)
    }

    private func load(_ program: Program) throws(TraceeError) {
        var failure: TraceeError?
        program.table.withUnsafeBytes { raw in
            do throws(TraceeError) { try memory.write(program.space.table, raw) } catch { failure = error }
        }
        if let failure { throw failure }
        try memory.write(program.space.data, program.data)
    }

    private func results(of program: Program, in task: pid_t) throws(TraceeError) -> Program.Results {
        try memory.results(of: program, in: task)
    }

    /// Waits for the agent's answer; a task that was killed meanwhile closes its end.
    private func awaitReply() throws(TraceeError) {
        var reply = [UInt64](repeating: 0, count: 2)
        let count: Int
        do throws(SystemError) {
            count = try system("receive from the agent in task \(leader.tid)") {
                reply.withUnsafeMutableBytes { recv(socket, $0.baseAddress, $0.count, 0) }
            }
        } catch { throw .failed(error) }
        if count != 16 { throw .gone(leader.tid) }
    }

    /// Takes everything out again; every thread stands as it stood before. Safe to call in any state.
    public func leave() throws(TraceeError) {
        for index in busyThreads.sorted() {
            try threads[index].stop()
            try threads[index].settle()
        }
        busyThreads = []
        if isServing {
            try leader.stop()
            isServing = false
        }
        if remoteSocket >= 0 {
            _ = try leader.call(Int(SYS_close), [UInt64(remoteSocket)], at: instruction)
            remoteSocket = -1
        }
        if socket >= 0 {
            close(socket)
            socket = -1
        }
        if isMapped {
            _ = try leader.call(Int(SYS_munmap), [area.base.raw, UInt64(area.size)], at: instruction)
            isMapped = false
        }
        try leader.settle()
    }
}

extension TaskMemory {
    /// What a program that ran has left in its table and data.
    func results(of program: Program, in task: pid_t) throws(TraceeError) -> Program.Results {
        let table = try read(program.space.table, count: program.calls.count * Program.entrySize)
        let words = table.withUnsafeBytes { Array($0.bindMemory(to: UInt64.self)) }
        let data = try read(program.space.data, count: program.data.count)
        return Program.Results(program: program, words: words, task: task, bytes: data)
    }
}
