import CheckpointImages
import LinuxSystem
import Tracee

/// Whom an open file's SIGIO goes to, and by whose right: fcntl(2) F_SETOWN_EX and F_SETSIG. Every entry of an open file
/// has it.
enum SignalOwner: FileAttribute {
    static func capture(_ file: borrowing OpenFile, into entry: inout FileEntry, of dump: Dump) throws {
        entry.signalOwner = try owner(of: file, in: dump.userNamespace)
    }

    private static func owner(of file: borrowing OpenFile, in userNamespace: UserNamespace) throws -> FownEntry {
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

    /// Made by a task that has the file and is root still, when all that may be named are there.
    static func connect(
        _ entry: FileEntry, number: UInt32, in workshop: Workshop, by runner: inout ProgramRunner
    ) throws {
        guard let owner = entry.signalOwner else { return }
        try runner.add { recreate(owner, number: number, in: &$0) }
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

    /// What an owner alone does not carry over: that signals are on (O_ASYNC).
    static func refuseSignals(_ file: borrowing OpenFile) throws {
        guard file.info.flags & 0o20000 != 0 else { return }
        throw CheckpointError("\(file.link): signal-driven I/O (O_ASYNC) cannot be checkpointed yet")
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

extension FileEntry {
    /// The owner in whatever kind of entry this is; `nil` if nobody asked for signals.
    var signalOwner: FownEntry? {
        get {
            let owner: FownEntry
            switch type {
            case .reg: owner = reg.fown
            case .pipe: owner = pipe.fown
            case .inetsk: owner = isk.fown
            case .unixsk: owner = usk.fown
            case .eventfd: owner = efd.fown
            case .eventpoll: owner = epfd.fown
            case .signalfd: owner = sgfd.fown
            case .timerfd: owner = tfd.fown
            case .tty: owner = tty.fown
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
            case .eventfd: efd.fown = owner
            case .eventpoll: epfd.fown = owner
            case .signalfd: sgfd.fown = owner
            case .timerfd: tfd.fown = owner
            case .tty: tty.fown = owner
            default: break
            }
        }
    }
}
