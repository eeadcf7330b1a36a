import CheckpointImages
import LinuxSystem
import Tracee

/// Signal-driven I/O: whom an open file's SIGIO goes to, and by whose right (fcntl(2) F_SETOWN_EX and F_SETSIG), which every
/// entry of an open file has; and whether it is sent (O_ASYNC).
enum SignalOwner: FileAttribute {
    /// O_ASYNC
    static let asynchronous: CInt = 0o20000

    final class DumpState: KindState {
        /// By which descriptor each file with O_ASYNC was met first.
        fileprivate var numbers: [UInt32: CInt] = [:]
    }

    final class RestoreState: KindState {
        /// The descriptors of each process by which it is set.
        fileprivate var numbers: [pid_t: [UInt32]] = [:]
    }

    static func capture(_ file: borrowing OpenFile, into entry: inout FileEntry, of dump: Dump) throws {
        let owner = try owner(of: file, in: dump.userNamespace)
        let isSilent = owner == .none && file.info.flags & UInt32(asynchronous) == 0
        guard isSilent || !file.isUnderWay else {
            throw CheckpointError(
                "\(file.link): whom the signals of a file go to that is under way in a unix socket cannot be checkpointed yet"
            )
        }
        guard isSilent || !file.isOfThread else {
            throw CheckpointError(
                "\(file.link): whom the signals of a file go to that only one thread of its process has cannot be "
                    + "checkpointed yet")
        }
        // That of a FIFO is in the entry of its path.
        guard !entry.hasFifo else { return }
        entry.signalOwner = owner
        guard owner == .none || entry.signalOwner == owner else {
            throw CheckpointError("\(file.link): whom its signals go to (F_SETOWN) cannot be checkpointed yet")
        }
    }

    static func owner(of file: borrowing OpenFile, in userNamespace: UserNamespace) throws -> FownEntry {
        // A descriptor without access (O_PATH) has no owner.
        guard file.info.flags & UInt32(CLINUX_O_PATH) == 0 else { return .none }
        // struct f_owner_ex: whether a thread (0), a process (1) or a group (2), and its id as the engine sees it.
        var owner = SIMD2<Int32>(0, 0)
        try system("signal owner of \(file.link)") {
            withUnsafePointer(to: &owner) {
                clinux_fcntl(file.descriptor.raw, CInt(CLINUX_F_GETOWN_EX), Int(bitPattern: $0))
            }
        }
        let signal = try system("signal of \(file.link)") {
            clinux_fcntl(file.descriptor.raw, CInt(CLINUX_F_GETSIG), 0)
        }
        guard owner[1] != 0 else { return FownEntry.none(signal: UInt32(signal)) }
        let kinds: [UInt32] = [0, 1, 2]
        guard owner[0] >= 0, Int(owner[0]) < kinds.count, let status = try? ProcessStatus(owner[1]) else {
            throw CheckpointError("\(file.link): its signals go to \(owner[1]), which is not there")
        }
        // The real and effective user of who called F_SETOWN; CONFIG_CHECKPOINT_RESTORE.
        var users = SIMD2<UInt32>(0, 0)
        try system("users of the signal owner of \(file.link)") {
            withUnsafePointer(to: &users) {
                clinux_fcntl(file.descriptor.raw, CInt(CLINUX_F_GETOWNER_UIDS), Int(bitPattern: $0))
            }
        }
        let (user, effective) = try about(file.link) {
            (try userNamespace.inside(user: users[0]), try userNamespace.inside(user: users[1]))
        }
        return FownEntry.with {
            $0.uid = user
            $0.euid = effective
            $0.signum = UInt32(signal)
            $0.pidType = kinds[Int(owner[0])]
            $0.pid = UInt32(status.innerPid)
        }
    }

