import CheckpointImages
import LinuxSystem

/// Unix sockets with a name that are connected to nobody: those that listen, and datagram sockets that wait. The name is
/// a file of the container or, with a first byte of 0, abstract. unix(7).
enum NamedUnixSocket: FileKind {
    private static let listening: UInt32 = 10

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.status.isSocket else { return nil }
        let socket = file.descriptor.raw
        guard try SocketOptions.number(socket, SOL_SOCKET, SO_DOMAIN) == AF_UNIX else { return nil }
        let inode = UInt32(truncatingIfNeeded: file.status.st_ino)
        guard let told = try dump.unixSockets()[inode], !told.name.isEmpty, told.state != 1 else { return nil }
        try SignalOwner.refuseSignals(file)
        let name = told.printableName
        guard told.peer == 0 else {
            throw CheckpointError(
                "\(file.link): a unix socket bound to \(name) that is connected cannot be checkpointed yet")
        }
        guard told.waiting == 0 else {
            let what = UInt32(told.state) == listening ? "connections wait" : "messages wait"
            throw CheckpointError("\(file.link): \(what) in the unix socket \(name); they cannot be checkpointed yet")
        }
        let permissions = try told.name.first == 0 ? nil : permissions(of: told, file.link, dump)
        var options = try SocketOptions.capture(socket)
        options.soPasscred = try SocketOptions.number(socket, SOL_SOCKET, SO_PASSCRED) != 0
        let type = try SocketOptions.number(socket, SOL_SOCKET, SO_TYPE)
        dump.unixPeers[inode] = (0, file.process.description, file.number)
        if UInt32(told.state) == listening { dump.unixListeners.insert(told.name) }
        return FileEntry.with {
            $0.type = .unixsk
            $0.id = id
            $0.usk = .with {
                $0.id = id
                $0.ino = inode
                $0.type = UInt32(type)
                $0.state = UInt32(told.state)
                $0.flags = file.info.flags
                $0.uflags = 0
                $0.backlog = told.backlog
                $0.peer = 0
                $0.fown = .none
                $0.opts = options
                $0.name = .init(told.name)
                if let permissions { $0.filePerms = permissions }
                if told.shutdown != 0 { $0.shutdown = SkShutdown(rawValue: Int(told.shutdown)) ?? .none }
            }
        }
    }

    private static func permissions(
        of told: UnixDiagnosis, _ link: String, _ dump: Dump
    ) throws -> FilePermsEntry {
        let path = told.printableName
        guard path.hasPrefix("/"), path.utf8.elementsEqual(told.name.prefix { $0 != 0 }) else {
            throw CheckpointError("\(link): a unix socket with a relative name (\(path)) cannot be checkpointed yet")
        }
        let place = try? openAt(dump.root.raw, path, CLINUX_O_PATH | O_NOFOLLOW, resolve: .inRoot)
        guard let place, let found = try? status(of: place.raw), found.isSocket else {
            throw CheckpointError(
                "\(link): a unix socket whose name (\(path)) leads to it no more cannot be checkpointed yet")
        }
        let owned = try about(link) { try dump.userNamespace.inside(found) }
        return .with {
            $0.mode = owned.st_mode
            $0.uid = owned.st_uid
            $0.gid = owned.st_gid
        }
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasUsk, !entry.usk.name.isEmpty, entry.usk.state != 1 else { return nil }
        let wanted = entry.usk
        guard wanted.peer == 0, [1, 2, 5].contains(wanted.type), wanted.state == listening || wanted.state == 7 else {
            throw CheckpointError("unix socket \(wanted.id): a bound one that is connected cannot be restored yet")
        }
        let made = try workshop.inNetworkNamespace {
            OwnedDescriptor(
                CInt(try systemCall("socket", Int(SYS_socket), Int(AF_UNIX), Int(wanted.type) | Int(O_CLOEXEC), 0)))
        }
        let raw = made.raw
        let name = Array(wanted.name)
        try bind(raw, name, wanted, workshop)
        if wanted.state == listening {
            try system("listen") { listen(raw, CInt(clamping: wanted.backlog)) }
        }
        try UnixSocketPair.finish(raw, wanted)
        return made
    }

    private static func bind(_ socket: CInt, _ name: [UInt8], _ wanted: UnixSkEntry, _ workshop: Workshop) throws {
        let address = try address(name)
        guard name.first != 0 else { return try call("bind", Int(SYS_bind), socket, address) }
        let path = String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
        try workshop.inRoot {
            // The file of the dumped socket is still there, unless the rootfs is another copy.
            var found = stat()
            if lstat(path, &found) == 0 {
                guard found.isSocket else { throw CheckpointError("\(path): is no socket, but was at the checkpoint") }
                try system("unlink \(path)") { unlink(path) }
            }
            try call("bind to \(path)", Int(SYS_bind), socket, address)
            guard wanted.hasFilePerms else { return }
            let permissions = wanted.filePerms
            let user = try workshop.userNamespace.outside(user: permissions.uid)
            let group = try workshop.userNamespace.outside(group: permissions.gid)
            try system("chown \(path)") { lchown(path, user, group) }
            // No link: it was made just now, and nobody runs here.
            try system("chmod \(path)") { chmod(path, permissions.mode & 0o7777) }
        }
    }

    /// Both ends of a connection that was made to a listening socket of this name.
    static func connect(
        to name: [UInt8], type: CInt, in workshop: Workshop
    ) throws -> (server: CInt, client: CInt) {
        guard let listener = workshop.unixListener(name: name) else {
            throw CheckpointError("nobody listens under the name of a connected unix socket any more")
        }
        let listening = try workshop.descriptor(for: listener)
        let client = try workshop.inNetworkNamespace {
            OwnedDescriptor(CInt(try systemCall("socket", Int(SYS_socket), Int(AF_UNIX), Int(type | O_CLOEXEC), 0)))
        }
        let raw = client.raw
        let address = try address(name)
        try workshop.inRoot { try call("connect", Int(SYS_connect), raw, address) }
        let server = OwnedDescriptor(
            try system("accept") { CInt(clinux_syscall(Int(SYS_accept4), Int(listening), 0, 0, Int(O_CLOEXEC), 0, 0)) })
        return (workshop.keep(server), workshop.keep(client))
    }

    /// struct sockaddr_un.
    private static func address(_ name: [UInt8]) throws -> [UInt8] {
        let isAbstract = name.first == 0
        guard name.count <= 108, isAbstract || name.first == UInt8(ascii: "/") else {
            throw CheckpointError("a unix socket's name that cannot be")
        }
        let path = isAbstract ? name : Array(name.prefix { $0 != 0 }) + (name.count < 108 ? [0] : [])
        return [UInt8(AF_UNIX), 0] + path
    }

    private static func call(_ what: String, _ number: Int, _ socket: CInt, _ address: [UInt8]) throws {
        _ = try system(what) {
            address.withUnsafeBytes {
                clinux_syscall(number, Int(socket), Int(bitPattern: $0.baseAddress), $0.count, 0, 0, 0)
            }
        }
    }
}
