import LinuxSystem

/// How a task gets its first memory and its socket: without a moment in which the engine's death could harm it.
///
/// The code lies where the task can run it before anything is mapped: in the unused end of its copy of the vdso. It
/// needs no memory to write to, and when the engine dies, it puts signal mask and registers back by itself and goes on where
/// the task was (an interrupted system call is made again, as the kernel would).
///
/// ```
/// 00           r13 = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC); goto restore if it fails
/// 1a           connect(r13, address); mmap(size); goto closing if one fails
/// 63           r12 = the memory: the engine, which stands behind each call, takes over here
/// 66           read(r13, r12, 16): where there is no engine any more it returns
/// 75 leaving:  munmap(r12, size)
/// 86 closing:  close(r13)
/// 90 restore:  rt_sigprocmask(SIG_SETMASK, mask); all registers, flags, stack pointer; jump to where the task was
/// 130          size 8, length of the address 8, registers 18 * 8, mask 8, address 32
/// ```
enum Bootstrap {
    static let size = 504
    static let leaving = 0x75
    static let closing = 0x86
    /// What no other code begins with.
    static var mark: ArraySlice<UInt8> { code[..<64] }
    private static let code: [UInt8] = [
        0xb8, 0x29, 0x00, 0x00, 0x00, 0xbf, 0x01, 0x00, 0x00, 0x00, 0xbe, 0x05, 0x00, 0x08, 0x00, 0x31, 0xd2, 0x0f,
        0x05, 0x85, 0xc0, 0x78, 0x79, 0x41, 0x89, 0xc5, 0xb8, 0x2a, 0x00, 0x00, 0x00, 0x44, 0x89, 0xef, 0x48, 0x8d,
        0x35, 0xaf, 0x01, 0x00, 0x00, 0x8b, 0x15, 0x09, 0x01, 0x00, 0x00, 0x0f, 0x05, 0x48, 0x85, 0xc0, 0x75, 0x50,
        0xb8, 0x09, 0x00, 0x00, 0x00, 0x31, 0xff, 0x48, 0x8b, 0x35, 0xec, 0x00, 0x00, 0x00, 0xba, 0x07, 0x00, 0x00,
        0x00, 0x41, 0xba, 0x22, 0x40, 0x00, 0x00, 0x49, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff, 0x45, 0x31, 0xc9, 0x0f,
        0x05, 0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff, 0x77, 0x23, 0x49, 0x89, 0xc4, 0x31, 0xc0, 0x44, 0x89, 0xef, 0x4c,
        0x89, 0xe6, 0xba, 0x10, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xb8, 0x0b, 0x00, 0x00, 0x00, 0x4c, 0x89, 0xe7, 0x48,
        0x8b, 0x35, 0xac, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xb8, 0x03, 0x00, 0x00, 0x00, 0x44, 0x89, 0xef, 0x0f, 0x05,
        0xb8, 0x0e, 0x00, 0x00, 0x00, 0xbf, 0x02, 0x00, 0x00, 0x00, 0x48, 0x8d, 0x35, 0x2f, 0x01, 0x00, 0x00, 0x31,
        0xd2, 0x41, 0xba, 0x08, 0x00, 0x00, 0x00, 0x0f, 0x05, 0x48, 0x8b, 0x05, 0x8e, 0x00, 0x00, 0x00, 0x48, 0x8b,
        0x1d, 0x8f, 0x00, 0x00, 0x00, 0x48, 0x8b, 0x0d, 0x90, 0x00, 0x00, 0x00, 0x48, 0x8b, 0x15, 0x91, 0x00, 0x00,
        0x00, 0x48, 0x8b, 0x35, 0x92, 0x00, 0x00, 0x00, 0x48, 0x8b, 0x3d, 0x93, 0x00, 0x00, 0x00, 0x48, 0x8b, 0x2d,
        0x94, 0x00, 0x00, 0x00, 0x4c, 0x8b, 0x05, 0x95, 0x00, 0x00, 0x00, 0x4c, 0x8b, 0x0d, 0x96, 0x00, 0x00, 0x00,
        0x4c, 0x8b, 0x15, 0x97, 0x00, 0x00, 0x00, 0x4c, 0x8b, 0x1d, 0x98, 0x00, 0x00, 0x00, 0x4c, 0x8b, 0x25, 0x99,
        0x00, 0x00, 0x00, 0x4c, 0x8b, 0x2d, 0x9a, 0x00, 0x00, 0x00, 0x4c, 0x8b, 0x35, 0x9b, 0x00, 0x00, 0x00, 0x4c,
        0x8b, 0x3d, 0x9c, 0x00, 0x00, 0x00, 0x48, 0x8d, 0x25, 0x9d, 0x00, 0x00, 0x00, 0x9d, 0x48, 0x8b, 0x25, 0x9d,
        0x00, 0x00, 0x00, 0xff, 0x25, 0x9f, 0x00, 0x00, 0x00, 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00,
    ]