    /// Each signal tells the descriptor by which O_ASYNC was set, if F_SETSIG was. The kernel tells it to nobody else.
    static func captureDescriptor(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws {
        guard file.info.flags & UInt32(asynchronous) != 0 else { return }
        let first = dump[Self.self].numbers[id] ?? file.number
        dump[Self.self].numbers[id] = first
        guard first != file.number else { return }
        let signal = try system("signal of \(file.link)") {
            clinux_fcntl(file.descriptor.raw, CInt(CLINUX_F_GETSIG), 0)
        }
        guard signal == 0 else {
            throw CheckpointError(
                "\(file.link): signal-driven I/O (O_ASYNC, F_SETSIG) of one open file that is descriptor \(first) and "
                    + "\(file.number): nothing tells which of them its signals name")
        }
    }

    static func plan(_ restore: RestorePlan) throws {
        var known: Set<UInt32> = []
        for plan in restore.first.all {
            for descriptor in plan.descriptors {
                guard let file = restore.images.files[descriptor.id] else { continue }
                try checkOwner(of: file, restore)
                if isAsynchronous(file, restore.images), known.insert(file.id).inserted {
                    restore[Self.self].numbers[plan.pid, default: []].append(descriptor.fd)
                }
            }
        }
    }

    /// A thread is named by its own process.
    private static func checkOwner(of file: FileEntry, _ restore: RestorePlan) throws {
        guard let owner = file.pathEntry(restore.images.files).signalOwner, owner.isThread else { return }
        let thread = pid_t(truncatingIfNeeded: owner.pid)
        let processes = restore.first.all.filter { $0.pid != thread && $0.threads.contains(thread) }
        guard processes.allSatisfy({ $0.descriptors.contains { $0.id == file.id } }) else {
            throw CheckpointError(
                "file \(file.id): its signals go to thread \(thread) of a process that has not opened it; this cannot be "
                    + "checkpointed yet")
        }
    }

    /// Files and directories send no signals: open(2) takes the flag, and keeps it.
    private static func isAsynchronous(_ file: FileEntry, _ images: RestoreImages) -> Bool {
        let kind = file.reg.mode & UInt32(S_IFMT)
        if file.hasReg, kind == UInt32(S_IFREG) || kind == UInt32(S_IFDIR) { return false }
        return file.pathEntry(images.files).openFlags & UInt32(asynchronous) != 0
    }

    /// Made by a task that has the file and is root still, when all that may be named are there.
    static func connect(
        _ entry: FileEntry, number: UInt32, in workshop: Workshop, by runner: inout ProgramRunner
    ) throws {
        guard let owner = entry.pathEntry(workshop.images.files).signalOwner, !owner.isThread else { return }
        try runner.add { recreate(owner, number: number, in: &$0) }
    }

    /// The same where the owner is a thread, which is there now.
    static func connectThreads(_ plan: ProcessPlan, _ images: RestoreImages, by runner: inout ProgramRunner) throws {
        for descriptor in plan.descriptors {
            guard let owner = images.files[descriptor.id]?.pathEntry(images.files).signalOwner, owner.isThread,
                plan.everyThread.contains(where: { $0.id == pid_t(truncatingIfNeeded: owner.pid) })
            else { continue }
            try runner.add { recreate(owner, number: descriptor.fd, in: &$0) }
        }
    }

    /// Last: whatever is done to the file afterwards is told.
    static func arm(_ plan: ProcessPlan, in restore: RestorePlan, by runner: inout ProgramRunner) throws {
        for numbers in ProgramRunner.portions(restore[Self.self].numbers[plan.pid] ?? []) {
            try runner.add { program in
                let on = program.place(value: CInt(1))
                for number in numbers {
                    // FIOASYNC. A standard stream may be another kind of file now.
                    program.call(
                        "ioctl FIOASYNC of descriptor \(number)", Int(SYS_ioctl), [UInt64(number), 0x5452, on.raw],
                        tolerated: number < 3 ? [ENOTTY] : [])
                }
            }
        }
    }

    private static func recreate(_ owner: FownEntry, number: UInt32, in program: inout Program) {
        if owner.pid != 0 {
            let value = program.place(
                value: SIMD2<Int32>(Int32(bitPattern: owner.pidType), Int32(bitPattern: owner.pid)))
            asUser(owner.uid, effective: owner.euid, in: &program) {
                $0.call(
                    "fcntl F_SETOWN_EX of descriptor \(number)", Int(SYS_fcntl),
                    [UInt64(number), UInt64(CLINUX_F_SETOWN_EX), value.raw])
            }
        }
        if owner.signum != 0 {
            program.call(
                "fcntl F_SETSIG of descriptor \(number)", Int(SYS_fcntl),
                [UInt64(number), UInt64(CLINUX_F_SETSIG), UInt64(owner.signum)])
        }
    }

    private static func asUser(
        _ user: UInt32, effective: UInt32, in program: inout Program, _ body: (inout Program) -> Void
    ) {
        let root = user == 0 && effective == 0
        if !root {
            // SECBIT_NO_SETUID_FIXUP: the change takes no capabilities.
            program.call("prctl PR_SET_SECUREBITS", Int(SYS_prctl), [28, 0x4, 0, 0, 0])
            program.call("setresuid", Int(SYS_setresuid), [UInt64(user), UInt64(effective), 0])
        }
        body(&program)
        if !root {
            program.call("setresuid", Int(SYS_setresuid), [0, 0, 0])
            program.call("prctl PR_SET_SECUREBITS", Int(SYS_prctl), [28, 0, 0, 0, 0])
        }
    }
}

extension FownEntry {
    /// Nobody asked for signals.
    static let none = none(signal: 0)

