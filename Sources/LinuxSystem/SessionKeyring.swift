/// Joins a new session keyring of this name. keyctl(2) KEYCTL_JOIN_SESSION_KEYRING.
///
/// A kernel without keyrings, or a filter around the runtime that forbids them, leaves the process as it is.
public func joinSessionKeyring(_ name: String) throws(SystemError) {
    do {
        try system("join session keyring") {
            name.withCString { clinux_syscall(Int(SYS_keyctl), 1, Int(bitPattern: $0), 0, 0, 0, 0) }
        }
    } catch let error where [.noFunction, .notPermitted].contains(error.errno) {}
}
