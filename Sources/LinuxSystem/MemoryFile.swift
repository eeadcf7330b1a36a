/// memfd_create(2): a file in memory that has no place in any directory.
public enum MemoryFile {
    /// F_SEAL_EXEC: who may execute it stays as it is. Linux 6.3.
    public static let sealOfExecution: UInt32 = 0x20
    /// All seals of Linux 6.18. fcntl(2) F_ADD_SEALS.
    public static let seals: UInt32 = 0x3f

    /// Makes an empty one that takes any seal.
    ///
    /// - Parameter mayExecute: whether anybody may ever execute it, whatever sysctl vm.memfd_noexec says of others.
    public static func make(_ name: String, mayExecute: Bool) throws(SystemError) -> OwnedDescriptor {
        // MFD_CLOEXEC | MFD_ALLOW_SEALING, and MFD_NOEXEC_SEAL or MFD_EXEC.
        do { return try make(name, flags: mayExecute ? 0x13 : 0xb) } catch {
            // Linux before 6.3 knows neither, and lets everybody execute it.
            guard mayExecute, error.errno == .invalidArgument else { throw error }
            return try make(name, flags: 0x3)
        }
    }

    private static func make(_ name: String, flags: Int) throws(SystemError) -> OwnedDescriptor {
        let descriptor = try system("make memory file \(name)") {
            name.withCString { clinux_syscall(Int(SYS_memfd_create), Int(bitPattern: $0), flags, 0, 0, 0, 0) }
        }
        return OwnedDescriptor(CInt(descriptor))
    }

    /// F_GET_SEALS.
    public static func seals(of file: CInt) throws(SystemError) -> UInt32 {
        UInt32(bitPattern: try system("seals of a memory file") { clinux_fcntl(file, 1034, 0) })
    }

    /// F_ADD_SEALS.
    public static func add(_ seals: UInt32, to file: CInt) throws(SystemError) {
        try system("seal a memory file") { clinux_fcntl(file, 1033, Int(seals)) }
    }
}
