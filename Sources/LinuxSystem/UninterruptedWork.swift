/// Does something that is done to its end, even if somebody kills this process meanwhile: in a child that has the same
/// memory, for which the caller stands still. clone(2), CLONE_VM and CLONE_VFORK.
///
/// - Parameter body: gets to know whether this process is alive. It makes no more than system calls, in memory that is there.
public func uninterrupted(_ body: ((() -> Bool)) -> Void) throws(SystemError) {
    let size = 256 << 10
    // Signals of the terminal and of a group's end are for the caller.
    let mask = SignalMask.blockAll()
    defer { mask.restore() }
    // MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK
    let stack = try systemCall("make room for a stack", Int(SYS_mmap), 0, size, 3, 0x2_0022, -1, 0)
    defer { _ = clinux_syscall(Int(SYS_munmap), stack, size, 0, 0, 0, 0) }
    let caller = getpid()
    let child = try withoutActuallyEscaping(body) { body throws(SystemError) in
        let work = UninterruptedWork { body { getppid() == caller } }
        defer { withExtendedLifetime(work) {} }
        return try system("start a child that shares memory") {
            clinux_clone_sharing_memory(
                { context in
                    setsid()
                    if let context { Unmanaged<UninterruptedWork>.fromOpaque(context).takeUnretainedValue().body() }
                    _exit(0)
                }, UnsafeMutableRawPointer(bitPattern: stack + size), Unmanaged.passUnretained(work).toOpaque())
        }
    }
    var status: CInt = 0
    try system("wait for a child") { waitpid(child, &status, 0) }
}

private final class UninterruptedWork {
    let body: () -> Void

    init(_ body: @escaping () -> Void) { self.body = body }
}
