import CheckpointImages
import LinuxSystem
import Tracee

/// Locks on files: fcntl(2) F_SETLK of a process, F_OFD_SETLK and flock(2) of an open file; and its leases, F_SETLEASE.
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
        case lease = 32

        init?(_ name: Substring) {
            switch name {
            case "POSIX": self = .process
            case "FLOCK": self = .flock
            case "OFDLCK": self = .openFile
            case "LEASE": self = .lease
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

        fileprivate func has(_ key: Key) -> Bool { known.contains(key) }

        fileprivate mutating func missAccess(_ key: Key, _ holder: String) {
            if !known.contains(key) { without[key] = holder }
        }

        /// Fails if no descriptor is left by which a lock could be taken again.
        func verify() throws {
            guard let holder = without.values.sorted().first else { return }
            throw CheckpointError("\(holder): a lock on a file that is not open for what the lock needs")
        }
    }

    /// A lock is taken again by a process that has the file.
    static func capture(_ file: borrowing OpenFile, into entry: inout FileEntry, of dump: Dump) throws {
        guard !file.isUnderWay || file.info.value("lock") == nil else {
            throw CheckpointError(
                "\(file.link): a lock or lease of a file that is under way in a unix socket cannot be checkpointed yet")
        }
    }

    static func captureDescriptor(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws {
        for line in file.info.lines where line.key == "lock" {
            let words = line.value.split(separator: " ", omittingEmptySubsequences: true)
            guard words.count == 8, let start = Int64(words[6]) else {
                throw CheckpointError("\(file.link): the kernel describes a lock as `\(line.value)`")
            }
            guard let kind = Kind(words[1]) else {
                throw CheckpointError("\(file.link): locks of this kind (\(words[1])) cannot be checkpointed yet")
            }
            if kind == .lease { try checkLease(of: file, words[2], in: dump) }
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
            let holder = kind == .process ? try taker(words[4], of: file, in: dump) : file.process
            let owner = kind == .process ? UInt64(file.process.hostPid) : UInt64(id) << 32
            let key = Collection.Key(
                kind: kind.rawValue, owner: owner, device: file.status.st_dev, inode: file.status.st_ino, start: start)
            if file.isOfThread {
                guard kind != .process, dump[FileLock.self].locks.has(key) else {
                    throw CheckpointError(
                        "\(file.link): a lock or lease of a thread that has descriptors of its own cannot be checkpointed yet"
                    )
                }
                continue
            }
            let access = CInt(bitPattern: file.info.flags) & O_ACCMODE
            if kind == .process || kind == .openFile, access == (isWriter ? O_RDONLY : O_WRONLY) {
                dump[FileLock.self].locks.missAccess(key, "\(file.process): descriptor \(file.number): \(file.link)")
                continue
            }
            dump[FileLock.self].locks.add(
                key,
                .with {
                    $0.flag = kind.rawValue
                    $0.type = UInt32(isWriter ? F_WRLCK : F_RDLCK)
                    $0.pid = holder.pid
                    $0.fd = file.number
                    $0.start = start
                    $0.len = length
                })
        }
    }

    /// Who took a process's lock: it belongs to all that share the table of descriptors, but names one of them.
    private static func taker(
        _ pid: Substring, of file: borrowing OpenFile, in dump: Dump
    ) throws -> CapturedProcess {
        let (pid, table) = (pid_t(pid), file.process.task)
        if pid == file.process.hostPid { return file.process }
        guard let taker = dump.processes.first(where: { $0.hostPid == pid && !$0.isZombie }),
            try compareObjects(SharedObject.descriptors.rawValue, of: taker.task, with: table) == .same
        else { return file.process }
        return taker
    }

    /// Whether it can be taken again, by the rights that the process has.
    private static func checkLease(of file: borrowing OpenFile, _ state: Substring, in dump: Dump) throws {
        guard state == "ACTIVE" else {
            throw CheckpointError(passing: "\(file.link): a file lease that somebody waits for cannot be checkpointed")
        }
        guard try SignalOwner.owner(of: file, in: dump.userNamespace).pid != 0 else {
            throw CheckpointError("\(file.link): a file lease whose holder has ended cannot be checkpointed yet")
        }
        let status = file.process.status
        let mayTake = status.capabilities("Eff") & 1 << 28 != 0
        guard mayTake || status.users.last == file.status.st_uid else {
            throw CheckpointError(
                "\(file.link): a file lease on another user's file, which its holder could not take again (CAP_LEASE)")
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
        let locks = workshop[FileLock.self].byTask[plan.pid] ?? []
        for locks in ProgramRunner.portions(locks.filter { $0.flag != Kind.lease.rawValue }) {
            try runner.add { try recreate(locks, in: &$0) }
        }
    }

    /// Leases last: nobody else may have the file open then, and whoever opens it is told.
    static func arm(_ plan: ProcessPlan, in restore: RestorePlan, by runner: inout ProgramRunner) throws {
        let locks = restore[FileLock.self].byTask[plan.pid] ?? []
        for leases in ProgramRunner.portions(locks.filter { $0.flag == Kind.lease.rawValue }) {
            try runner.add { program in
                for lease in leases {
                    // F_SETLEASE
                    program.call(
                        "lease on the file of descriptor \(lease.fd)", Int(SYS_fcntl),
                        [UInt64(lease.fd), 1024, UInt64(lease.type)])
                }
            }
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
