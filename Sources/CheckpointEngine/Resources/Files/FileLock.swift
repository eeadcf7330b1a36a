import CheckpointImages
import LinuxSystem
import Tracee

/// Locks on files: fcntl(2) F_SETLK of a process, F_OFD_SETLK and flock(2) of an open file. Leases are refused.
///
/// The kernel lists them in /proc/PID/fdinfo/N: `lock: 1: POSIX  ADVISORY  WRITE 123 fe:00:4711 0 EOF`.
enum FileLock: FileAttribute {
    final class DumpState: KindState {
        fileprivate var locks = Collection()
    }

    final class RestoreState: KindState {
        fileprivate var byTask: [Int32: [FileLockEntry]] = [:]
    }

    /// Numbers of filelocks.img.
    private enum Kind: UInt32 {
        case process = 1
        case flock = 2
        case openFile = 4

        init?(_ name: Substring) {
            switch name {
            case "POSIX": self = .process
            case "FLOCK": self = .flock
            case "OFDLCK": self = .openFile
            default: return nil
            }
        }
    }

    /// The locks of a container, each once: a process's is told at each of its descriptors of that file, an open file's
    /// at each descriptor that shares it.
    fileprivate struct Collection {
        fileprivate struct Key: Hashable {
            var kind: UInt32
            /// The process, or the open file.
            var owner: UInt64
            var device: dev_t
            var inode: ino_t
            var start: Int64
        }

        private(set) var entries: [FileLockEntry] = []
        private var known: Set<Key> = []
        private var without: [Key: String] = [:]

        fileprivate mutating func add(_ key: Key, _ entry: FileLockEntry) {
            if known.insert(key).inserted { entries.append(entry) }
            without[key] = nil
        }

        fileprivate mutating func missAccess(_ key: Key, _ holder: String) {
            if !known.contains(key) { without[key] = holder }
        }

        /// Fails if no descriptor is left by which a lock could be taken again.
        func verify() throws {
            guard let holder = without.values.sorted().first else { return }
            throw CheckpointError("\(holder): a lock on a file that is not open for what the lock needs")
        }
    }

    static func captureDescriptor(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws {
        for line in file.info.lines where line.key == "lock" {
            let words = line.value.split(separator: " ", omittingEmptySubsequences: true)
            guard words.count == 8, let start = Int64(words[6]) else {
                throw CheckpointError("\(file.link): the kernel describes a lock as `\(line.value)`")
            }
            guard let kind = Kind(words[1]) else {
                throw CheckpointError("\(file.link): file leases (\(words[1])) cannot be checkpointed yet")
            }
            guard dump.options.fileLocks else {
                throw CheckpointError(
                    "\(file.link): has a file lock (\(words[1])); file locks are checkpointed with --file-locks only")
            }
            guard dump.isInside(file) else {
                throw CheckpointError("\(file.link): a lock on a file outside the container cannot be checkpointed")
            }
            let isWriter = words[3] == "WRITE"
            let length = words[7] == "EOF" ? 0 : Int64(words[7]).map { $0 - start + 1 } ?? -1
            guard isWriter || words[3] == "READ", start >= 0, length >= 0 else {
                throw CheckpointError("\(file.link): the kernel describes a lock as `\(line.value)`")
            }
            let owner = kind == .process ? UInt64(file.process.hostPid) : UInt64(id) << 32
            let key = Collection.Key(
                kind: kind.rawValue, owner: owner, device: file.status.st_dev, inode: file.status.st_ino, start: start)
            let access = CInt(bitPattern: file.info.flags) & O_ACCMODE
            if kind != .flock, access == (isWriter ? O_RDONLY : O_WRONLY) {
                dump[FileLock.self].locks.missAccess(key, "\(file.process): descriptor \(file.number): \(file.link)")
                continue
            }
            dump[FileLock.self].locks.add(
                key,
                .with {
                    $0.flag = kind.rawValue
                    $0.type = UInt32(isWriter ? F_WRLCK : F_RDLCK)
                    $0.pid = file.process.pid
                    $0.fd = file.number
                    $0.start = start
                    $0.len = length
                })
        }
    }

    static func seal(_ dump: Dump) throws {
        let locks = dump[FileLock.self].locks
        try locks.verify()
        if !locks.entries.isEmpty { try dump.images.add(.fileLocks, entries: locks.entries) }
    }

    /// Fails on locks that nobody asked for, and on such as no process of the images could have.
    static func plan(_ restore: RestorePlan) throws {
        let locks: [FileLockEntry] = try restore.images.directory.entries(ifAny: .fileLocks)
        restore[FileLock.self].byTask = Dictionary(grouping: locks, by: \.pid)
        guard let any = locks.first else { return }
        guard restore.options.fileLocks else {
            throw CheckpointError(
                "filelocks.img: task \(any.pid) has file locks; they are restored with --file-locks only")
        }
        var descriptors: [pid_t: Set<UInt32>] = [:]
        for plan in restore.first.all { descriptors[plan.pid] = Set(plan.descriptors.map(\.fd)) }
        for lock in locks {
            guard Kind(rawValue: lock.flag) != nil, [F_RDLCK, F_WRLCK].contains(CInt(truncatingIfNeeded: lock.type)),
                lock.start >= 0, lock.len >= 0, !lock.start.addingReportingOverflow(lock.len).overflow
            else { throw CheckpointError("filelocks.img: task \(lock.pid): a lock of a kind that cannot be restored") }
            guard lock.fd >= 0, descriptors[lock.pid]?.contains(UInt32(lock.fd)) == true else {
                throw CheckpointError("filelocks.img: no task \(lock.pid) with a descriptor \(lock.fd)")
            }
        }
    }

    /// Last: closing any descriptor of a file gives up a process's locks on it.
    static func connect(_ plan: ProcessPlan, in workshop: Workshop, by runner: inout ProgramRunner) throws {
        for locks in ProgramRunner.portions(workshop[FileLock.self].byTask[plan.pid] ?? []) {
            try runner.add { try recreate(locks, in: &$0) }
        }
    }

    /// Taken by the process whose they are; never waits for somebody else's.
    private static func recreate(_ locks: [FileLockEntry], in program: inout Program) throws {
        for lock in locks {
            let name = "lock on the file of descriptor \(lock.fd)"
            guard let kind = Kind(rawValue: lock.flag), kind != .flock else {
                let operation = lock.type == UInt32(F_WRLCK) ? LOCK_EX : LOCK_SH
                program.call(name, Int(SYS_flock), [UInt64(lock.fd), UInt64(operation | LOCK_NB)])
                continue
            }
            // struct flock: type 2, whence 2, padding 4, start 8, length 8, pid 4 (0 for an open file's), padding 4
            let value = program.place(
                value: SIMD4<UInt64>(
                    UInt64(lock.type), UInt64(bitPattern: lock.start), UInt64(bitPattern: lock.len), 0))
            // F_SETLK, F_OFD_SETLK
            program.call(name, Int(SYS_fcntl), [UInt64(lock.fd), kind == .process ? 6 : 37, value.raw])
        }
    }
}
