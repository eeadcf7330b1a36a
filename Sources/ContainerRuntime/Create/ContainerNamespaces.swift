import LinuxSystem

/// The namespaces of a running container, by a descriptor of its first process.
struct ContainerNamespaces {
    /// pidfd, open until the command ends: the process that is cloned needs it too.
    let process: CInt
    /// Those that the caller is not in already.
    let different: Namespaces

    init(of pid: pid_t) throws(SystemError) {
        let pidfd = try Pidfd(pid: pid)
        var different: Namespaces = []
        for (kind, file) in Namespaces.files {
            // What its children are born into counts, as for the time namespace of a restored process.
            let theirs: stat
            do throws(SystemError) {
                theirs = try status("/proc/\(pid)/ns/\(file)")
            } catch  where error.errno == .noSuchFileOrDirectory {
                continue
            }
            let ours = try status("/proc/self/ns/\(file)")
            if theirs.st_ino != ours.st_ino || theirs.st_dev != ours.st_dev { different.insert(kind) }
        }
        process = pidfd.release().release()
        self.different = different
    }
}
