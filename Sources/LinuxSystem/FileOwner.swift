/// Makes what this thread makes meanwhile belong to somebody else; it keeps all its rights. setfsuid(2).
public func withFileOwner<R>(user: UInt32, group: UInt32, _ body: () throws -> R) throws -> R {
    let rights = try CapabilitySets.current()
    let before = (user: fileID(SYS_setfsuid), group: fileID(SYS_setfsgid))
    try setFileOwner(user: user, group: group, rights)
    let result = Result { try body() }
    try setFileOwner(user: before.user, group: before.group, rights)
    return try result.get()
}

/// A change of the user takes the capabilities that are about files out of the effective set, or puts them back.
private func setFileOwner(user: UInt32, group: UInt32, _ rights: CapabilitySets) throws(SystemError) {
    _ = clinux_syscall(Int(SYS_setfsgid), Int(group), 0, 0, 0, 0, 0)
    _ = clinux_syscall(Int(SYS_setfsuid), Int(user), 0, 0, 0, 0, 0)
    guard fileID(SYS_setfsuid) == user, fileID(SYS_setfsgid) == group else {
        throw SystemError(.notPermitted, "make files as user \(user), group \(group)")
    }
    try rights.apply()
}

/// The calls answer with the id before, and take no notice of one that cannot be.
private func fileID(_ call: CInt) -> UInt32 {
    UInt32(truncatingIfNeeded: clinux_syscall(Int(call), -1, 0, 0, 0, 0, 0))
}

/// Gives a standard stream to the user of a container, as runc does, so that `echo >/dev/stderr` works there. A /dev/null
/// stays what it is to everybody else, and where the owner cannot be changed nothing is.
public func handStream(_ number: CInt, to user: UInt32) throws(SystemError) {
    guard let status = try? status(of: number), status.st_uid != user else { return }
    if status.isCharacterDevice && status.st_rdev == clinux_makedev(1, 3) { return }
    if fchown(number, user, status.st_gid) == 0 { return }
    let error = Errno.current
    if ![.invalidArgument, .notPermitted, .readOnlyFileSystem].contains(error) {
        throw SystemError(error, "change owner of descriptor \(number)")
    }
}
