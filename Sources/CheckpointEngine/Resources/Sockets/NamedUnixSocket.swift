import CheckpointImages
import LinuxSystem

/// Unix sockets with a name that are connected to nobody: those that listen, and datagram sockets that wait. The name is
/// a file of the container or, with a first byte of 0, abstract. unix(7).
enum NamedUnixSocket: FileKind {
    private static let listening: UInt32 = 10
    private static let datagrams: CInt = 2

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.status.isSocket else { return nil }
        let socket = file.descriptor.raw
        guard try SocketOptions.number(socket, SOL_SOCKET, SO_DOMAIN) == AF_UNIX else { return nil }
        let inode = UInt32(truncatingIfNeeded: file.status.st_ino)
        let type = try SocketOptions.number(socket, SOL_SOCKET, SO_TYPE)
        let sockets = dump[UnixSocketPair.self]
        guard let told = try sockets.diagnosis(of: dump)[inode], !told.name.isEmpty else { return nil }
        // Who connects to a datagram socket puts it into that state, too, for ever.
        let isLetterbox = type == datagrams && told.peer == 0
        guard told.state != 1 || isLetterbox else { return nil }
        try SignalOwner.refuseSignals(file)
        let name = told.printableName
        guard told.peer == 0 else {
            throw CheckpointError(
                "\(file.link): a unix socket bound to \(name) that is connected cannot be checkpointed yet")
        }
        // sock_diag tells how long the first message is, and that may be empty.
        var news = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        try system("poll unix socket") { poll(&news, 1, 0) }
        let hasMessages = told.shutdown & 1 == 0 && news.revents & Int16(POLLIN) != 0
        guard told.waiting == 0, !hasMessages else {
            let what = UInt32(told.state) == listening ? "connections wait" : "messages wait"
            throw CheckpointError("\(file.link): \(what) in the unix socket \(name); they cannot be checkpointed yet")
        }
        let permissions = try told.name.first == 0 ? nil : permissions(of: told, file, dump)
        var options = try SocketOptions.capture(socket)
        options.soPasscred = try SocketOptions.number(socket, SOL_SOCKET, SO_PASSCRED) != 0
        try SocketOptionTable.capture(file, id: id, into: dump)
        sockets.peers[inode] = (0, file.process.description, file.number)
        if isLetterbox { sockets.letterboxes.insert(inode) }
        if UInt32(told.state) == listening {
            sockets.listeners.insert(told.name)
            try PeerCredentials.capture(file, in: dump.userNamespace)?.ask(about: file, id: id, in: dump)
        }
        return FileEntry.with {
            $0.type = .unixsk
            $0.id = id
            $0.usk = .with {
                $0.id = id
                $0.ino = inode
                $0.type = UInt32(type)
                $0.state = isLetterbox ? 7 : UInt32(told.state)
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
        of told: UnixDiagnosis, _ file: borrowing OpenFile, _ dump: Dump
    ) throws -> FilePermsEntry {
        let path = told.printableName
        let link = file.link
        guard path.hasPrefix("/"), path.utf8.elementsEqual(told.name.prefix { $0 != 0 }) else {
            throw CheckpointError("\(link): a unix socket with a relative name (\(path)) cannot be checkpointed yet")
        }
        let place = try? openAt(dump.root.raw, path, CLINUX_O_PATH | O_NOFOLLOW, resolve: .inRoot)
        guard let place, let found = try? status(of: place.raw), try isName(found, of: file.descriptor.raw) else {
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
        let name = Array(wanted.name)
        let made = try name.first == 0 ? makeAbstract(name, wanted, workshop) : make(name, wanted, workshop)
        let raw = made.raw
        if wanted.state == listening {
            let peer = try PeerCredentials.peer(of: wanted.id, in: workshop)
            try UnixPeer(peer, in: workshop).listen(raw, backlog: wanted.backlog)
        }
        try UnixSocketPair.finish(raw, wanted, workshop)
        return made
    }

    /// Fails if two sockets are to have one name: who connects by it would reach the other.
    static func plan(_ restore: RestorePlan) throws {
        var names: Set<[UInt8]> = []
        for file in restore.images.files.values where file.hasUsk && !file.usk.name.isEmpty && file.usk.state != 1 {
            guard names.insert(Array(file.usk.name)).inserted else {
                throw CheckpointError("unix socket \(file.id): another one has the same name")
            }
        }
    }

    private static func makeAbstract(
        _ name: [UInt8], _ wanted: UnixSkEntry, _ workshop: Workshop
    ) throws -> OwnedDescriptor {
        let made = try workshop.inNetworkNamespace {
            OwnedDescriptor(
                CInt(try systemCall("socket", Int(SYS_socket), Int(AF_UNIX), Int(wanted.type) | Int(O_CLOEXEC), 0)))
        }
        try call("bind", Int(SYS_bind), made.raw, try address(name))
        return made
    }

    /// Lets the task make the socket and its file, where it may, or where config.json lets it.
    private static func make(
        _ name: [UInt8], _ wanted: UnixSkEntry, _ workshop: Workshop
    ) throws -> OwnedDescriptor {
        let path = String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
        guard let opener = workshop.opener else { throw CheckpointError("\(path): is no task's") }
        let address = try address(name)
        return try opener.runAsEither { try make(path, address, wanted, as: $0, by: opener, workshop) }
    }

    private static func make(
        _ path: String, _ address: [UInt8], _ wanted: UnixSkEntry, as identity: Identity, by opener: Opener,
        _ workshop: Workshop
    ) throws -> OwnedDescriptor {
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        let name = String(path[path.index(after: slash)...])
        guard !["", ".", ".."].contains(name) else { throw CheckpointError("\(path): is no name for a unix socket") }
        try opener.run(as: identity) { program in
            let folder = program.place(path: slash == path.startIndex ? "/" : String(path[..<slash]))
            let how = program.place(
                value: SIMD4<UInt64>(UInt64(CLINUX_O_PATH | O_DIRECTORY), 0, Resolve.noMagicLinks.rawValue, 0))
            program.call(
                "open the folder of \(path)", Int(CLINUX_SYS_openat2),
                [UInt64(bitPattern: Int64(AT_FDCWD)), folder.raw, how.raw, 24])
        }
        let folder = try opener.take(0)
        let before = try? status(at: folder.raw, name, flags: AT_SYMLINK_NOFOLLOW)
        if let before {
            guard before.isSocket else { throw CheckpointError("\(path): is no socket, but was at the checkpoint") }
            if try !workshop.isOwn(folder.raw, opener.policy) {
                try checkForeign(before, path, address, wanted, as: identity, by: opener, workshop)
            }
        }
        // The task's descriptors: 0 is the folder, 1 the socket.
        try opener.run(as: identity, keeping: 1) { program in
            let last = program.place(path: name)
            if before != nil { program.call("unlink \(path)", Int(SYS_unlinkat), [0, last.raw, 0]) }
            program.call("socket", Int(SYS_socket), [UInt64(AF_UNIX), UInt64(wanted.type), 0], expecting: 1)
            if wanted.hasFilePerms {
                // The file gets the mode of the socket without the mask.
                program.call("umask", Int(SYS_umask), [0])
                program.call("mode of socket", Int(SYS_fchmod), [1, UInt64(wanted.filePerms.mode & 0o7777)])
            }
            let place = program.place(address)
            program.call("bind to \(path)", Int(SYS_bind), [1, place.raw, UInt64(address.count)])
        }
        let made = try opener.take(1)
        guard let bound = try? status(at: folder.raw, name, flags: AT_SYMLINK_NOFOLLOW), try isName(bound, of: made.raw)
        else { throw CheckpointError("\(path): its folder was replaced while the socket was made") }
        guard wanted.hasFilePerms else { return made }
        try opener.run(as: identity, keeping: 2) { program in
            let last = program.place(path: name)
            program.call("mode of socket", Int(SYS_fchmod), [1, 0o777])
            program.call(
                "owner of \(path)", Int(SYS_fchownat),
                [0, last.raw, UInt64(wanted.filePerms.uid), UInt64(wanted.filePerms.gid), UInt64(AT_SYMLINK_NOFOLLOW)])
        }
        return made
    }

    /// Where files of the host are mounted, only the socket of the checkpoint may go: with the same owner and mode, and
    /// nobody who listens. Others may use the same folder.
    private static func checkForeign(
        _ found: stat, _ path: String, _ address: [UInt8], _ wanted: UnixSkEntry, as identity: Identity,
        by opener: Opener, _ workshop: Workshop
    ) throws {
        let owned = try about(path) { try workshop.userNamespace.inside(found) }
        let permissions = wanted.filePerms
        guard wanted.hasFilePerms, owned.st_mode & 0o7777 == permissions.mode & 0o7777,
            owned.st_uid == permissions.uid, owned.st_gid == permissions.gid
        else {
            throw CheckpointError("\(path): this socket in a mount of the host's is not the one of the checkpoint")
        }
        do {
            try opener.run(as: identity, keeping: 1) { program in
                let place = program.place(address)
                program.call(
                    "socket", Int(SYS_socket), [UInt64(AF_UNIX), UInt64(wanted.type) | UInt64(O_NONBLOCK), 0],
                    expecting: 1)
                program.call("connect to \(path)", Int(SYS_connect), [1, place.raw, UInt64(address.count)])
            }
        } catch let error as SystemError {
            // What nobody has open refuses.
            if error.errno == .connectionRefused { return }
            if [.permissionDenied, .notPermitted].contains(error.errno) { throw error }
        }
        throw CheckpointError("\(path): somebody else has this socket in a mount of the host's")
    }

    /// Whether a file is the one that a socket is bound to. SIOCUNIXFILE, Linux 4.12.
    private static func isName(_ found: stat, of socket: CInt) throws -> Bool {
        let file = OwnedDescriptor(try system("file of unix socket") { clinux_ioctl(socket, 0x89e0, 0) })
        let bound = try status(of: file.raw)
        return found.isSocket && found.st_dev == bound.st_dev && found.st_ino == bound.st_ino
    }

    static func isLetterbox(_ entry: UnixSkEntry) -> Bool {
        entry.type == UInt32(datagrams) && !entry.name.isEmpty && entry.state != 1
    }

    /// A socket without a name that is connected to a datagram socket with one.
    static func send(to other: UnixSkEntry, in workshop: Workshop) throws -> CInt {
        _ = try workshop.descriptor(for: other.id)
        return try UnixPeer(nil, in: workshop).connect(datagrams, to: try address(Array(other.name)))
    }

    /// Both ends of a connection that was made to a listening socket of this name.
    ///
    /// - Parameters:
    ///   - client: who connected.
    ///   - listener: who listened then; `nil` for who listens now.
    static func connect(
        to name: [UInt8], type: CInt, by client: PeerCredentials?, listener: PeerCredentials?, in workshop: Workshop
    ) throws -> (server: CInt, client: CInt) {
        guard let id = workshop[UnixSocketPair.self].listeners[name], let entry = workshop.entry(id)?.usk else {
            throw CheckpointError("nobody listens under the name of a connected unix socket any more")
        }
        let listening = try workshop.descriptor(for: id)
        let now = try PeerCredentials.peer(of: id, in: workshop)
        let isAnother = listener != nil && listener != now
        if isAnother { try UnixPeer(listener, in: workshop).listen(listening, backlog: entry.backlog) }
        let raw = try UnixPeer(client, in: workshop).connect(type, to: try address(name))
        if isAnother { try UnixPeer(now, in: workshop).listen(listening, backlog: entry.backlog) }
        // A connection is there at once, unless the name leads to somebody else.
        var waiting = pollfd(fd: listening, events: Int16(POLLIN), revents: 0)
        guard try system("poll unix socket", { poll(&waiting, 1, 0) }) == 1 else {
            throw CheckpointError("the name of a unix socket that listens leads to another one")
        }
        let server = OwnedDescriptor(
            try system("accept") { CInt(clinux_syscall(Int(SYS_accept4), Int(listening), 0, 0, Int(O_CLOEXEC), 0, 0)) })
        return (workshop.keep(server), raw)
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

    static func call(_ what: String, _ number: Int, _ socket: CInt, _ address: [UInt8]) throws {
        _ = try system(what) {
            address.withUnsafeBytes {
                clinux_syscall(number, Int(socket), Int(bitPattern: $0.baseAddress), $0.count, 0, 0, 0)
            }
        }
    }
}
