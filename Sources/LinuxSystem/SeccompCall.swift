/// Confines the calling thread by a filter, an array of `sock_filter`. seccomp(2) SECCOMP_SET_MODE_FILTER.
///
/// Makes no other call, not for memory either, that the new filter could forbid.
///
/// - Returns: the listener's descriptor, which the next exec closes, if `flags` ask for one, else 0.
public func installSeccompFilter(_ program: [UInt8], flags: UInt32) throws(SystemError) -> Int {
    try system("load seccomp filter") {
        program.withUnsafeBytes { bytes in
            var description = sock_fprog(
                len: UInt16(bytes.count / MemoryLayout<sock_filter>.size),
                filter: UnsafeMutablePointer(mutating: bytes.bindMemory(to: sock_filter.self).baseAddress))
            return withUnsafePointer(to: &description) {
                clinux_syscall(
                    Int(SYS_seccomp), Int(SECCOMP_SET_MODE_FILTER), Int(flags), Int(bitPattern: $0), 0, 0, 0)
            }
        }
    }
}

/// Whether these flags of a filter are known: they are looked at before the filter, which is none. seccomp(2).
public func kernelKnowsSeccompFlags(_ flags: UInt32) -> Bool {
    let result = clinux_syscall(Int(SYS_seccomp), Int(SECCOMP_SET_MODE_FILTER), Int(flags), 0, 0, 0, 0)
    return result < 0 && Errno.current == .badAddress
}

/// An anonymous file in memory. memfd_create(2).
public func makeMemoryFile(_ name: String, sealable: Bool = false) throws(SystemError) -> OwnedDescriptor {
    let flags = Int(CLINUX_MFD_CLOEXEC) | (sealable ? Int(CLINUX_MFD_ALLOW_SEALING) : 0)
    return OwnedDescriptor(
        CInt(
            try system("make memory file \(name)") {
                name.withCString { clinux_syscall(Int(SYS_memfd_create), Int(bitPattern: $0), flags, 0, 0, 0, 0) }
            }))
}
