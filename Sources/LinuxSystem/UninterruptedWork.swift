/// Does something that is done to its end, even if somebody kills this process meanwhile: in a child that has the same
/// memory, for which the caller stands still. clone(2), CLONE_VM and CLONE_VFORK.
///
/// - Parameter body: gets to know whether this process is alive. It makes no more than system calls, in memory that is there.
public func uninterrupted(_ body: ((() -> Bool)) -> Void) throws(SystemError) {
    let caller = getpid()
    let child = try cloneSharingMemory {
        setsid()
        body { getppid() == caller }
        return true
    }
    var status: CInt = 0
    try system("wait for a child") { waitpid(child, &status, 0) }
}

/// Starts a child that has the same memory, for which the caller stands still until it executes a program or ends.
///
/// - Parameters:
///   - program: what it executes in the end, if `body` says so. It holds nothing of the shared memory any more by then, which
///     nobody would let go of.
///   - body: what it does before, with all signals blocked.
/// - Returns: the child, whose end is for the caller to wait for.
func cloneSharingMemory(executing program: PreparedCall? = nil, _ body: () -> Bool) throws(SystemError) -> pid_t {
    let size = 256 << 10
    // Signals of the terminal and of a group's end are for the caller.
    let mask = SignalMask.blockAll()
    defer { mask.restore() }
    // MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK
    let stack = try systemCall("make room for a stack", Int(SYS_mmap), 0, size, 3, 0x2_0022, -1, 0)
    defer { _ = clinux_syscall(Int(SYS_munmap), stack, size, 0, 0, 0, 0) }
    return try withoutActuallyEscaping(body) { body throws(SystemError) in
        let work = WorkOfChild(body)
        defer { withExtendedLifetime(work) {} }
        var child = SharingChild(work: .passUnretained(work), program: program)
        let pid = try system("start a child that shares memory") {
            clinux_clone_sharing_memory(
                { context in
                    context?.assumingMemoryBound(to: SharingChild.self).pointee.run()
                    _exit(0)
                }, UnsafeMutableRawPointer(bitPattern: stack + size), &child)
        }
        guard let reason = child.failure else { return pid }
        waitpid(pid, nil, 0)
        throw SystemError(reason, "execute a program in a child")
    }
}

private final class WorkOfChild {
    let body: () -> Bool

    init(_ body: @escaping () -> Bool) { self.body = body }
}

private struct SharingChild {
    let work: Unmanaged<WorkOfChild>
    let program: PreparedCall?
    var failure: Errno?

    mutating func run() {
        if prepare(), let program { failure = program.make() }
    }

    @inline(never) private func prepare() -> Bool { work.takeUnretainedValue().body() }
}
