/// Gives a standard stream to the user of a container, as runc does, so that `echo >/dev/stderr` works there. A /dev/null
/// stays what it is to everybody else, and where the owner cannot be changed nothing is.
///
/// - Parameter sparesReadOnly: whether a file that the stream only reads is left alone, as by who has the rights of the host.
public func handStream(_ number: CInt, to user: UInt32, sparesReadOnly: Bool = false) throws(SystemError) {
    guard let status = try? status(of: number), status.st_uid != user else { return }
    if sparesReadOnly, !status.isFIFO, clinux_fcntl(number, F_GETFL, 0) & O_ACCMODE == O_RDONLY { return }
    if status.isCharacterDevice && status.st_rdev == clinux_makedev(1, 3) { return }
    if fchown(number, user, status.st_gid) == 0 { return }
    let error = Errno.current
    if ![.invalidArgument, .notPermitted, .readOnlyFileSystem].contains(error) {
        throw SystemError(error, "change owner of descriptor \(number)")
    }
}
