/// The processes of a pid namespace and of those beneath it. pid_namespaces(7).
public enum PidNamespace {
    /// By their ids as the caller sees them. Of a namespace that the caller may not look into there are none.
    ///
    /// - Parameter first: a process in the namespace.
    public static func processes(of first: pid_t) throws(SystemError) -> [pid_t] {
        let wanted = try status("/proc/\(first)/ns/pid").st_ino
        return try directoryEntries("/proc").compactMap { pid_t($0) }.filter { isBeneath($0, wanted) }.sorted()
    }

    /// Goes up from the process's namespace to the caller's, beyond which the kernel does not tell. ioctl_ns(2).
    private static func isBeneath(_ process: pid_t, _ wanted: ino_t) -> Bool {
        guard var namespace = try? openAt(AT_FDCWD, "/proc/\(process)/ns/pid", O_RDONLY) else { return false }
        while let inode = try? status(of: namespace.raw).st_ino {
            if inode == wanted { return true }
            let parent = clinux_ioctl(namespace.raw, UInt(CLINUX_NS_GET_PARENT), 0)
            if parent < 0 { return false }
            namespace = OwnedDescriptor(parent)
        }
        return false
    }
}
