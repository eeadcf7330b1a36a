import LinuxSystem

func isOpen(_ descriptor: CInt) -> Bool { clinux_fcntl(descriptor, F_GETFD, 0) >= 0 }

/// The errno of the ``SystemError`` that `body` throws.
func errno(of body: () throws -> Void) -> Errno? {
    do { try body() } catch { return (error as? SystemError)?.errno }
    return nil
}
