import CheckpointImages
import LinuxSystem

/// Netlink sockets: their port and groups. netlink(7)
enum NetlinkPort: FileKind {
    static let family: CInt = 16
    /// rtnetlink, sock_diag, SELinux, audit, uevents and the generic protocol. Others (nfnetlink's queues and tables, xfrm,
    /// connector…) keep more for a port than a socket tells.
    private static let protocols: [UInt32] = [0, 4, 7, 9, 15, 16]
    private static let generic: UInt32 = 16
    /// SOL_NETLINK
    private static let level: CInt = 270

    // MARK: Checkpoint

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        let socket = file.descriptor.raw
        guard file.status.isSocket, try SocketOptions.number(socket, SOL_SOCKET, SO_DOMAIN) == family else {
            return nil
        }
        let proto = UInt32(bitPattern: try SocketOptions.number(socket, SOL_SOCKET, SO_PROTOCOL))
        try InternetSocket.checkNetwork(of: file, in: dump)
        guard protocols.contains(proto) else {
            throw CheckpointError(
                "\(file.link): a netlink socket of protocol \(proto), for which the kernel may keep more than it tells, "
                    + "cannot be checkpointed yet")
        }
        try refuseMessages(file)
        let groups = try SocketOptions.bytes(socket, level, 9, limit: 4096)
        let words = stride(from: 0, to: groups.count, by: 4).map { groups.integer(UInt32.self, at: $0) ?? 0 }
        guard proto != generic || !groups.contains(where: { $0 != 0 }) else {
            throw CheckpointError(
                "\(file.link): a netlink socket with groups of the generic protocol, whose numbers change from boot to "
                    + "boot, cannot be checkpointed yet")
        }
        try SocketOptionTable.capture(file, id: id, into: dump)
        // CRIU's entry has no place for it.
        let bytes = try SocketOptions.bytes(socket, SOL_SOCKET, SO_TYPE, limit: 4)
        let type = SocketOptionEntry(file: id, level: SOL_SOCKET, name: SO_TYPE, value: bytes)
        try dump.stream(raw: SocketOptionEntry.fileName).append(raw: type.bytes)
        let local = try SocketOptions.address(socket)
        let remote = SocketOptions.peerAddress(socket) ?? []
        let options = try SocketOptions.capture(socket)
        return .with {
            ($0.type, $0.id) = (.netlinksk, id)
            $0.nlsk = .with {
                $0.id = id
                $0.ino = UInt32(truncatingIfNeeded: file.status.st_ino)
                $0.protocol = proto
                $0.state = 0
                $0.flags = file.info.flags
                $0.portid = local.integer(UInt32.self, at: 4) ?? 0
                $0.groups = words
                $0.dstPortid = remote.integer(UInt32.self, at: 4) ?? 0
                $0.dstGroup = remote.integer(UInt32.self, at: 8) ?? 0
                $0.fown = .none
                $0.opts = options
            }
        }
    }

    /// A dump that is under way has messages in the queue, too: the kernel goes on with it when they are taken.
    private static func refuseMessages(_ file: borrowing OpenFile) throws {
        let socket = file.descriptor.raw
        var state = pollfd(fd: socket, events: 0, revents: 0)
        try system("poll netlink socket") { poll(&state, 1, 0) }
        guard try SocketOptions.memory(socket).received == 0, state.revents & Int16(POLLERR) == 0 else {
            throw CheckpointError(
                passing: "\(file.link): messages or an error that wait in a netlink socket cannot be checkpointed; "
                    + "let its program "
                    + "receive them")
        }
    }

    // MARK: Restore

    static func plan(_ restore: RestorePlan) throws {
        for file in restore.images.files.all(.netlinksk) {
            let (id, wanted) = (file.id, file.nlsk)
            let isFree = wanted.protocol != generic || wanted.groups.allSatisfy { $0 == 0 }
            guard protocols.contains(wanted.protocol), isFree, wanted.groups.count <= 1024
            else {
                throw CheckpointError(
                    "socket \(id): netlink's protocol \(wanted.protocol) with \(wanted.groups.count) words of groups "
                        + "cannot be restored yet")
            }
        }
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasNlsk else { return nil }
        let wanted = entry.nlsk
        guard let opener = workshop.opener else { throw CheckpointError("socket \(wanted.id): is no task's") }
        let told = workshop.images.socketOptions[wanted.id]?.first(where: keepsType)?.value.integer(UInt32.self, at: 0)
        let type = (told ?? UInt32(SOCK_RAW.rawValue)) & 0xf | wanted.flags & UInt32(O_NONBLOCK)
        try opener.run(as: opener.own) { program in
            let arguments = [UInt64(family), UInt64(type), UInt64(wanted.protocol)]
            program.call("socket", Int(SYS_socket), arguments, expecting: 0)
        }
        let made = try opener.take(0)
        try SocketOptionTable.set(try SocketOptionTable.entries(of: wanted.id, in: workshop), by: opener)
        try SocketOptions.apply(wanted.opts, to: made.raw)
        try SocketFilter.recreate(wanted.opts, of: wanted.id, made.raw, by: opener, in: workshop)
        // By the task: groups and peers ask for rights.
        _ = try opener.runAsEither { identity in
            try opener.run(as: identity, keeping: 1) { program in
                func call(_ name: String, _ number: Int, port: UInt32, groups: UInt32) {
                    // struct sockaddr_nl
                    let address = program.place([UInt8](integers: [UInt32(family), port, groups]))
                    program.call("\(name) netlink port \(port)", number, [0, address.raw, 12])
                }
                if wanted.portid != 0 { call("bind to", Int(SYS_bind), port: wanted.portid, groups: 0) }
                for group in groups(wanted) {
                    let value = program.place(value: UInt64(group))
                    program.call(
                        "join group \(group) of netlink's protocol \(wanted.protocol)", Int(SYS_setsockopt),
                        [0, UInt64(level), 1, value.raw, 4])
                }
                if wanted.dstPortid != 0 || wanted.dstGroup != 0 {
                    call("connect to", Int(SYS_connect), port: wanted.dstPortid, groups: wanted.dstGroup)
                }
            }
        }
        return made
    }

    /// Numbers from 1 on, of which each bit is one.
    private static func groups(_ wanted: NetlinkSkEntry) -> [Int] {
        wanted.groups.enumerated().flatMap { index, word in
            (0..<32).filter { word & 1 << UInt32($0) != 0 }.map { index * 32 + $0 + 1 }
        }
    }

    static func keepsType(_ entry: SocketOptionEntry) -> Bool { entry.level == SOL_SOCKET && entry.name == SO_TYPE }
}
