import CheckpointImages
import LinuxSystem
import Tracee

/// A terminal that a program of the container has made: the outer end (`/dev/ptmx`), the inner one (`/dev/pts/N`), and
/// `/dev/tty` of the session that it controls. pty(7), ioctl_tty(2).
///
/// Nothing tells without taking it what was typed or printed and not read yet, so such a terminal is refused.
enum Pseudoterminal: FileKind {
    /// A number of tty-info.img's for each: 16 is more than ``ConsoleTerminal`` needs.
    private enum Part: UInt32 {
        case inner, outer, controlling

        func id(_ index: UInt32) -> UInt32 { 16 + index * 4 + rawValue }
    }

    /// ioctl_tty(2).
    private enum Request: UInt {
        case index = 0x8004_5430, device = 0x8004_5432, packets = 0x8004_5438, locked = 0x8004_5439
        case session = 0x5429, group = 0x540f, discipline = 0x5424
        case unlock = 0x4004_5431, setPackets = 0x5420
    }

    private static let outerDevice = clinux_makedev(5, 2)
    private static let controllingDevice = clinux_makedev(5, 0)
    /// How many a devpts has at most, unless it is mounted otherwise. proc_sys_kernel(5) pty/max.
    private static let most: UInt32 = 4096

    final class DumpState: KindState {
        fileprivate var infos: [UInt32: TtyInfoEntry] = [:]
        /// Who has an inner end of it open.
        fileprivate var holders: [UInt32: String] = [:]
        fileprivate var closed: Set<UInt32> = []
        /// Of the inner ends.
        fileprivate var exclusive: Set<UInt32> = []
        /// The outer ends' files.
        fileprivate var outer: [UInt32: UInt32] = [:]
        fileprivate var controlling: Set<UInt32> = []
    }

    final class RestoreState: KindState {
        /// Of the outer ends, by number.
        fileprivate var infos: [UInt32: TtyInfoEntry] = [:]
        fileprivate var numbers: [UInt32: UInt32] = [:]
        /// Those of `/dev/tty`.
        fileprivate var controlling: Set<UInt32> = []
        /// Numbers of tty-info.img's, of ends of any kind.
        fileprivate var exclusive: Set<UInt32> = []

        func has(_ info: TtyInfoEntry) -> Bool { numbers[info.id] != nil }
        func has(_ file: FileEntry) -> Bool { numbers[file.tty.ttyInfoID] != nil }
    }