    /// The code with what it needs to know.
    ///
    /// - Parameters:
    ///   - registers: the task's own, as it goes on with them, and its mask.
    ///   - areaSize: bytes to map.
    ///   - address: a sockaddr_un of at most 32 bytes.
    static func bytes(
        registers: user_regs_struct, mask: UInt64, areaSize: Int, address: [UInt8]
    ) -> [UInt8] {
        let own = registers.rewound(restartBlock: .restart)
        let words: [UInt64] =
            [
                UInt64(areaSize), UInt64(address.count), own.rax, own.rbx, own.rcx, own.rdx, own.rsi, own.rdi, own.rbp,
                own.r8, own.r9, own.r10, own.r11, own.r12, own.r13, own.r14, own.r15, own.eflags, own.rsp, own.rip,
            ].map { UInt64($0) } + [mask]
        let data = words.flatMap { word in withUnsafeBytes(of: word.littleEndian) { Array($0) } }
        return code + data + address + [UInt8](repeating: 0, count: size - code.count - data.count - address.count)
    }
}

/// The socket that tasks of a network namespace reach the engine by. The kernel chooses its abstract name; unix(7).
public final class AgentListener {
    private let socket: OwnedDescriptor
    let address: [UInt8]

    /// Listens in the caller's network namespace, which must be the tasks'.
    public init() throws(SystemError) {
        let socket = OwnedDescriptor(
            CInt(
                try systemCall(
                    "make socket for agents", Int(SYS_socket), Int(AF_UNIX), 5 | Int(O_CLOEXEC | O_NONBLOCK), 0)))
        var bytes = [UInt8](repeating: 0, count: 32)
        bytes[0] = UInt8(AF_UNIX)
        var length: UInt32 = 32
        let raw = socket.raw
        try system("bind socket for agents") {
            bytes.withUnsafeMutableBytes {
                clinux_syscall(Int(SYS_bind), Int(raw), Int(bitPattern: $0.baseAddress), 2, 0, 0, 0)
            }
        }
        try system("listen for agents") { listen(raw, 8) }
        try system("name of the socket for agents") {
            bytes.withUnsafeMutableBytes { bytes in
                withUnsafeMutablePointer(to: &length) {
                    clinux_syscall(
                        Int(SYS_getsockname), Int(raw), Int(bitPattern: bytes.baseAddress), Int(bitPattern: $0), 0, 0, 0
                    )
                }
            }
        }
        address = Array(bytes[..<Int(length)])
        self.socket = socket
    }

    /// The connection that a process has made, nil if there is none; any other is turned away, for the name is no secret: who
    /// shares the network namespace, and does not stand still, can come as often as it likes.
    func take(from process: pid_t) throws(TraceeError) -> CInt? {
        // Enough for all that can wait before it, and no work without end.
        for _ in 0..<64 {
            let connection: CInt
            do throws(SystemError) {
                connection = CInt(
                    try systemCall("accept the agent", Int(SYS_accept4), Int(socket.raw), 0, 0, Int(O_CLOEXEC)))
            } catch {
                if error.errno == .resourceTemporarilyUnavailable || error.errno == .connectionAbort { return nil }
                throw .failed(error)
            }
            // struct ucred: pid, uid, gid.
            var peer = SIMD3<Int32>(0, 0, 0)
            var length = socklen_t(12)
            let known = getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0
            if known && peer[0] == process { return connection }
            close(connection)
        }
        return nil
    }
}