    static func none(signal: UInt32) -> FownEntry {
        FownEntry.with {
            $0.uid = 0
            $0.euid = 0
            $0.signum = signal
            $0.pidType = 0
            $0.pid = 0
        }
    }
}

extension FownEntry {
    /// Whether it names a thread: F_OWNER_TID. That of a process's first thread is there from the start.
    fileprivate var isThread: Bool { pid != 0 && pidType == 0 }
}

extension FileEntry {
    /// The entry that has flags and owner: of a FIFO, its path's.
    func pathEntry(_ files: FileTable) -> FileEntry { hasFifo ? files[fifo.regfID] ?? self : self }

    /// As /proc/PID/fdinfo tells them, of those that can have O_ASYNC.
    var openFlags: UInt32 {
        switch type {
        case .reg: reg.flags
        case .pipe: pipe.flags
        case .inetsk: isk.flags
        case .unixsk: usk.flags
        case .netlinksk: nlsk.flags
        case .packetsk: psk.flags
        case .inotify: ify.flags
        case .tty: tty.flags
        default: 0
        }
    }

    /// The owner in whatever kind of entry this is; `nil` if nobody asked for signals.
    var signalOwner: FownEntry? {
        get {
            let owner: FownEntry
            switch type {
            case .reg: owner = reg.fown
            case .pipe: owner = pipe.fown
            case .inetsk: owner = isk.fown
            case .unixsk: owner = usk.fown
            case .netlinksk: owner = nlsk.fown
            case .packetsk: owner = psk.fown
            case .eventfd: owner = efd.fown
            case .eventpoll: owner = epfd.fown
            case .signalfd: owner = sgfd.fown
            case .timerfd: owner = tfd.fown
            case .tty: owner = tty.fown
            case .memfd: owner = memfd.fown
            case .inotify: owner = ify.fown
            case .pidfd: owner = pidfd.fown
            default: return nil
            }
            return owner.pid == 0 && owner.signum == 0 ? nil : owner
        }
        set {
            let owner = newValue ?? .none
            switch type {
            case .reg: reg.fown = owner
            case .pipe: pipe.fown = owner
            case .inetsk: isk.fown = owner
            case .unixsk: usk.fown = owner
            case .netlinksk: nlsk.fown = owner
            case .packetsk: psk.fown = owner
            case .eventfd: efd.fown = owner
            case .eventpoll: epfd.fown = owner
            case .signalfd: sgfd.fown = owner
            case .timerfd: tfd.fown = owner
            case .tty: tty.fown = owner
            case .memfd: memfd.fown = owner
            case .inotify: ify.fown = owner
            case .pidfd: pidfd.fown = owner
            default: break
            }
        }
    }
}
