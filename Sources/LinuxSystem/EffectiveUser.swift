/// Lets this thread be somebody else for what it makes: owner of files, pipes and sockets, and whom SO_PEERCRED names. It
/// keeps all its rights. setresuid(2).
public func withEffectiveUser<R>(_ user: UInt32, group: UInt32, _ body: () throws -> R) throws -> R {
    let own = (user: geteuid(), group: getegid())
    if own == (user, group) { return try body() }
    let rights = try CapabilitySets.current()
    // A change of users clears it.
    let deathSignal = try CallingProcess.parentDeathSignal()
    try setEffectiveUser(user, group, rights)
    let result = Result { try body() }
    try setEffectiveUser(own.user, own.group, rights)
    try CallingProcess.setParentDeathSignal(deathSignal)
    return try result.get()
}

/// The effective capabilities go with the user 0, and come back as long as the real one is 0 still.
private func setEffectiveUser(_ user: UInt32, _ group: UInt32, _ rights: CapabilitySets) throws(SystemError) {
    try systemCall("make files as group \(group)", Int(SYS_setresgid), -1, Int(group), -1)
    try systemCall("make files as user \(user)", Int(SYS_setresuid), -1, Int(user), -1)
    try rights.apply()
}