    // MARK: Dump

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.status.isCharacterDevice,
            [outerDevice, controllingDevice].contains(file.status.st_rdev) || file.status.isPseudoterminal,
            let folder = try? openAt(dump.root.raw, "/dev/pts", CLINUX_O_PATH, resolve: .inRoot)
        else { return nil }
        let isOfFolder = try status(of: folder.raw).st_dev == file.status.st_dev
        let console = try dump.consoleDevice()
        let terminal = file.descriptor.raw
        let (part, index): (Part, UInt32)
        switch file.status.st_rdev {
        case outerDevice:
            (part, index) = (.outer, UInt32(try number(.index, of: terminal)))
        case controllingDevice:
            guard let device = try? number(.device, of: terminal), device != console.map({ CInt($0.st_rdev) }) else {
                return nil
            }
            (part, index) = (.controlling, clinux_minor(dev_t(device)))
        default:
            guard file.status.st_rdev != console?.st_rdev else { return nil }
            (part, index) = (.inner, clinux_minor(file.status.st_rdev))
        }
        guard isOfFolder || part == .controlling, index < most else { return nil }
        let state = dump[Self.self]
        switch part {
        case .outer:
            state.infos[index] = try info(file, index, in: folder.raw, dump)
            state.outer[index] = id
        case .inner: state.holders[index] = file.link
        case .controlling:
            state.holders[index] = file.link
            state.controlling.insert(index)
        }
        if part != .outer, try TerminalState.isExclusive(terminal) { state.exclusive.insert(index) }
        try refuseWaiting(file, part, index, state)
        return try ConsoleTerminal.entry(file, id: id, info: part.id(index), dump)
    }

    private static func refuseWaiting(
        _ file: borrowing OpenFile, _ part: Part, _ index: UInt32, _ state: DumpState
    ) throws {
        var news = pollfd(fd: file.descriptor.raw, events: Int16(POLLIN), revents: 0)
        try system("poll terminal") { poll(&news, 1, 0) }
        let isClosed = news.revents & Int16(POLLHUP) != 0
        if part == .outer, isClosed { state.closed.insert(index) }
        guard part == .outer else { return try TerminalState.refuseInput(of: file.descriptor.raw, file.link) }
        guard !isClosed, news.revents & Int16(POLLIN) != 0 else { return }
        throw CheckpointError(
            passing: "\(file.link): output of the terminal /dev/pts/\(index) waits to be read; it cannot be "
                + "checkpointed yet")
    }

    private static func info(
        _ file: borrowing OpenFile, _ index: UInt32, in folder: CInt, _ dump: Dump
    ) throws -> TtyInfoEntry {
        let terminal = file.descriptor.raw
        guard try number(.discipline, of: terminal) == 0 else {
            throw CheckpointError(
                "\(file.link): a terminal with a line discipline of its own cannot be checkpointed yet")
        }
        let inner = try status(at: folder, "\(index)", flags: AT_SYMLINK_NOFOLLOW)
        var entry = try TtyInfoEntry(of: terminal, index: index, owner: try dump.userNamespace.inside(inner))
        entry.id = Part.outer.id(index)
        entry.rdev = UInt32(truncatingIfNeeded: outerDevice)
        entry.locked = try number(.locked, of: terminal) != 0
        entry.packetMode = try number(.packets, of: terminal) != 0
        // ENOTTY where it controls no session.
        entry.sid = UInt32(dump.innerGroup((try? number(.session, of: terminal)) ?? 0))
        entry.pgrp = UInt32(dump.innerGroup(entry.sid > 0 ? (try? number(.group, of: terminal)) ?? 0 : 0))
        return entry
    }

    static func seal(_ dump: Dump) throws {
        let state = dump[Self.self]
        for (index, holder) in state.holders where state.infos[index] == nil {
            throw CheckpointError(
                "\(holder): the terminal /dev/pts/\(index) has its other end outside of the container, or nowhere")
        }
        // Either nobody has opened it yet, or all have closed it: what is read from it differs.
        for (index, id) in state.outer where state.holders[index] == nil && !state.closed.contains(index) {
            FileNote.add(.unopened, id, to: dump)
        }
    }

    /// For tty-info.img.
    static func infos(of dump: Dump) -> [TtyInfoEntry] {
        let state = dump[Self.self]
        return state.infos.sorted { $0.key < $1.key }.flatMap { index, outer in
            var inner = outer
            inner.id = Part.inner.id(index)
            inner.rdev = UInt32(truncatingIfNeeded: clinux_makedev(136, index))
            inner.exclusive = state.exclusive.contains(index)
            guard state.controlling.contains(index) else { return [inner, outer] }
            var controlling = inner
            controlling.id = Part.controlling.id(index)
            controlling.type = .ctty
            return [inner, outer, controlling]
        }
    }

    // MARK: Restore

    static func plan(_ restore: RestorePlan) throws {
        let state = restore[Self.self]
        let entries: [TtyInfoEntry] = try restore.images.directory.entries(ifAny: .ttyInfo)
        var sessions: Set<UInt32> = []
        for info in entries where info.type == .pty && dev_t(info.rdev) == outerDevice {
            let index = info.pty.index
            try info.check(restore.policy)
            guard info.hasPty, index < most, state.infos.updateValue(info, forKey: index) == nil else {
                throw CheckpointError("tty-info.img: terminal \(index) is none, or is there twice")
            }
            guard info.sid != 0 else { continue }
            let leader = restore.first.all.first { $0.isSessionLeader && !$0.isZombie && $0.session == info.sid }
            guard let leader, sessions.insert(info.sid).inserted,
                !restore.policy.hasTerminal || leader.session != restore.first.session
            else {
                throw CheckpointError("tty-info.img: terminal \(index) cannot control session \(info.sid)")
            }
        }
        for info in entries where info.hasPty && state.infos[info.pty.index] != nil {
            state.numbers[info.id] = info.pty.index
            if info.type == .ctty { state.controlling.insert(info.id) }
            if info.exclusive { state.exclusive.insert(info.id) }
        }
        var outer: Set<UInt32> = []
        for file in restore.images.files.all(.tty) {
            guard let index = state.numbers[file.tty.ttyInfoID], let info = state.infos[index] else { continue }
            if file.tty.ttyInfoID == info.id {
                guard outer.insert(index).inserted else {
                    throw CheckpointError("files.img: file \(file.id): terminal \(index) has two outer ends")
                }
            } else if info.locked {
                throw CheckpointError("files.img: file \(file.id): terminal \(index) is locked, and open")
            }
        }
    }

    /// Makes all of them when the tree stands, so that session leaders can take theirs.
    static func furnish(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        let state = workshop[Self.self]
        guard let highest = state.infos.keys.max() else { return }
        let folder = try openAt(workshop.root, "/dev/pts", O_RDONLY | O_DIRECTORY, resolve: .inRoot)
        let device = try MountLine.device(of: folder.raw)
        guard try filesystemMagic(of: folder.raw) == 0x1cd1,
            try !MountLine.all(of: "self").contains(where: { $0.device == device })
        else { throw CheckpointError("/dev/pts is no devpts of the container's own, where its terminals could be") }
        let files = workshop.images.files.all(.tty).filter { state.has($0) }.sorted { $0.id < $1.id }
        // The kernel gives the lowest number that is free; those between are let go again.
        var between: [CInt] = []
        defer { for spare in between { close(spare) } }
        var missing = Set(state.infos.keys)
        while !missing.isEmpty {
            let made = OwnedDescriptor(
                try workshop.asOwner(user: 0, group: 0) {
                    try openAt(folder.raw, "ptmx", O_RDWR | O_NOCTTY, resolve: .beneath).release()
                })
            let index = UInt32(try number(.index, of: made.raw))
            guard index <= highest else {
                throw CheckpointError("/dev/pts/\(missing.sorted()[0]): this number is taken already")
            }
            guard missing.remove(index) != nil, let info = state.infos[index] else {
                between.append(made.release())
                continue
            }
            let outer = workshop.keep(made)
            try about("/dev/pts/\(index)") {
                let own = files.filter { state.numbers[$0.tty.ttyInfoID] == index }
                try set(outer, to: info, own, in: folder.raw, workshop)
                try take(info, own, of: first, in: workshop, area: area)
            }
        }
    }

    /// When all have been opened: nobody else may.
    static func settle(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        let exclusive = workshop[Self.self].exclusive
        for file in workshop.images.files.all(.tty) where exclusive.contains(file.tty.ttyInfoID) {
            guard workshop.has(file.id) else { continue }
            try TerminalState.makeExclusive(try workshop.descriptor(for: file.id))
        }
    }

    private static func set(
        _ outer: CInt, to info: TtyInfoEntry, _ files: [FileEntry], in folder: CInt, _ workshop: Workshop
    ) throws {
        try info.applySettings(to: outer)
        if info.packetMode { try set(.setPackets, 1, of: outer) }
        if !info.locked { try set(.unlock, 0, of: outer) }
        let name = "\(info.pty.index)"
        let owner = (
            try workshop.userNamespace.outside(user: info.uid), try workshop.userNamespace.outside(group: info.gid)
        )
        try system("owner of terminal") { fchownat(folder, name, owner.0, owner.1, AT_SYMLINK_NOFOLLOW) }
        let controlling = workshop[Self.self].controlling
        let inner = files.first {
            $0.tty.ttyInfoID != info.id && !controlling.contains($0.tty.ttyInfoID)
                && workshop.entry($0.tty.regfID)?.reg.hasMode ?? false
        }
        if let mode = inner.flatMap({ workshop.entry($0.tty.regfID)?.reg.mode }) {
            try system("mode of terminal") { fchmodat(folder, name, mode_t(mode & 0o777), 0) }
        }
        for file in files where file.tty.ttyInfoID == info.id {
            let flags = CInt(bitPattern: file.tty.flags) & (O_NONBLOCK | O_APPEND)
            try system("flags of terminal") { clinux_fcntl(outer, F_SETFL, Int(flags)) }
            let copy = try system("outer end of terminal") { clinux_fcntl(outer, F_DUPFD_CLOEXEC, 0) }
            workshop.adopt(OwnedDescriptor(copy), as: file.id)
        }
    }

    /// Lets the session's leader take it for its own, and opens `/dev/tty` where that was open. A terminal whose inner end
    /// nobody has open any more was open before.
    private static func take(
        _ info: TtyInfoEntry, _ files: [FileEntry], of first: ProcessPlan, in workshop: Workshop, area: InjectedArea
    ) throws {
        let unopened = FileNote.numbers(.unopened, in: workshop)
        guard !info.locked, !files.contains(where: { unopened[$0.id] != nil }) else { return }
        let leader = first.all.first { info.sid != 0 && $0.isSessionLeader && $0.session == info.sid }
        let stub = (leader ?? first).stubs[0]
        let groups = first.all.filter { !$0.isZombie && $0.session == info.sid }.map { UInt32($0.group) }
        var program = Program(area.main)
        let path = program.place(path: "/dev/pts/\(info.pty.index)")
        let here = UInt64(bitPattern: Int64(AT_FDCWD))
        program.call("open it", Int(SYS_openat), [here, path.raw, UInt64(O_RDWR | O_NOCTTY), 0], expecting: 0)
        if leader != nil {
            program.call("TIOCSCTTY", Int(SYS_ioctl), [0, 0x540e, 0])
            if groups.contains(info.pgrp) {
                let group = program.place(value: SIMD2<UInt32>(info.pgrp, 0))
                program.call("TIOCSPGRP", Int(SYS_ioctl), [0, 0x5410, group.raw])
            }
        }
        program.call("close", Int(SYS_close), [0])
        try stub.run(program, agent: area.base)
        let controlling = workshop[Self.self].controlling
        for file in files where controlling.contains(file.tty.ttyInfoID) {
            guard leader != nil else { throw CheckpointError("it controls no session") }
            var opening = Program(area.main)
            ConsoleTerminal.openControlling(
                CInt(bitPattern: file.tty.flags) & (O_ACCMODE | O_NONBLOCK), in: &opening)
            try stub.run(opening, agent: area.base)
            workshop.adopt(try Pidfd(pid: stub.hostProcess).descriptor(0), as: file.id)
            var closing = Program(area.main)
            closing.call("close", Int(SYS_close), [0])
            try stub.run(closing, agent: area.base)
        }
    }

    /// An inner end; the others are there already.
    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasTty, let index = workshop[Self.self].numbers[entry.tty.ttyInfoID] else { return nil }
        let flags = CInt(bitPattern: entry.tty.flags) & (O_ACCMODE | O_NONBLOCK | O_APPEND)
        return try openAt(workshop.root, "dev/pts/\(index)", flags | O_NOCTTY, resolve: .inRoot)
    }

    // MARK: Calls

    private static func number(_ request: Request, of terminal: CInt) throws -> CInt {
        var value: CInt = 0
        try system("ask terminal (\(request))") {
            withUnsafeMutablePointer(to: &value) { clinux_ioctl(terminal, request.rawValue, UInt(bitPattern: $0)) }
        }
        return value
    }

    private static func set(_ request: Request, _ value: CInt, of terminal: CInt) throws {
        var value = value
        try system("set terminal (\(request))") {
            withUnsafeMutablePointer(to: &value) { clinux_ioctl(terminal, request.rawValue, UInt(bitPattern: $0)) }
        }
    }
}
