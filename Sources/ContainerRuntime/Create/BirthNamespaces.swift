import LinuxSystem

/// Namespaces that a process cannot enter after its birth: pid and time. Its parent chooses them for its children,
/// and takes the choice back at once.
enum BirthNamespaces {
    static func clone(
        _ request: CloneRequest, pidNamespace: CInt?, timeNamespace: Bool, clocks: ClockOffsets?
    ) throws(SystemError) -> CloneResult {
        var own: [(CInt, Namespaces)] = []
        defer { for (descriptor, _) in own { close(descriptor) } }
        if let pidNamespace {
            own.append((try openAt(AT_FDCWD, "/proc/self/ns/pid", O_RDONLY).release(), .pid))
            // The child is seen by others there from its first moment, so it must not be born dumpable.
            try CallingProcess.setDumpable(false)
            try joinNamespaces(pidNamespace, .pid)
        }
        if timeNamespace {
            own.append((try openAt(AT_FDCWD, "/proc/self/ns/time", O_RDONLY).release(), .time))
            try newTime(clocks)
        }
        let result: CloneResult
        do {
            result = try cloneProcess(request)
        } catch {
            for (descriptor, kind) in own { try joinNamespaces(descriptor, kind) }
            throw error
        }
        switch consume result {
        case .child: return .child
        case .parent(let pid, let pidfd):
            for (descriptor, kind) in own { try joinNamespaces(descriptor, kind) }
            return .parent(pid: pid, pidfd: pidfd)
        }
    }

    /// The caller's children will be born into a time namespace with these offsets.
    static func newTime(_ clocks: ClockOffsets?) throws(SystemError) {
        try leaveNamespaces(.time)
        if let clocks { try writeOffsets(clocks) }
    }

    /// proc_pid_timens_offsets(5): only before the namespace has its first process.
    private static func writeOffsets(_ clocks: ClockOffsets) throws(SystemError) {
        let monotonic = "monotonic \(clocks.monotonic.tv_sec) \(clocks.monotonic.tv_nsec)\n"
        let boottime = "boottime \(clocks.boottime.tv_sec) \(clocks.boottime.tv_nsec)\n"
        try writeControl("/proc/self/timens_offsets", monotonic + boottime)
    }
}
