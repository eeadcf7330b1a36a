import LinuxSystem

/// One process of a running container with the agent in it.
///
/// Entering saves nothing that ``TracedThread`` has not saved already; ``leave()`` takes agent, socket and memory out
/// again and settles every thread. If the engine dies while the session lasts, the kernel detaches the threads, the
/// agent reads the end of its socket and returns through the frames written here (`specs/engine.md`).
public final class AgentSession {
    /// Bytes of unused executable memory that a session begins in.
    public static let caveSize = Bootstrap.size
    /// How such memory begins that the session of an engine which died has left behind.
    public static var caveMark: ArraySlice<UInt8> { Bootstrap.mark }

    public let leader: TracedThread
    public let threads: [TracedThread]
    public let area: InjectedArea
    private let memory: TaskMemory
    private let cave: RemoteAddress
    private var socket: CInt = -1
    private var remoteSocket: CInt = -1
    private var isServing = false
    private var busyThreads: Set<Int> = []

    /// Puts the agent into a process, by its thread `threads[0]`.
    ///
    /// - Parameters:
    ///   - process: its id; that of the thread, if it is its first one.
    ///   - cave: where the process has ``Bootstrap/size`` unused bytes of executable memory.
    ///   - listener: in the process's network namespace.
    public init(
        threads: [TracedThread], of process: pid_t? = nil, cave: RemoteAddress, listener: AgentListener
    ) throws(TraceeError) {
        self.threads = threads
        self.cave = cave
        leader = threads[0]
        memory = TaskMemory(leader.tid)
        let state = try leader.extendedState.get().count
        let size = InjectedArea(base: RemoteAddress(0), lanes: threads.count, extendedStateSize: state).size
        try memory.force(
            cave,
            Bootstrap.bytes(
                registers: leader.registers, mask: leader.signalMask, areaSize: size, address: listener.address))
        let (connection, waiting): (CInt, user_regs_struct)
        do throws(TraceeError) {
            (connection, waiting) = try Self.meet(leader, of: process ?? leader.tid, listener, cave)
        } catch {
            try? leader.settle()
            try? memory.force(cave, [UInt8](repeating: 0, count: Bootstrap.size))
            throw error
        }
        socket = connection
        remoteSocket = CInt(truncatingIfNeeded: UInt64(waiting.r13))
        area = InjectedArea(
            base: RemoteAddress(UInt64(waiting.rax)), lanes: threads.count, extendedStateSize: state)
        do throws(TraceeError) { try serve() } catch {
            try? leave()
            throw error
        }
    }

    /// Takes the thread through the bootstrap, call by call, up to where it has its memory.
    private static func meet(
        _ leader: TracedThread, of process: pid_t, _ listener: AgentListener, _ cave: RemoteAddress
    ) throws(TraceeError) -> (connection: CInt, registers: user_regs_struct) {
        var connection: CInt?
        func make(_ call: String) throws(TraceeError) -> user_regs_struct {
            while true {
                let registers = try leader.makeCall { () throws(TraceeError) in
                    // Others that call at the listener keep the task waiting until they are turned away.
                    if connection == nil { connection = try listener.take(from: process) }
                }
                let result = Int64(bitPattern: UInt64(registers.rax))
                if registers.restartingCall != nil { continue }
                guard (-4095..<0).contains(result) else { return registers }
                throw .refused(leader.tid, call: call, errno: Errno(rawValue: CInt(-result)))
            }
        }
        try leader.point(at: cave)
        try leader.ptrace.setSignalMask(UInt64.max)
        let socket = try make("socket for the agent").rax
        do throws(TraceeError) {
            _ = try make("connect to the engine")
            if connection == nil { connection = try listener.take(from: process) }
            guard let connection else { throw .unexpected(leader.tid, "is not among those that called") }
            return (connection, try make("mmap for the agent"))
        } catch {
            if let connection { close(connection) }
            try? leader.makeCalls(1, from: cave + Bootstrap.closing) { $0.r13 = socket }
            throw error
        }
    }

