/// Lets this thread be somebody else for what it makes: owner of files, pipes and sockets, and whom SO_PEERCRED names. It
/// keeps all its rights. setresuid(2).
///
/// - Parameter groups: additional ones to take on; `nil` keeps the own.
public func withEffectiveUser<R>(
    _ user: UInt32, group: UInt32, groups: [UInt32]? = nil, _ body: () throws -> R
) throws -> R {
    let own = (user: geteuid(), group: getegid())
    if own == (user, group), groups == nil { return try body() }
    let rights = try CapabilitySets.current()
    // A change of users clears it.
    let deathSignal = try CallingProcess.parentDeathSignal()
    let ownGroups = try groups.map { _ in try additionalGroups() }
    if let groups { try setAdditionalGroups(groups) }
    try setEffectiveUser(user, group, rights)
    let result = Result { try body() }
    try setEffectiveUser(own.user, own.group, rights)
    if let ownGroups { try setAdditionalGroups(ownGroups) }
    try CallingProcess.setParentDeathSignal(deathSignal)
    return try result.get()
}

/// The effective capabilities go with the user 0, and come back as long as the real one is 0 still.
private func setEffectiveUser(_ user: UInt32, _ group: UInt32, _ rights: CapabilitySets) throws(SystemError) {
    try systemCall("make files as group \(group)", Int(SYS_setresgid), -1, Int(group), -1)
    try systemCall("make files as user \(user)", Int(SYS_setresuid), -1, Int(user), -1)
    try rights.apply()
}

private func additionalGroups() throws(SystemError) -> [UInt32] {
    let count = try systemCall("additional groups", Int(SYS_getgroups), 0, 0)
    var groups = [UInt32](repeating: 0, count: count)
    try system("additional groups") {
        groups.withUnsafeMutableBytes {
            clinux_syscall(Int(SYS_getgroups), count, Int(bitPattern: $0.baseAddress), 0, 0, 0, 0)
        }
    }
    return groups
}

/// Of this thread alone.
private func setAdditionalGroups(_ groups: [UInt32]) throws(SystemError) {
    try system("set additional groups") {
        groups.withUnsafeBytes {
            clinux_syscall(Int(SYS_setgroups), groups.count, Int(bitPattern: $0.baseAddress), 0, 0, 0, 0)
        }
    }
}
