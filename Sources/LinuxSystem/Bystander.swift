/// A process that has chosen ids, no rights and nothing of the caller's, and does nothing: for others to be asked whether they
/// may look at it. It ends with its owner.
///
/// Whom its ids allow to look may also trace it. So by a program of its own it has memory of its own, with nothing in it; it
/// stands in other processes' root directory, has one end of a pipe open, and a filter lets it do nothing but read and end.
public final class Bystander {
    /// As its pid namespace has it.
    public let pid: pid_t
    /// As the caller has it.
    private let child: pid_t
    /// It reads from the other end, and ends when this one is closed, were it by the caller's death.
    private var life: CInt?

    /// In the pid namespace in which the caller's children are born. The caller is not dumpable any more from then on, since it
    /// shares its memory with somebody of other ids for a moment.
    ///
    /// - Parameters:
    ///   - user: as the user namespace has it, as `group`.
    ///   - namespaces: those of `process`, a pidfd, that it goes into; the mount namespace among them.
    public init(user: UInt32, group: UInt32, in namespaces: Namespaces, of process: CInt) throws(SystemError) {
        let file = try Self.program()
        let program = PreparedProgram(
            directory: file.raw, path: "", arguments: ["stasis-bystander"], environment: [])
        let pipe = try makePipe()
        let (end, filter) = (pipe.first.raw, Self.filter)
        var own: pid_t = 0
        var failure: SystemError?
        let child = try program.withCall { call throws(SystemError) in
            try cloneSharingMemory(executing: call) {
                own = getpid()
                do throws(SystemError) {
                    try Self.join(namespaces, of: process, reading: end)
                    try Self.become(user, group, filter)
                } catch { failure = error }
                return failure == nil
            }
        }
        if let failure {
            waitpid(child, nil, 0)
            throw failure
        }
        (self.child, pid, life) = (child, own, pipe.second.release())
    }

    /// Lets it end, without waiting for that.
    public func dismiss() {
        if let end = life.take() { close(end) }
    }

    deinit {
        dismiss()
        while waitpid(child, nil, 0) < 0, Errno.current == .interrupted {}
    }

    private static func join(_ namespaces: Namespaces, of process: CInt, reading end: CInt) throws(SystemError) {
        try CallingProcess.setDumpable(false)
        try system("take the end of a pipe") { dup2(end, 0) }
        try CallingProcess.closeOnExec(from: 1)
        // With the mount namespace come its root directory and working directory.
        try joinNamespaces(process, namespaces)
    }

    private static func become(_ user: UInt32, _ group: UInt32, _ filter: [UInt8]) throws(SystemError) {
        var credentials = Credentials(user: user, group: group)
        credentials.mayKeepGroups = true
        try credentials.apply()
        // Sysctl fs.suid_dumpable says what a change of users does.
        try CallingProcess.setDumpable(false)
        try CapabilitySets().apply()
        // The user 0 would get them again with the program.
        try CallingProcess.setNoNewPrivileges()
        _ = try installSeccompFilter(filter, flags: 0)
    }

    /// struct sock_filter each: code 2, where to go if it is so 1, if not 1, operand 4.
    private static var filter: [UInt8] {
        let instructions: [(code: UInt64, yes: UInt64, no: UInt64, operand: UInt64)] = [
            (0x20, 0, 0, 4),  // the architecture
            (0x15, 0, 4, 0xc000_003e),  // x86-64
            (0x20, 0, 0, 0),  // the number of the call
            (0x15, 3, 0, UInt64(SYS_read)),
            (0x15, 2, 0, UInt64(SYS_exit_group)),
            (0x15, 1, 0, UInt64(SYS_execveat)),
            (0x06, 0, 0, 0x8000_0000),  // SECCOMP_RET_KILL_PROCESS
            (0x06, 0, 0, 0x7fff_0000),  // SECCOMP_RET_ALLOW
        ]
        return bytes(of: instructions.map { $0.code | $0.yes << 16 | $0.no << 24 | $0.operand << 32 })
    }

    private static func bytes(of words: [UInt64]) -> [UInt8] {
        words.flatMap { word in withUnsafeBytes(of: word.littleEndian) { Array($0) } }
    }

    /// An ELF file of one segment, elf(5): reads from descriptor 0, and ends.
    private static func program() throws(SystemError) -> OwnedDescriptor {
        let code: [UInt8] = [
            0x31, 0xff,  // xor edi, edi
            0x48, 0x89, 0xe6,  // mov rsi, rsp
            0xba, 0x01, 0x00, 0x00, 0x00,  // mov edx, 1
            0x31, 0xc0,  // xor eax, eax: read
            0x0f, 0x05,  // syscall
            0xb8, 0xe7, 0x00, 0x00, 0x00,  // mov eax, 231: exit_group
            0x31, 0xff,  // xor edi, edi
            0x0f, 0x05,  // syscall
        ]
        let base: UInt64 = 0x40_0000
        // Both headers, of 64 and 56 bytes, as words of eight.
        let size = 64 + 56 + UInt64(code.count)
        let words: [UInt64] = [
            0x0001_0102_464c_457f, 0,  // 64 bits, little-endian, version 1
            0x0000_0001_003e_0002, base + 64 + 56,  // ET_EXEC, x86-64, version 1; where it begins
            64, 0,  // where the other header is; no sections
            0x0038_0040_0000_0000, 1,  // the sizes of the headers; one of the second kind
            0x0000_0005_0000_0001, 0, base, base,  // PT_LOAD, to be read and executed
            size, size, 4096,
        ]
        let file = try MemoryFile.make("stasis-bystander", mayExecute: true)
        try writeAll(file.raw, bytes(of: words) + code, name: "program of a bystander")
        return file
    }
}
