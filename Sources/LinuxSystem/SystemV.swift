/// System V IPC of the calling thread's namespace. svipc(7).
public enum SystemV: String, Sendable, CaseIterable {
    case sharedMemory = "shm"
    case semaphores = "sem"
    case messages = "msg"

    /// A line of /proc/sysvipc. proc_sysvipc(5).
    public struct Object: Sendable {
        /// By the names at the head of their columns.
        public let columns: [Substring: Int]

        public var id: CInt { CInt(truncatingIfNeeded: columns["shmid"] ?? columns["semid"] ?? columns["msqid"] ?? -1) }

        public subscript(_ column: Substring) -> Int { columns[column] ?? 0 }
    }

    /// Everything there is; nothing in a kernel without CONFIG_SYSVIPC.
    public func objects() throws(SystemError) -> [Object] {
        let text: String
        do { text = try readText("/proc/sysvipc/\(rawValue)") } catch {
            if error.errno == .noSuchFileOrDirectory { return [] }
            throw error
        }
        let lines = text.split(separator: "\n").map { $0.split(separator: " ", omittingEmptySubsequences: true) }
        return lines.dropFirst().map { line in
            let cells = zip(lines[0], line).map { name, cell in (name, Int(cell, radix: name == "perms" ? 8 : 10) ?? -1)
            }
            return Object(columns: Dictionary(cells, uniquingKeysWith: { first, _ in first }))
        }
    }

    /// Makes an object with an id of the caller's choice, which belongs to its effective user and group. Linux 3.9,
    /// CAP_CHECKPOINT_RESTORE.
    ///
    /// - Parameter size: bytes of a segment, or how many semaphores.
    public func make(id: CInt, key: CInt, mode: CInt, size: Int = 0) throws(SystemError) {
        let next = "/proc/sys/kernel/\(rawValue)_next_id"
        try writeControl(next, "\(id)")
        let flags = Int(mode) | Int(IPC_CREAT) | Int(IPC_EXCL)
        let made: Int
        do throws(SystemError) {
            made = try system("make System V \(rawValue) \(id)") {
                switch self {
                case .sharedMemory: clinux_syscall(Int(SYS_shmget), Int(key), size, flags, 0, 0, 0)
                case .semaphores: clinux_syscall(Int(SYS_semget), Int(key), size, flags, 0, 0, 0)
                case .messages: clinux_syscall(Int(SYS_msgget), Int(key), flags, 0, 0, 0, 0)
                }
            }
        } catch {
            // Else it would be the next one's.
            try? writeControl(next, "-1")
            throw error
        }
        guard made == Int(id) else {
            try control(CInt(truncatingIfNeeded: made), IPC_RMID)
            throw SystemError(.fileExists, "make System V \(rawValue) \(id): the id is taken")
        }
    }

    /// Whose the object is, and what a queue may hold. IPC_SET.
    public func set(
        _ id: CInt, user: UInt32, group: UInt32, mode: UInt32, queueBytes: UInt64? = nil
    ) throws(SystemError) {
        var state = try state(of: id)
        func put(_ value: UInt64, _ size: Int, at place: Int) {
            for byte in 0..<size { state[place + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte)) }
        }
        // struct ipc64_perm: key, uid, gid, cuid, cgid, mode of 4 bytes each. In struct msqid64_ds msg_qbytes is at 88.
        put(UInt64(user), 4, at: 4)
        put(UInt64(group), 4, at: 8)
        put(UInt64(mode), 4, at: 20)
        if let queueBytes { put(queueBytes, 8, at: 88) }
        try control(id, IPC_SET, &state)
    }

    /// How many bytes a message queue may hold.
    public static func queueBytes(of id: CInt) throws(SystemError) -> UInt64 {
        try messages.state(of: id)[88..<96].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Lets no new process attach a segment, and removes it with the last that has; removes objects of the other kinds.
    public func remove(_ id: CInt) throws(SystemError) { try control(id, IPC_RMID) }

    /// Keeps a segment in memory. SHM_LOCK.
    public static func lock(_ id: CInt) throws(SystemError) { try sharedMemory.control(id, 11) }

    private func state(of id: CInt) throws(SystemError) -> [UInt8] {
        var state = [UInt8](repeating: 0, count: 256)
        try control(id, IPC_STAT, &state)
        return state
    }

    private func control(_ id: CInt, _ command: CInt) throws(SystemError) {
        var nothing: [UInt8] = []
        try control(id, command, &nothing)
    }

    private func control(_ id: CInt, _ command: CInt, _ state: inout [UInt8]) throws(SystemError) {
        let (id, command) = (Int(id), Int(command))
        try system("System V \(rawValue) \(id)") {
            state.withUnsafeMutableBytes {
                let address = Int(bitPattern: $0.baseAddress)
                return switch self {
                case .sharedMemory: clinux_syscall(Int(SYS_shmctl), id, command, address, 0, 0, 0)
                case .semaphores: clinux_syscall(Int(SYS_semctl), id, 0, command, address, 0, 0)
                case .messages: clinux_syscall(Int(SYS_msgctl), id, command, address, 0, 0, 0)
                }
            }
        }
    }
}

