/// Kinds of namespaces, as the flags of clone(2), unshare(2) and setns(2).
public struct Namespaces: OptionSet, Sendable, Hashable, CustomStringConvertible {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let time = Namespaces(rawValue: UInt32(CLONE_NEWTIME))
    public static let mount = Namespaces(rawValue: UInt32(CLONE_NEWNS))
    public static let cgroup = Namespaces(rawValue: UInt32(CLONE_NEWCGROUP))
    public static let uts = Namespaces(rawValue: UInt32(CLONE_NEWUTS))
    public static let ipc = Namespaces(rawValue: UInt32(CLONE_NEWIPC))
    public static let user = Namespaces(rawValue: UInt32(CLONE_NEWUSER))
    public static let pid = Namespaces(rawValue: UInt32(CLONE_NEWPID))
    public static let network = Namespaces(rawValue: UInt32(CLONE_NEWNET))

    public static let all = Namespaces(files.map(\.kind))

    /// The names of the files in /proc/PID/ns.
    public static let files: [(kind: Namespaces, file: String)] = [
        (.user, "user"), (.cgroup, "cgroup"), (.ipc, "ipc"), (.uts, "uts"), (.network, "net"), (.pid, "pid"),
        (.time, "time"), (.mount, "mnt"),
    ]

    /// NSFS_MAGIC: of the file system that namespaces are files of. statfs(2).
    public static let fileSystemMagic: UInt64 = 0x6e73_6673

    public var description: String {
        Self.files.filter { contains($0.kind) }.map(\.file).joined(separator: ",")
    }
}

/// Joins the namespace that `descriptor` refers to, or those of a process by its pidfd. setns(2), pidfd: kernel 5.8.
public func joinNamespaces(_ descriptor: CInt, _ kinds: Namespaces) throws(SystemError) {
    try system("join namespaces (\(kinds))") {
        clinux_syscall(Int(SYS_setns), Int(descriptor), Int(kinds.rawValue), 0, 0, 0, 0)
    }
}

/// Moves the caller into new namespaces. unshare(2).
public func leaveNamespaces(_ kinds: Namespaces) throws(SystemError) {
    try system("make new namespaces (\(kinds))") {
        clinux_syscall(Int(SYS_unshare), Int(kinds.rawValue), 0, 0, 0, 0, 0)
    }
}