    /// Writes agent and frame into the new memory, and lets the agent wait for commands.
    private func serve() throws(TraceeError) {
        try memory.write(area.base, Agent.code)
        try memory.write(
            area.frame(0),
            SignalFrame.bytes(
                at: area.frame(0), registers: leader.registersForCopy(), mask: leader.signalMask,
                extendedState: try leader.extendedState.get()))
        try leader.run(from: area.base + Agent.waitEntry) { registers in
            registers.r12 = area.commandBuffer(0).raw
            registers.r13 = UInt64(remoteSocket)
            registers.r14 = UInt64(remoteSocket)
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

    /// Runs programs in the other threads, all at the same time: the first one in the second thread, and so on. Each thread
    /// stands still behind its own until ``leave()``. Build them for ``InjectedArea/lane(_:)``.
    public func runBesides(_ programs: [Program]) throws(TraceeError) -> [Program.Results] {
        var signs: [RemoteAddress] = []
        for program in programs { signs.append(try start(program, inThread: signs.count + 1)) }
        var all: [Program.Results] = []
        for (program, sign) in zip(programs, signs) {
            let thread = threads[all.count + 1]
            let end = Deadline.patience
            while try memory.value(sign, as: UInt64.self) == 0 {
                guard !end.hasPassed else { throw .unexpected(thread.tid, "does not answer") }
                usleep(2)
                try thread.keepGoing()
            }
            all.append(try results(of: program, in: thread.tid))
        }
        return all
    }

    /// - Returns: where a word becomes another than zero when the program has run.
    private func start(_ program: Program, inThread index: Int) throws(TraceeError) -> RemoteAddress {
        let thread = threads[index]
        // A word that is not zero says that all calls before were made; then the thread waits for the first one's word.
        var whole = program
        let sign = whole.reserve(8)
        whole.call("gettid", Int(SYS_gettid), result: sign)
        whole.call("futex", Int(SYS_futex), [(area.commandBuffer(0) + Agent.parkingWord).raw, 0, 0, 0], tolerated: nil)
        try load(whole)
        try memory.write(
            area.frame(index),
            SignalFrame.bytes(
                at: area.frame(index), registers: thread.registersForCopy(), mask: thread.signalMask,
                extendedState: try thread.extendedState.get()))
        try thread.run(from: area.base + Agent.runEntry) { registers in
            registers.r12 = area.commandBuffer(index).raw
            registers.r13 = UInt64(UInt32.max)
            registers.r14 = UInt64(UInt32.max)
            registers.r15 = area.frame(index).raw
            registers.rbx = whole.space.table.raw
            registers.rbp = UInt64(whole.calls.count)
        }
        busyThreads.insert(index)
        return sign
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
        let end = Deadline.patience
        var reply = [UInt64](repeating: 0, count: 2)
        while true {
            var poll = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            if clinux_poll(&poll, 1, 1) > 0 { break }
            guard !end.hasPassed else { throw .unexpected(leader.tid, "does not answer") }
            try leader.keepGoing()
        }
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
        let busy = busyThreads.sorted()
        for index in busy { try threads[index].ptrace.interrupt() }
        for index in busy {
            try threads[index].awaitStop()
            try threads[index].settle()
        }
        busyThreads = []
        if isServing { try leader.stop() }
        isServing = false
        guard socket >= 0 else { return }
        // munmap, close and rt_sigprocmask of the bootstrap, which would find the way back alone if the engine ended now.
        try leader.makeCalls(3, from: cave + Bootstrap.leaving) { registers in
            registers.r12 = area.base.raw
            registers.r13 = UInt64(remoteSocket)
        }
        close(socket)
        socket = -1
        try leader.settle()
        try memory.force(cave, [UInt8](repeating: 0, count: Bootstrap.size))
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
