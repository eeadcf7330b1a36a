/// A process to be made by ``cloneProcess(_:)``. clone3(2).
public struct CloneRequest: Sendable {
    /// Namespaces that the child gets new.
    public var namespaces: Namespaces
    /// The cgroup (a descriptor of its v2 directory) that the child is born in. Kernel 5.7.
    public var cgroup: CInt?
    /// The child's pid in its own pid namespace. Kernel 5.5.
    public var pid: pid_t?
    /// The child becomes a sibling of the caller: for a parent that will not stay.
    public var siblingOfCaller = false

    public init(namespaces: Namespaces = [], cgroup: CInt? = nil, pid: pid_t? = nil) {
        self.namespaces = namespaces
        self.cgroup = cgroup
        self.pid = pid
    }
}

/// Which of the two processes ``cloneProcess(_:)`` returned in.
public enum CloneResult: ~Copyable {
    case child
    case parent(pid: pid_t, pidfd: Pidfd)
}

/// Makes a child that goes on in Swift as a copy of this single-threaded process.
///
/// The C library is not told: its fork handlers do not run and its cached thread id is stale in the child. That is
/// harmless as long as the caller has one thread, and the child takes no recursive lock and raises no signal to itself.
/// clone3(2), kernel 5.3.
public func cloneProcess(_ request: CloneRequest) throws(SystemError) -> CloneResult {
    var pidfd: CInt = -1
    var setPid = request.pid ?? 0
    var arguments = clinux_clone_args()
    arguments.flags = UInt64(request.namespaces.rawValue) | UInt64(CLONE_PIDFD)
    arguments.exit_signal = UInt64(SIGCHLD)
    if request.siblingOfCaller {
        arguments.flags |= UInt64(CLONE_PARENT)
        arguments.exit_signal = 0
    }
    if let cgroup = request.cgroup {
        arguments.flags |= UInt64(CLONE_INTO_CGROUP)
        arguments.cgroup = UInt64(cgroup)
    }
    let id = request.pid.map { ", with process id \($0)" } ?? ""
    let pid = try system("clone into new namespaces (\(request.namespaces))\(id)") {
        withUnsafeMutablePointer(to: &pidfd) { pidfd in
            withUnsafeMutablePointer(to: &setPid) { setPid in
                withUnsafeMutablePointer(to: &arguments) { arguments in
                    arguments.pointee.pidfd = UInt64(UInt(bitPattern: pidfd))
                    if request.pid != nil {
                        arguments.pointee.set_tid = UInt64(UInt(bitPattern: setPid))
                        arguments.pointee.set_tid_size = 1
                    }
                    return clinux_syscall(
                        Int(CLINUX_SYS_clone3), Int(bitPattern: arguments), MemoryLayout<clinux_clone_args>.size, 0, 0,
                        0, 0)
                }
            }
        }
    }
    return pid == 0 ? .child : .parent(pid: pid_t(pid), pidfd: Pidfd(OwnedDescriptor(pidfd)))
}
