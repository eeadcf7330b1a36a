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
    public static func closeOnExec(from first: CInt) throws(SystemError) {
        try systemCall("mark descriptors close-on-exec", Int(CLINUX_SYS_close_range), Int(first), Int(UInt32.max), 4)
    }

    /// Closes every descriptor from `first` on that is not in `kept`.
    public static func closeAll(from first: CInt, but kept: [CInt]) throws(SystemError) {
        var next = first
        for descriptor in kept.sorted() where descriptor >= next {
            try closeRange(next, descriptor - 1)
            next = descriptor + 1
        }
        try closeRange(next)
    }

    /// Closes the descriptors from `first` to `last`. close_range(2), kernel 5.9.
    public static func closeRange(_ first: CInt, _ last: CInt = .max) throws(SystemError) {
        if first > last { return }
        try systemCall("close descriptors", Int(CLINUX_SYS_close_range), Int(first), Int(last), 0)
    }

    /// Replaces the program by the file that a descriptor holds. Returns only by failing. execveat(2).
    public static func execute(
        descriptor: CInt, arguments: [String], environment: [String]
    ) throws(SystemError) -> Never {
        try execute(directory: descriptor, path: "", arguments, environment, flags: CLINUX_AT_EMPTY_PATH)
    }

    /// Replaces the program by the file at `path`. Returns only by failing. execve(2).
    public static func execute(
        path: String, arguments: [String], environment: [String]
    ) throws(SystemError) -> Never {
        try execute(directory: AT_FDCWD, path: path, arguments, environment, flags: 0)
    }

    private static func execute(
        directory: CInt, path: String, _ arguments: [String], _ environment: [String], flags: CInt
    ) throws(SystemError) -> Never {
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) }
        argv.append(nil)
        envp.append(nil)
        defer { (argv + envp).forEach { free($0) } }
        try system("exec \(arguments.first ?? path)") {
            path.withCString { path in
                argv.withUnsafeBufferPointer { argv in
                    envp.withUnsafeBufferPointer { envp in
                        let (argv, envp) = (Int(bitPattern: argv.baseAddress), Int(bitPattern: envp.baseAddress))
                        // By path with the older call, the one that every filter for programs knows.
                        if directory == AT_FDCWD {
                            return clinux_syscall(Int(SYS_execve), Int(bitPattern: path), argv, envp, 0, 0, 0)
                        }
                        return clinux_syscall(
                            Int(SYS_execveat), Int(directory), Int(bitPattern: path), argv, envp, Int(flags), 0)
                    }
                }
            }
        }
        throw SystemError(.noSuchFileOrDirectory, "exec \(path)")
    }
}
