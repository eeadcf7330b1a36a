@_exported import CLinux
@_exported import SystemPackage

/// A system call that failed: what was attempted, on what, and the kernel's reason.
///
/// `errno` is captured in the statement that made the call; see ``system(_:_:)``.
public struct SystemError: Error, CustomStringConvertible, Sendable {
    public var errno: Errno
    /// What was attempted, on what: `"openat2 /proc/sys"`.
    public var attempt: String

    public init(_ errno: Errno, _ attempt: String) {
        self.errno = errno
        self.attempt = attempt
    }

    public var description: String { "\(attempt): \(errno.description.lowercasedFirst)" }
}

extension Errno {
    /// The calling thread's errno; only valid right after a failed call.
    public static var current: Errno { Errno(rawValue: clinux_errno()) }
}

/// The one place that turns −1 into an error, for calls of the C library.
///
/// Repeats the call while it is interrupted by a signal.
@discardableResult
public func system<I: FixedWidthInteger>(
    _ attempt: @autoclosure () -> String, _ call: () -> I
) throws(SystemError) -> I {
    while true {
        let result = call()
        if result != -1 { return result }
        let error = Errno.current
        if error != .interrupted { throw SystemError(error, attempt()) }
    }
}

/// syscall(2) by number, with the same error handling as ``system(_:_:)``.
@discardableResult
public func systemCall(
    _ attempt: @autoclosure () -> String, _ number: Int, _ a0: Int = 0, _ a1: Int = 0, _ a2: Int = 0, _ a3: Int = 0,
    _ a4: Int = 0, _ a5: Int = 0
) throws(SystemError) -> Int {
    try system(attempt()) { clinux_syscall(number, a0, a1, a2, a3, a4, a5) }
}

extension String {
    /// strerror(3) begins with a capital; Go's and so runc's messages do not.
    var lowercasedFirst: String { prefix(1).lowercased() + dropFirst() }
}
