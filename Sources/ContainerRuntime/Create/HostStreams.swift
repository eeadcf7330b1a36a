import CheckpointEngine
import LinuxSystem

/// Hands the standard streams to a program in a user namespace: the process itself has no right to what belongs to nobody
/// in there.
///
/// - Parameter process: one in the user namespace.
func handStreams(to user: UInt32, in process: pid_t) throws(SystemError) {
    guard let owner = try? UserNamespace(of: process).outside(user: user) else { return }
    for number in CInt(0)...2 { try handStream(number, to: owner, sparesReadOnly: true) }
}
