/// The calling thread's set of blocked signals. sigprocmask(2).
public struct SignalMask: Sendable {
    private var signals: sigset_t

    /// Blocks every signal that can be blocked, and returns what was blocked before.
    public static func blockAll() -> SignalMask {
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        sigprocmask(SIG_SETMASK, &all, &before)
        return SignalMask(signals: before)
    }

    /// Blocks one more, and returns what was blocked before.
    public static func block(_ signal: CInt) -> SignalMask {
        var more = sigset_t()
        var before = sigset_t()
        sigemptyset(&more)
        sigaddset(&more, signal)
        sigprocmask(SIG_BLOCK, &more, &before)
        return SignalMask(signals: before)
    }

    /// Takes a blocked signal that waits for this thread, so that nobody gets it when it is blocked no more.
    public static func take(_ signal: CInt) {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, signal)
        var now = timespec()
        _ = sigtimedwait(&set, nil, &now)
    }

    public static func clear() {
        var none = sigset_t()
        sigemptyset(&none)
        sigprocmask(SIG_SETMASK, &none, nil)
    }

    public func restore() {
        var signals = signals
        sigprocmask(SIG_SETMASK, &signals, nil)
    }
}

/// Blocked signals as something to read. signalfd(2).
public struct SignalQueue: ~Copyable, Sendable {
    private let descriptor: OwnedDescriptor

    /// Takes every signal; the caller has blocked them.
    public init() throws(SystemError) {
        var all = sigset_t()
        sigfillset(&all)
        descriptor = OwnedDescriptor(
            try system("make signalfd") { signalfd(-1, &all, CInt(O_CLOEXEC | O_NONBLOCK)) })
    }

    public var raw: CInt { descriptor.raw }

    /// The next signal's number, nil if none is pending.
    public func next() -> CInt? {
        var info = signalfd_siginfo()
        let count = read(raw, &info, MemoryLayout<signalfd_siginfo>.size)
        return count == MemoryLayout<signalfd_siginfo>.size ? CInt(info.ssi_signo) : nil
    }
}

/// The environment of this process as `NAME=value`.
public func currentEnvironment() -> [String] {
    var entries: [String] = []
    guard var entry = clinux_environ() else { return [] }
    while let text = entry.pointee {
        entries.append(String(cString: text))
        entry += 1
    }
    return entries
}
