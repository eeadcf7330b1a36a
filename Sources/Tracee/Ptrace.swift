import LinuxSystem

/// ptrace(2) on one task, with typed requests.
public struct Ptrace: Sendable {
    public let task: pid_t

    public init(_ task: pid_t) { self.task = task }

    /// Options of PTRACE_SEIZE.
    public struct Options: OptionSet, Sendable {
        public let rawValue: UInt
        public init(rawValue: UInt) { self.rawValue = rawValue }
        public static let distinguishSystemCalls = Options(rawValue: 0x1)
        public static let traceFork = Options(rawValue: 0x2)
        public static let traceVfork = Options(rawValue: 0x4)
        public static let traceClone = Options(rawValue: 0x8)
        public static let traceExit = Options(rawValue: 0x40)
        /// The task dies with its tracer. Never for a container that is only being dumped.
        public static let exitKill = Options(rawValue: 0x10_0000)
        /// No seccomp filter applies while traced. Linux 4.3, needs CAP_SYS_ADMIN.
        public static let suspendSeccomp = Options(rawValue: 0x20_0000)
    }

    public func seize(_ options: Options) throws(SystemError) {
        try request("seize", 0x4206, 0, UInt(options.rawValue))
    }

    public func interrupt() throws(TraceeError) { try stopped("interrupt", 0x4207, 0, 0) }
    public func resume(signal: CInt = 0) throws(TraceeError) { try stopped("resume", 7, 0, UInt(signal)) }
    public func resumeToSystemCall(signal: CInt = 0) throws(TraceeError) {
        try stopped("resume to the next system call", 24, 0, UInt(signal))
    }
    public func detach(signal: CInt = 0) throws(TraceeError) { try stopped("detach", 17, 0, UInt(signal)) }

    /// Replaces the options that the task was seized with, while it stands.
    public func setOptions(_ options: Options) throws(TraceeError) {
        try stopped("set options", 0x4200, 0, UInt(options.rawValue))
    }

    /// The signal that the task is about to be given.
    public func signalInformation() throws(TraceeError) -> SignalInformation {
        var information = siginfo_t()
        try withAddress(&information) { address throws(TraceeError) in
            try stopped("signal information", 0x4202, 0, address)
        }
        return SignalInformation(withUnsafeBytes(of: information) { Array($0) })
    }

    public func eventMessage() throws(TraceeError) -> UInt {
        var message: UInt = 0
        try withAddress(&message) { address throws(TraceeError) in
            try stopped("event message", 0x4201, 0, address)
        }
        return message
    }

    public func registers() throws(TraceeError) -> user_regs_struct {
        var registers = user_regs_struct()
        try withAddress(&registers) { address throws(TraceeError) in try stopped("get registers", 12, 0, address) }
        return registers
    }

    public func setRegisters(_ registers: user_regs_struct) throws(TraceeError) {
        var registers = registers
        try withAddress(&registers) { address throws(TraceeError) in try stopped("set registers", 13, 0, address) }
    }