/// Values and messages.
extension SystemV {
    /// The values of a set of semaphores. GETALL.
    public static func values(of set: CInt, count: Int) throws(SystemError) -> [UInt16] {
        var values = [UInt16](repeating: 0, count: count)
        try system("values of semaphore set \(set)") {
            values.withUnsafeMutableBytes {
                clinux_syscall(Int(SYS_semctl), Int(set), 0, 13, Int(bitPattern: $0.baseAddress), 0, 0)
            }
        }
        return values
    }

    /// SETALL.
    public static func setValues(_ values: [UInt16], of set: CInt) throws(SystemError) {
        try system("values of semaphore set \(set)") {
            values.withUnsafeBytes {
                clinux_syscall(Int(SYS_semctl), Int(set), 0, 17, Int(bitPattern: $0.baseAddress), 0, 0)
            }
        }
    }

    public struct Message: Sendable {
        public var type: Int
        public var bytes: [UInt8]

        public init(type: Int, bytes: [UInt8]) {
            self.type = type
            self.bytes = bytes
        }
    }

    /// A copy of a message that waits, by its place in the queue. MSG_COPY, Linux 3.8, CONFIG_CHECKPOINT_RESTORE.
    ///
    /// - Parameter room: for its bytes; what is longer is an error.
    public static func message(_ index: Int, in queue: CInt, room: Int) throws(SystemError) -> Message {
        var buffer = [Int](repeating: 0, count: 2 + room / 8)
        // IPC_NOWAIT | MSG_COPY
        let count = try system("message \(index) of queue \(queue)") {
            buffer.withUnsafeMutableBytes {
                clinux_syscall(
                    Int(SYS_msgrcv), Int(queue), Int(bitPattern: $0.baseAddress), room, index, Int(IPC_NOWAIT) | 0x4000,
                    0)
            }
        }
        return Message(type: buffer[0], bytes: buffer.withUnsafeBytes { Array($0[8..<8 + count]) })
    }

    /// Puts a message into a queue, without waiting for room.
    public static func send(_ message: Message, to queue: CInt) throws(SystemError) {
        let buffer = withUnsafeBytes(of: message.type) { Array($0) } + message.bytes
        try system("send to message queue \(queue)") {
            buffer.withUnsafeBytes {
                clinux_syscall(
                    Int(SYS_msgsnd), Int(queue), Int(bitPattern: $0.baseAddress), message.bytes.count, Int(IPC_NOWAIT),
                    0, 0)
            }
        }
    }
}

/// A shared memory segment that this process has attached, until it goes. shmat(2).
public struct AttachedSegment: ~Copyable, Sendable {
    private let address: UInt
    private let size: UInt

    /// - Parameter size: of the segment, in bytes.
    public init(_ id: CInt, size: UInt64) throws(SystemError) {
        let address = try systemCall("attach segment \(id)", Int(SYS_shmat), Int(id), 0, 0)
        self.address = UInt(bitPattern: address)
        self.size = UInt((size + 4095) & ~4095)
    }

    deinit { _ = clinux_syscall(Int(SYS_shmdt), Int(bitPattern: address), 0, 0, 0, 0, 0) }

    /// The memory as a file.
    public func file() throws(SystemError) -> OwnedDescriptor {
        let range = String(address, radix: 16) + "-" + String(address + size, radix: 16)
        return try openAt(AT_FDCWD, "/proc/self/map_files/\(range)", O_RDONLY)
    }
}
