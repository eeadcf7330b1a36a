/// A process by descriptor: its number cannot come to mean another one. pidfd_open(2), kernel 5.3.
public struct Pidfd: ~Copyable, Sendable {
    private let descriptor: OwnedDescriptor

    public init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }

    /// - Parameter flags: O_NONBLOCK, and from kernel 6.9 O_EXCL: of a thread (PIDFD_THREAD).
    public init(pid: pid_t, flags: CInt = 0) throws(SystemError) {
        let what = flags & O_EXCL == 0 ? "process \(pid)" : "thread \(pid) (PIDFD_THREAD, Linux 6.9)"
        descriptor = OwnedDescriptor(
            CInt(try systemCall("pidfd_open of \(what)", Int(CLINUX_SYS_pidfd_open), Int(pid), Int(flags))))
    }

    public var raw: CInt { descriptor.raw }

    /// How a process ended.
    public enum Exit: Sendable, Equatable {
        case exited(CInt)
        case killed(signal: CInt)

        /// As a shell reports it: 128 + signal when killed.
        public var code: CInt {
            switch self {
            case .exited(let code): code
            case .killed(let signal): 128 + signal
            }
        }
    }

    /// pidfd_send_signal(2), kernel 5.1.
    public func send(_ signal: CInt) throws(SystemError) {
        try systemCall("send signal \(signal)", Int(CLINUX_SYS_pidfd_send_signal), Int(raw), Int(signal))
    }

    /// Waits for the end of a child and takes its status. waitid(2) P_PIDFD, kernel 5.4.
    public func wait() throws(SystemError) -> Exit {
        var info = siginfo_t()
        try system("wait for process") { waitid(idtype_t(UInt32(CLINUX_P_PIDFD)), id_t(raw), &info, WEXITED) }
        return Exit(info)
    }

    /// Whether the process ends within `milliseconds`; it need not be a child. poll(2).
    public func ends(within milliseconds: CInt) throws(SystemError) -> Bool {
        var poll = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
        return try system("poll process") { clinux_poll(&poll, 1, milliseconds) } > 0
    }

    /// The process's open file number `number`, as a descriptor here. pidfd_getfd(2), kernel 5.6.
    public func descriptor(_ number: CInt) throws(SystemError) -> OwnedDescriptor {
        OwnedDescriptor(
            CInt(
                try systemCall(
                    "take descriptor \(number) of process", Int(CLINUX_SYS_pidfd_getfd), Int(raw), Int(number))))
    }

    /// How a process has ended that nobody waits for any more, as wait(2) tells it; `nil` if the kernel does not say.
    /// PIDFD_GET_INFO with PIDFD_INFO_EXIT, kernel 6.15.
    public static func exitCode(_ pidfd: CInt) -> UInt32? {
        // struct pidfd_info: the mask 8, … exit_code 4 at 60.
        let exit: UInt64 = 1 << 3
        var information = SIMD8<UInt64>(exit, 0, 0, 0, 0, 0, 0, 0)
        // _IOWR(0xff, 11, 64 bytes)
        let answer = withUnsafeMutablePointer(to: &information) {
            clinux_ioctl(pidfd, 0xc040_ff0b, UInt(bitPattern: $0))
        }
        guard answer == 0, information[0] & exit != 0 else { return nil }
        return UInt32(truncatingIfNeeded: information[7] >> 32)
    }

    public consuming func release() -> OwnedDescriptor { descriptor }
}

extension Pidfd.Exit {
    init(_ info: siginfo_t) {
        let status = clinux_siginfo_status(info)
        self = info.si_code == CInt(CLINUX_CLD_EXITED) ? .exited(status) : .killed(signal: status)
    }
}
