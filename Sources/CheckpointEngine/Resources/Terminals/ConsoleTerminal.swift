import CheckpointImages
import LinuxSystem
import Tracee

/// The terminal of a container that has one (`process.terminal`): a pseudoterminal of the container's devpts, whose outer
/// end the supervisor holds. The runtime makes a new one at the restore; here it gets its settings, and descriptors of
/// it, and of `/dev/tty`, are opened again. pty(7), ioctl_tty(2).
///
/// Nothing tells what was typed and not read yet without taking it: with that it is refused.
enum ConsoleTerminal: FileKind {
    final class DumpState: KindState {
        fileprivate var entries: [TtyInfoEntry] = []
    }

    final class RestoreState: KindState {
        fileprivate var entries: [TtyInfoEntry] = []
    }

    /// tty-info.img's number for it, and for what `/dev/tty` was opened as.
    private static let consoleID: UInt32 = 1
    private static let controllingID: UInt32 = 2

    // MARK: Dump

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.status.isCharacterDevice, let console = try dump.consoleDevice() else { return nil }
        let isConsole = file.status.st_rdev == console.st_rdev && file.status.st_dev == console.st_dev
        // /dev/tty is whatever terminal controls the session of who opened it.
        let isControlling = file.status.st_rdev == clinux_makedev(5, 0)
        guard isConsole || isControlling else { return nil }
        let state = dump[ConsoleTerminal.self]
        try TerminalState.refuseInput(of: file.descriptor.raw, file.link)
        if state.entries.isEmpty { state.entries = try entries(file, isConsole: isConsole, console, dump) }
        return try entry(file, id: id, info: isConsole ? consoleID : controllingID, dump)
    }

    /// - Parameter info: the terminal's number in tty-info.img.
    static func entry(_ file: borrowing OpenFile, id: UInt32, info: UInt32, _ dump: Dump) throws -> FileEntry {
        let named = dump.files.newID()
        var path = RegFileEntry(file, id: named)
        path.pos = 0
        path.mntID = Int32(truncatingIfNeeded: file.info.mount)
        try dump.files.add(
            .with {
                $0.type = .reg
                $0.id = named
                $0.reg = path
            })
        return FileEntry.with {
            $0.type = .tty
            $0.id = id
            $0.tty = .with {
                $0.id = id
                $0.regfID = named
                $0.ttyInfoID = info
                $0.flags = file.info.flags
                $0.fown = .none
            }
        }
    }

    private static func entries(
        _ file: borrowing OpenFile, isConsole: Bool, _ console: stat, _ dump: Dump
    ) throws -> [TtyInfoEntry] {
        // Both kinds of descriptor answer for the same terminal.
        let terminal = file.descriptor.raw
        let leader = dump.first
        guard try leader.status.stat(7) != 0 else {
            throw CheckpointError(
                "\(file.link): \(leader) has given up its controlling terminal; this cannot be checkpointed yet")
        }
        let group = dump.innerGroup(pid_t(truncatingIfNeeded: Int64(bitPattern: try leader.status.stat(8))))
        var entry = try TtyInfoEntry(
            of: terminal, index: clinux_minor(console.st_rdev),
            owner: try dump.userNamespace.inside(try status(of: terminal)))
        entry.id = consoleID
        entry.sid = UInt32(leader.status.innerSession)
        entry.pgrp = UInt32(group)
        entry.rdev = UInt32(truncatingIfNeeded: console.st_rdev)
        var controlling = entry
        controlling.id = controllingID
        controlling.type = .ctty
        return [entry, controlling]
    }

    static func seal(_ dump: Dump) throws {
        let entries = dump[ConsoleTerminal.self].entries + Pseudoterminal.infos(of: dump)
        if !entries.isEmpty { try dump.images.add(.ttyInfo, entries: entries) }
    }

    // MARK: Restore

    /// Fails on terminals that config.json does not give.
    static func plan(_ restore: RestorePlan) throws {
        let first = restore.first
        let all: [TtyInfoEntry] = try restore.images.directory.entries(ifAny: .ttyInfo)
        let entries = all.filter { !restore[Pseudoterminal.self].has($0) }
        restore[ConsoleTerminal.self].entries = entries
        let known = Dictionary(entries.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        for info in entries { try info.check(restore.policy) }
        for file in restore.images.files.all(.tty) where !restore[Pseudoterminal.self].has(file) {
            guard let info = known[file.tty.ttyInfoID], info.type == .pty || info.type == .ctty else {
                throw CheckpointError("files.img: file \(file.id): a terminal of a kind that cannot be restored yet")
            }
            guard restore.policy.hasTerminal, info.sid == UInt32(first.session), first.isSessionLeader else {
                throw CheckpointError(
                    "files.img: file \(file.id) is a terminal, which config.json does not give (process.terminal)")
            }
        }
    }

    /// Gives the new terminal the settings of the old one. The first process is not traced yet: no signal that this
    /// makes can disturb it.
    static func recreate(in workshop: Workshop) throws {
        guard let terminal = workshop.terminal, let info = workshop[ConsoleTerminal.self].entries.first else { return }
        let userNamespace = workshop.userNamespace
        var settings = info
        if info.winsize.wsRow == 0, info.winsize.wsCol == 0 { settings.clearWinsize() }
        try settings.applySettings(to: terminal)
        if info.hasUid, info.hasGid {
            let owner = (try userNamespace.outside(user: info.uid), try userNamespace.outside(group: info.gid))
            try system("owner of terminal") { fchown(terminal, owner.0, owner.1) }
        }
    }

    /// When all have opened it: nobody else may.
    static func settle(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        guard let terminal = workshop.terminal, workshop[Self.self].entries.contains(where: \.exclusive) else { return }
        try TerminalState.makeExclusive(terminal)
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasTty else { return nil }
        guard let terminal = workshop.terminal else { throw CheckpointError("there is no terminal for it") }
        let flags = CInt(bitPattern: entry.tty.flags) & (O_ACCMODE | O_NONBLOCK | O_APPEND)
        // By the name that it was opened by, /dev/console or /dev/pts/0, if that leads to the same.
        let name = workshop.entry(entry.tty.regfID)?.reg.name ?? ""
        let wanted = try status(of: terminal)
        if let place = try? openAt(workshop.root, name, CLINUX_O_PATH, resolve: .inRoot),
            let found = try? status(of: place.raw), found.st_rdev == wanted.st_rdev, found.st_dev == wanted.st_dev
        {
            return try reopen(place.raw, as: name, flags | O_NOCTTY)
        }
        return try reopen(terminal, as: "the container's terminal", flags | O_NOCTTY)
    }

    /// Opens what has to be opened from inside, when the tree stands and no process has a descriptor yet: `/dev/tty` by
    /// a process of the terminal's session. And puts the group into the foreground that was there.
    static func furnish(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        let entries = workshop[ConsoleTerminal.self].entries
        guard workshop.terminal != nil, let info = entries.first else { return }
        let stub = first.stubs[0]
        let groups = first.all.filter { !$0.isZombie && $0.session == first.session }.map { UInt32($0.group) }
        if groups.contains(info.pgrp) {
            var program = Program(area.main)
            openControlling(O_RDWR, in: &program)
            let group = program.place(value: SIMD2<UInt32>(info.pgrp, 0))
            // TIOCSPGRP
            program.call("foreground group of terminal", Int(SYS_ioctl), [0, 0x5410, group.raw])
            program.call("close", Int(SYS_close), [0])
            try stub.run(program, agent: area.base)
        }
        let controlling = Set(entries.lazy.filter { $0.type == .ctty }.map(\.id))
        for file in workshop.images.files.all(.tty).sorted(by: { $0.id < $1.id }) {
            guard controlling.contains(file.tty.ttyInfoID) else { continue }
            var opening = Program(area.main)
            openControlling(CInt(bitPattern: file.tty.flags) & (O_ACCMODE | O_NONBLOCK), in: &opening)
            try stub.run(opening, agent: area.base)
            workshop.adopt(try Pidfd(pid: stub.hostProcess).descriptor(0), as: file.id)
            var closing = Program(area.main)
            closing.call("close", Int(SYS_close), [0])
            try stub.run(closing, agent: area.base)
        }
    }

    /// The process has no descriptor then, so the new one is 0.
    static func openControlling(_ flags: CInt, in program: inout Program) {
        let path = program.place(Array("/dev/tty".utf8) + [0])
        program.call(
            "open /dev/tty", Int(SYS_openat),
            [UInt64(bitPattern: Int64(AT_FDCWD)), path.raw, UInt64(flags | O_NOCTTY), 0], expecting: 0)
    }
}

extension Dump {
    /// `/dev/console` of a container that has a terminal: the inner end of a pseudoterminal; `nil` if it has none.
    func consoleDevice() throws -> stat? {
        guard hasTerminal, let console = try? openAt(root.raw, "/dev/console", CLINUX_O_PATH, resolve: .inRoot) else {
            return nil
        }
        let found = try status(of: console.raw)
        return found.isPseudoterminal ? found : nil
    }

    /// The id in the container of a process group, 0 if no process of the container is in it.
    func innerGroup(_ group: pid_t) -> pid_t {
        group > 0 ? innerGroups[UInt64(group)] ?? 0 : 0
    }
}
