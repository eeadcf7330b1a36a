/// User, groups and umask of a process. credentials(7).
public struct Credentials: Sendable, Equatable {
    public var user: UInt32
    public var group: UInt32
    public var additionalGroups: [UInt32]
    /// In a user namespace groups may be beyond change; without any to take on that is no failure. user_namespaces(7).
    public var mayKeepGroups = false

    public init(user: UInt32, group: UInt32, additionalGroups: [UInt32] = []) {
        self.user = user
        self.group = group
        self.additionalGroups = additionalGroups
    }

    /// Takes on groups, then group, then user: each needs the privileges that the next one gives up.
    ///
    /// Calls the kernel directly: the C library would tell its other threads by a signal, and there are none.
    public func apply() throws(SystemError) {
        do throws(SystemError) {
            try system("set additional groups \(additionalGroups)") {
                additionalGroups.withUnsafeBufferPointer {
                    clinux_syscall(Int(SYS_setgroups), $0.count, Int(bitPattern: $0.baseAddress), 0, 0, 0, 0)
                }
            }
        } catch  where error.errno == .notPermitted && mayKeepGroups && additionalGroups.isEmpty {}
        try systemCall("set group \(group)", Int(SYS_setresgid), Int(group), Int(group), Int(group))
        try systemCall("set user \(user)", Int(SYS_setresuid), Int(user), Int(user), Int(user))
    }
}
