/// What a process does to itself. prctl(2), close_range(2), execveat(2).
public enum CallingProcess {
    /// Whether others may trace it and read its /proc files, subject to their rights.
    public static func setDumpable(_ dumpable: Bool) throws(SystemError) {
        try system("set dumpable") { clinux_prctl(PR_SET_DUMPABLE, dumpable ? 1 : 0, 0, 0, 0) }
    }

    public static func setNoNewPrivileges() throws(SystemError) {
        try system("set no_new_privs") { clinux_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }
    }

    public static func setKeepCapabilities(_ keep: Bool) throws(SystemError) {
        try system("set keep-capabilities") { clinux_prctl(PR_SET_KEEPCAPS, keep ? 1 : 0, 0, 0, 0) }
    }

    /// Orphaned descendants come to this process instead of to init.
    public static func setSubreaper(_ on: Bool) throws(SystemError) {
        try system("set child subreaper") { clinux_prctl(PR_SET_CHILD_SUBREAPER, on ? 1 : 0, 0, 0, 0) }
    }

    /// As ``setParentDeathSignal(_:)`` has set it.
    public static func parentDeathSignal() throws(SystemError) -> CInt {
        var signal: CInt = 0
        try system("get parent death signal") {
            withUnsafeMutablePointer(to: &signal) { clinux_prctl(PR_GET_PDEATHSIG, UInt(bitPattern: $0), 0, 0, 0) }
        }
        return signal
    }

    /// The signal that comes when the parent dies; 0 for none.
    public static func setParentDeathSignal(_ signal: CInt) throws(SystemError) {
        try system("set parent death signal") { clinux_prctl(PR_SET_PDEATHSIG, UInt(signal), 0, 0, 0) }
    }

    /// As the kernel has it: `(unreachable)/…` for a directory that is not beneath the root. The C library would walk
    /// up from there and could meet the root's inode on another mount. getcwd(2).
    public static func workingDirectory() throws(SystemError) -> String {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = try system("get working directory") {
            buffer.withUnsafeMutableBytes {
                clinux_syscall(Int(SYS_getcwd), Int(bitPattern: $0.baseAddress), $0.count, 0, 0, 0, 0)
            }
        }
        return String(decoding: buffer[..<max(count - 1, 0)], as: UTF8.self)
    }

    /// The name that ps shows.
    public static func setName(_ name: String) {
        _ = name.withCString { clinux_prctl(PR_SET_NAME, UInt(bitPattern: $0), 0, 0, 0) }
    }

    /// Every descriptor from `first` on will be closed by the next exec. close_range(2), CLOSE_RANGE_CLOEXEC: 5.11.
    public static func closeOnExec(from first: CInt, but kept: [CInt] = []) throws(SystemError) {
        for range in gaps(from: first, but: kept) {
            try systemCall(
                "mark descriptors close-on-exec", Int(CLINUX_SYS_close_range), Int(range.lowerBound),
                Int(range.upperBound), 4)
        }
    }

    /// Closes every descriptor from `first` on that is not in `kept`.
    public static func closeAll(from first: CInt, but kept: [CInt]) throws(SystemError) {
        for range in gaps(from: first, but: kept) { try closeRange(range.lowerBound, range.upperBound) }
    }

    private static func gaps(from first: CInt, but kept: [CInt]) -> [ClosedRange<CInt>] {
        var gaps: [ClosedRange<CInt>] = []
        var next = first
        for descriptor in kept.sorted() where descriptor >= next {
            if descriptor > next { gaps.append(next...descriptor - 1) }
            next = descriptor + 1
        }
        return gaps + [next...CInt.max]
    }

    /// Closes the descriptors from `first` to `last`. close_range(2), kernel 5.9.
    public static func closeRange(_ first: CInt, _ last: CInt = .max) throws(SystemError) {
        if first > last { return }
        try systemCall("close descriptors", Int(CLINUX_SYS_close_range), Int(first), Int(last), 0)
    }

    /// Ends on signals whose disposition is the default, also where that would not count: in the first process of a pid
    /// namespace. Lasts until the next exec. sigaction(2), pid_namespaces(7).
    public static func endOnSignals(_ signals: [CInt]) {
        for signal in signals {
            var current = sigaction()
            sigaction(signal, nil, &current)
            if unsafeBitCast(current.__sigaction_handler.sa_handler, to: Int.self) != 0 { continue }
            current.__sigaction_handler.sa_handler = { _exit(128 + $0) }
            sigaction(signal, &current, nil)
        }
    }

    /// Replaces the program by the file that a descriptor holds. Returns only by failing. execveat(2).
    public static func execute(
        descriptor: CInt, arguments: [String], environment: [String]
    ) throws(SystemError) -> Never {
        throw PreparedProgram(directory: descriptor, path: "", arguments: arguments, environment: environment).execute()
    }

    /// Replaces the program by the file at `path`. Returns only by failing. execve(2).
    public static func execute(
        path: String, arguments: [String], environment: [String]
    ) throws(SystemError) -> Never {
        throw PreparedProgram(path: path, arguments: arguments, environment: environment).execute()
    }
}

/// A call of execve(2) that needs no other call any more, not for memory either: a filter may forbid all others.
public struct PreparedProgram: ~Copyable {
    private let directory: CInt
    private let path: UnsafeMutablePointer<CChar>
    private let arguments: [UnsafeMutablePointer<CChar>?]
    private let environment: [UnsafeMutablePointer<CChar>?]

    public init(path: String, arguments: [String], environment: [String]) {
        self.init(directory: AT_FDCWD, path: path, arguments: arguments, environment: environment)
    }

    init(directory: CInt, path: String, arguments: [String], environment: [String]) {
        self.directory = directory
        self.path = strdup(path)
        self.arguments = arguments.map { strdup($0) } + [nil]
        self.environment = environment.map { strdup($0) } + [nil]
    }

    deinit {
        free(path)
        (arguments + environment).forEach { free($0) }
    }

    /// Returns only by failing, with the reason.
    public borrowing func execute() -> SystemError {
        let errno = make()
        return SystemError(errno, "exec \(String(cString: arguments.first.flatMap { $0 } ?? path))")
    }

    private borrowing func make() -> Errno { withCall { $0.make() } }

    /// - Parameter body: gets addresses that hold as long as it runs.
    borrowing func withCall<R, E: Error>(_ body: (PreparedCall) throws(E) -> R) throws(E) -> R {
        try arguments.withUnsafeBufferPointer { argv throws(E) in
            try environment.withUnsafeBufferPointer { envp throws(E) in
                try body(
                    PreparedCall(
                        directory: directory, path: Int(bitPattern: path), arguments: Int(bitPattern: argv.baseAddress),
                        environment: Int(bitPattern: envp.baseAddress)))
            }
        }
    }
}

/// The call of a ``PreparedProgram``, by addresses.
struct PreparedCall {
    fileprivate let directory: CInt
    fileprivate let path: Int
    fileprivate let arguments: Int
    fileprivate let environment: Int

    /// Returns only by failing, with the reason.
    func make() -> Errno {
        // By path with the older call, the one that every filter for programs knows.
        _ =
            directory == AT_FDCWD
            ? clinux_syscall(Int(SYS_execve), path, arguments, environment, 0, 0, 0)
            : clinux_syscall(
                Int(SYS_execveat), Int(directory), path, arguments, environment, Int(CLINUX_AT_EMPTY_PATH), 0)
        return .current
    }
}