    /// The XSAVE area in its standard (not compacted) form: x87, SSE, AVX, AVX-512, PKRU.
    public func extendedState() throws(TraceeError) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        let count = try registerSet(0x4204, &buffer)
        buffer.removeLast(buffer.count - count)
        return buffer
    }

    public func setExtendedState(_ state: [UInt8]) throws(TraceeError) {
        var state = state
        _ = try registerSet(0x4205, &state)
    }

    /// PTRACE_GETREGSET or PTRACE_SETREGSET of NT_X86_XSTATE.
    private func registerSet(_ code: UInt, _ buffer: inout [UInt8]) throws(TraceeError) -> Int {
        var failure: TraceeError?
        var length = 0
        buffer.withUnsafeMutableBytes { raw in
            var vector = iovec(iov_base: raw.baseAddress, iov_len: raw.count)
            do throws(TraceeError) {
                try withAddress(&vector) { address throws(TraceeError) in
                    try stopped("XSAVE area", code, 0x202, address)
                }
            } catch { failure = error }
            length = vector.iov_len
        }
        if let failure { throw failure }
        return length
    }

    /// The blocked signals, as the task will have them once a sigsuspend(2) it may be in is over. Linux 3.11.
    public func signalMask() throws(TraceeError) -> UInt64 {
        var mask: UInt64 = 0
        try withAddress(&mask) { address throws(TraceeError) in try stopped("get signal mask", 0x420a, 8, address) }
        return mask
    }

    public func setSignalMask(_ mask: UInt64) throws(TraceeError) {
        var mask = mask
        try withAddress(&mask) { address throws(TraceeError) in try stopped("set signal mask", 0x420b, 8, address) }
    }

    /// Pending signals, oldest first: the thread's own, or those of the whole process. Linux 3.10.
    public func pendingSignals(shared: Bool) throws(TraceeError) -> [SignalInformation] {
        var found: [SignalInformation] = []
        let size = MemoryLayout<siginfo_t>.size
        while true {
            var query = clinux_ptrace_peeksiginfo_args(off: UInt64(found.count), flags: shared ? 1 : 0, nr: 32)
            var buffer = [UInt8](repeating: 0, count: 32 * size)
            var count = 0
            var failure: TraceeError?
            buffer.withUnsafeMutableBytes { raw in
                do throws(TraceeError) {
                    try withAddress(&query) { address throws(TraceeError) in
                        count = try stopped(
                            "peek signals", 0x4209, address, UInt(bitPattern: raw.baseAddress))
                    }
                } catch { failure = error }
            }
            if let failure { throw failure }
            for index in 0..<count {
                found.append(SignalInformation(Array(buffer[index * size..<(index + 1) * size])))
            }
            if count < 32 { return found }
        }
    }

    /// The thread's restartable-sequence registration; a zero pointer means none. Linux 5.13.
    public func restartableSequence() throws(TraceeError) -> clinux_ptrace_rseq_configuration {
        var configuration = clinux_ptrace_rseq_configuration()
        try withAddress(&configuration) { address throws(TraceeError) in
            try stopped(
                "rseq configuration", 0x420f, UInt(MemoryLayout<clinux_ptrace_rseq_configuration>.size), address)
        }
        return configuration
    }

    /// Whether the thread has its system calls dispatched to a handler of its own (prctl(2)
    /// PR_SET_SYSCALL_USER_DISPATCH). Linux 6.4; before that nobody can tell, and the answer is no.
    public func hasSyscallUserDispatch() -> Bool {
        // struct ptrace_sud_config: mode, selector, offset, length.
        var configuration = SIMD4<UInt64>(0, 0, 0, 0)
        let size = UInt(MemoryLayout<SIMD4<UInt64>>.size)
        _ = try? withAddress(&configuration) { address throws(TraceeError) in
            try stopped("system call user dispatch", 0x4211, size, address)
        }
        return configuration[0] != 0
    }

    /// The seccomp filters, oldest first, each with its flags. Linux 4.4, needs CAP_SYS_ADMIN.
    public func seccompFilters() throws(TraceeError) -> [(program: [UInt8], flags: UInt64)] {
        var filters: [(program: [UInt8], flags: UInt64)] = []
        while true {
            let index = UInt(filters.count)
            let length: Int
            do throws(TraceeError) { length = try stopped("seccomp filter", 0x420c, index, 0) } catch {
                if case .failed(let reason) = error, reason.errno == .noSuchFileOrDirectory { return filters }
                throw error
            }
            var program = [UInt8](repeating: 0, count: length * MemoryLayout<sock_filter>.size)
            var failure: TraceeError?
            program.withUnsafeMutableBytes { raw in
                do throws(TraceeError) {
                    try stopped("seccomp filter", 0x420c, index, UInt(bitPattern: raw.baseAddress))
                } catch { failure = error }
            }
            if let failure { throw failure }
            var metadata = clinux_seccomp_metadata(filter_off: UInt64(index), flags: 0)
            try withAddress(&metadata) { address throws(TraceeError) in
                try stopped(
                    "seccomp flags", 0x420d, UInt(MemoryLayout<clinux_seccomp_metadata>.size), address)
            }
            filters.append((program, metadata.flags))
        }
    }

    private func request(_ what: String, _ code: UInt, _ address: UInt, _ data: UInt) throws(SystemError) {
        try system("ptrace \(what) of task \(task)") { clinux_ptrace(Int(code), task, address, data) }
    }

    /// A request on a stopped task, where ESRCH means that it is no longer there.
    @discardableResult
    private func stopped(_ what: String, _ code: UInt, _ address: UInt, _ data: UInt) throws(TraceeError) -> Int {
        do {
            return try system("ptrace \(what) of task \(task)") { clinux_ptrace(Int(code), task, address, data) }
        } catch {
            throw error.errno == .noSuchProcess ? .gone(task) : .failed(error)
        }
    }
}

/// Calls `body` with the address of a value, for a system call's argument.
@discardableResult
func withAddress<T, R>(_ value: inout T, _ body: (UInt) throws(TraceeError) -> R) throws(TraceeError) -> R {
    try withUnsafeMutablePointer(to: &value) { pointer throws(TraceeError) in try body(UInt(bitPattern: pointer)) }
}
