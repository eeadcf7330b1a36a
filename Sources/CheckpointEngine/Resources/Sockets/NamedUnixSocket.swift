import CheckpointImages
import LinuxSystem
import Tracee

/// Unix sockets with a name: those that listen, and datagram sockets. The name is a file of the container, which may have been
/// unlinked, or abstract, with a first byte of 0. unix(7).
enum NamedUnixSocket: FileKind {
    final class RestoreState: KindState {
        /// Those that have a file, by the last part of its path.
        fileprivate var files: [String: [UInt32]] = [:]
    }

    private static let listening: UInt32 = 10
    private static let datagrams: CInt = 2

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.status.isSocket else { return nil }
        let socket = file.descriptor.raw
        guard try SocketOptions.number(socket, SOL_SOCKET, SO_DOMAIN) == AF_UNIX else { return nil }
        let inode = UInt32(truncatingIfNeeded: file.status.st_ino)
        let type = try SocketOptions.number(socket, SOL_SOCKET, SO_TYPE)
        let sockets = dump[UnixSocketPair.self]
        guard let told = try sockets.diagnosis(of: dump).sockets[inode], !told.name.isEmpty else { return nil }
        // Who connects to a datagram socket puts it into that state, too, for ever.
        let isLetterbox = type == datagrams
        guard told.state != 1 || isLetterbox else { return nil }
        let place = try told.name.first == 0 ? nil : place(of: told, file, dump)
        var entry = try UnixSocketPair.entry(file, inode: inode, told, type: type, id: id, into: dump)
        if isLetterbox { entry.usk.state = 7 }
        entry.usk.backlog = told.backlog
        if let place {
            if let permissions = place.permissions { entry.usk.filePerms = permissions }
            if let folder = place.folder { entry.usk.nameDir = folder }
            if place.permissions == nil { entry.usk.deleted = true }
        }
        sockets.peers[inode] = (told.peer, file.holder)
        if isLetterbox {
            sockets.letterboxes.insert(inode)
            UnixSocketQueue.note(file, id: id, type: type, isLetterbox: true, in: dump)
        }
        if UInt32(told.state) == listening {
            try WaitingConnection.capture(file, told, id: id, into: dump)
            _ = try PeerCredentials.capture(file, id: id, into: dump)
        }
        return entry
    }

    /// Where a socket's file is. It is called otherwise where it was renamed since, and where the name is relative.
    ///
    /// - Returns: `permissions`, none of a file that was unlinked; `folder`, what a relative name begins in; of a file that was
    ///   renamed its whole path instead.
    private static func place(
        of told: UnixDiagnosis, _ file: borrowing OpenFile, _ dump: Dump
    ) throws -> (permissions: FilePermsEntry?, folder: String?) {
        let name = told.printableName
        let bound = try boundFile(of: file.descriptor.raw)
        let isText = name.utf8.elementsEqual(told.name.prefix { $0 != 0 })
        if isText, try status(of: bound.raw).st_nlink == 0 { return (nil, nil) }
        let path = try linkTarget("/proc/self/fd/\(bound.raw)")
        let whole = name.hasPrefix("/") ? name : "/" + name
        guard isText,
            let here = try? openAt(dump.root.raw, path, CLINUX_O_PATH | O_NOFOLLOW, resolve: .inRoot),
            let found = try? status(of: here.raw), try isName(found, of: file.descriptor.raw)
        else {
            throw CheckpointError(
                "\(file.link): a unix socket whose file (\(name)) is in another mount namespace cannot be checkpointed yet"
            )
        }
        let owned = try about(file.link) { try dump.userNamespace.inside(found) }
        let permissions = FilePermsEntry.with {
            $0.mode = owned.st_mode
            $0.uid = owned.st_uid
            $0.gid = owned.st_gid
        }
        if try leads(name, to: file.descriptor.raw, in: dump) { return (permissions, nil) }
        if name.hasPrefix("/") { return (permissions, path) }
        guard path.hasSuffix(whole) else {
            throw CheckpointError(
                "\(file.link): a unix socket with a relative name (\(name)) that was renamed cannot be checkpointed yet"
            )
        }
        let folder = path.dropLast(whole.utf8.count)
        return (permissions, folder.isEmpty ? "/" : String(folder))
    }

    /// Whether an absolute name leads to the socket's file, by links, too.
    private static func leads(_ name: String, to socket: CInt, in dump: Dump) throws -> Bool {
        guard name.hasPrefix("/"),
            let place = try? openAt(dump.root.raw, name, CLINUX_O_PATH | O_NOFOLLOW, resolve: .inRoot),
            let found = try? status(of: place.raw)
        else { return false }
        return try isName(found, of: socket)
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasUsk, !entry.usk.name.isEmpty, entry.usk.state != 1 else { return nil }
        let wanted = entry.usk
        guard wanted.peer == 0 || isLetterbox(wanted), [1, 2, 5].contains(wanted.type),
            wanted.state == listening || wanted.state == 7
        else {
            throw CheckpointError("unix socket \(wanted.id): a bound one that is connected cannot be restored yet")
        }
        let name = Array(wanted.name)
        let made =
            try name.first == 0 || wanted.deleted
            ? makeNowhere(name, wanted.type, workshop) : make(name, wanted, workshop)
        let raw = made.raw
        if wanted.state == listening {
            let peer = try PeerCredentials.peer(of: wanted.id, in: workshop)
            try UnixPeer(peer, in: workshop).listen(raw, backlog: wanted.backlog)
        }
        if isLetterbox(wanted) { UnixSocketQueue.note(wanted.id, through: nil, in: workshop) }
        UnixSocketPair.note(workshop.keep(try made.duplicate()), wanted, in: workshop)
        return made
    }

    /// Fails if two sockets are to have one name: who connects by it would reach the other.
    static func plan(_ restore: RestorePlan) throws {
        _ = try connections(restore.images.files)
        var names: Set<[UInt8]> = []
        var files: [String: [UInt32]] = [:]
        for file in restore.images.files.all(.unixsk) where !file.usk.name.isEmpty && file.usk.state != 1 {
            if file.usk.deleted { continue }
            guard file.usk.name.first == 0 || path(of: file.usk).isAbsolutePath else {
                throw CheckpointError("unix socket \(file.id): its file is not called by an absolute path")
            }
            guard names.insert(Array(file.usk.name)).inserted else {
                throw CheckpointError("unix socket \(file.id): another one has the same name")
            }
            guard file.usk.name.first != 0, let last = path(of: file.usk).split(separator: "/").last else { continue }
            files[String(last), default: []].append(file.id)
        }
        restore[Self.self].files = files
    }

    /// A socket with an abstract name, or with that of a file that no directory has.
    private static func makeNowhere(
        _ name: [UInt8], _ type: UInt32, _ workshop: Workshop
    ) throws -> OwnedDescriptor {
        let made = try workshop.inNetworkNamespace {
            OwnedDescriptor(
                CInt(try systemCall("socket", Int(SYS_socket), Int(AF_UNIX), Int(type) | Int(O_CLOEXEC), 0)))
        }
        let (raw, address) = (made.raw, try address(name))
        if name.first == 0 {
            try call("bind", Int(SYS_bind), raw, address)
        } else {
            try ScratchRoot().bind(raw, to: address)
        }
        return made
    }

    /// Makes the sockets whose file may be the one at a path: it is another file then.
    static func recreate(at path: String, in workshop: Workshop) throws {
        guard let name = path.split(separator: "/").last else { return }
        let files = workshop[Self.self].files[String(name)] ?? []
        for id in files.sorted() { _ = try workshop.descriptor(for: id) }
    }

    /// Lets the task make the socket and its file, where it may, or where config.json lets it.
    private static func make(
        _ name: [UInt8], _ wanted: UnixSkEntry, _ workshop: Workshop
    ) throws -> OwnedDescriptor {
        let path = path(of: wanted)
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
        let parent = slash == path.startIndex ? "/" : String(path[..<slash])
        let isRelative = wanted.name.first != UInt8(ascii: "/")
        let wasRenamed = wanted.hasNameDir && !isRelative
        try opener.run(as: identity) { program in
            open(parent, in: &program)
            open(isRelative ? wanted.nameDir : "/", in: &program)
        }
        let folder = try opener.take(0)
        let before = try? status(at: folder.raw, name, flags: AT_SYMLINK_NOFOLLOW)
        if let before {
            guard before.isSocket else { throw CheckpointError("\(path): is no socket, but was at the checkpoint") }
            if try !workshop.isOwn(folder.raw, opener.policy) {
                let reach = try reach(wanted)
                try checkForeign(before, path, reach, wanted, as: identity, by: opener, workshop)
            }
        }
        // The task's descriptors: 0 is the folder, 1 where a relative name begins, 2 the socket.
        try opener.run(as: identity, keeping: 2) { program in
            let last = program.place(path: name)
            if before != nil { program.call("unlink \(path)", Int(SYS_unlinkat), [0, last.raw, 0]) }
            program.call("socket", Int(SYS_socket), [UInt64(AF_UNIX), UInt64(wanted.type), 0], expecting: 2)
            if wanted.hasFilePerms {
                // The file gets the mode of the socket without the mask.
                program.call("umask", Int(SYS_umask), [0])
                program.call("mode of socket", Int(SYS_fchmod), [2, UInt64(wanted.filePerms.mode & 0o7777)])
            }
            if isRelative { program.call("go to \(wanted.nameDir)", Int(SYS_fchdir), [1]) }
            let place = program.place(address)
            program.call("bind to \(path)", Int(SYS_bind), [2, place.raw, UInt64(address.count)])
            guard wasRenamed else { return }
            let old = program.place(Array(address.dropFirst(2)) + [0])
            let here = UInt64(bitPattern: Int64(AT_FDCWD))
            // RENAME_NOREPLACE
            program.call("rename to \(path)", Int(SYS_renameat2), [here, old.raw, 0, last.raw, 1])
        }
        let made = try opener.take(2)
        guard let bound = try? status(at: folder.raw, name, flags: AT_SYMLINK_NOFOLLOW), try isName(bound, of: made.raw)
        else { throw CheckpointError("\(path): its folder was replaced while the socket was made") }
        guard wanted.hasFilePerms else { return made }
        try opener.run(as: identity, keeping: 3) { program in
            let last = program.place(path: name)
            program.call("mode of socket", Int(SYS_fchmod), [2, 0o777])
            program.call(
                "owner of \(path)", Int(SYS_fchownat),
                [0, last.raw, UInt64(wanted.filePerms.uid), UInt64(wanted.filePerms.gid), UInt64(AT_SYMLINK_NOFOLLOW)])
        }
        return made
    }

    private static func open(_ folder: String, in program: inout Program) {
        let path = program.place(path: folder)
        let how = program.place(
            value: SIMD4<UInt64>(UInt64(CLINUX_O_PATH | O_DIRECTORY), 0, Resolve.noMagicLinks.rawValue, 0))
        program.call(
            "open the folder \(folder)", Int(CLINUX_SYS_openat2),
            [UInt64(bitPattern: Int64(AT_FDCWD)), path.raw, how.raw, 24])
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

    /// Whether a file is the one that a socket is bound to.
    private static func isName(_ found: stat, of socket: CInt) throws -> Bool {
        let file = try boundFile(of: socket)
        let bound = try status(of: file.raw)
        return found.isSocket && found.st_dev == bound.st_dev && found.st_ino == bound.st_ino
    }

    /// The file that a socket is bound to, wherever that is by now. SIOCUNIXFILE, Linux 4.12.
    static func boundFile(of socket: CInt) throws -> OwnedDescriptor {
        OwnedDescriptor(try system("file of unix socket") { clinux_ioctl(socket, 0x89e0, 0) })
    }

    /// Where in the container a socket's file is.
    private static func path(of entry: UnixSkEntry) -> String {
        let name = String(decoding: entry.name.prefix { $0 != 0 }, as: UTF8.self)
        guard entry.hasNameDir else { return name }
        if name.hasPrefix("/") { return entry.nameDir }
        return entry.nameDir + (entry.nameDir.hasSuffix("/") ? "" : "/") + name
    }

    /// The address by which a socket can be reached.
    private static func reach(_ entry: UnixSkEntry) throws -> [UInt8] {
        guard entry.hasNameDir else { return try address(Array(entry.name)) }
        return try address(Array(path(of: entry).utf8))
    }

    static func isLetterbox(_ entry: UnixSkEntry) -> Bool {
        entry.type == UInt32(datagrams) && !entry.name.isEmpty && entry.state != 1
    }

    /// A socket without a name that is connected to a datagram socket with one.
    static func send(to other: UnixSkEntry, in workshop: Workshop) throws -> CInt {
        _ = try workshop.descriptor(for: other.id)
        return try connect(datagrams, to: other, by: nil, in: workshop)
    }

    /// A new socket, connected to one with a name.
    static func connect(
        _ type: CInt, to other: UnixSkEntry, by client: PeerCredentials?, in workshop: Workshop
    ) throws -> CInt {
        let peer = try UnixPeer(client, in: workshop)
        guard other.deleted else { return try peer.connect(type, to: try reach(other)) }
        return try peer.connect(type, toFileOf: try workshop.descriptor(for: other.id))
    }

    /// Connects datagram sockets that have names: whoever is connected himself lets only his peer do so.
    static func settle(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        for (sender, receiver) in try connections(workshop.images.files) where workshop.has(sender) {
            try about("unix socket \(sender)") {
                let (from, to) = (try workshop.descriptor(for: sender), try workshop.descriptor(for: receiver))
                let name = Array(workshop.entry(receiver)?.usk.name ?? .init())
                if name.first == 0 {
                    return try call("connect", Int(SYS_connect), from, try address(name))
                }
                let file = try boundFile(of: to)
                try call("connect", Int(SYS_connect), from, try address(Array("/proc/self/fd/\(file.raw)".utf8)))
            }
        }
    }

    /// Which datagram sockets with names are connected to which, in an order in which they can be.
    static func connections(_ files: FileTable) throws -> [(sender: UInt32, receiver: UInt32)] {
        let boxes = files.all(.unixsk).map(\.usk).filter(isLetterbox).sorted { $0.id < $1.id }
        let known = Dictionary(boxes.map { ($0.ino, $0) }, uniquingKeysWith: { first, _ in first })
        func receiver(_ box: UnixSkEntry) -> UnixSkEntry? { box.peer == 0 ? nil : known[box.peer] }
        // How many come before each: those that are connected to it, but for its own peer.
        var before: [UInt32: Int] = [:]
        for box in boxes where box.peer != 0 {
            guard let other = receiver(box) else {
                throw CheckpointError("unix socket \(box.id): is connected to socket \(box.peer), which has no name")
            }
            if other.peer != box.ino { before[other.ino, default: 0] += 1 }
        }
        var found: [(UInt32, UInt32)] = []
        var next = boxes.filter { $0.peer != 0 && before[$0.ino] == nil }
        while let box = next.popLast(), let other = receiver(box) {
            found.append((box.id, other.id))
            guard other.peer != box.ino, let count = before[other.ino] else { continue }
            before[other.ino] = count - 1
            if count == 1, other.peer != 0 { next.append(other) }
        }
        guard found.count == boxes.count(where: { $0.peer != 0 }) else {
            throw CheckpointError("unix datagram sockets are connected in a ring, as none can be")
        }
        return found
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
            // Whoever listened has closed his socket.
            let former = try makeNowhere(name, UInt32(type), workshop)
            try UnixPeer(listener, in: workshop).listen(former.raw, backlog: 1)
            let peer = try UnixPeer(client, in: workshop)
            let raw =
                try name.first == 0
                ? peer.connect(type, to: address(name)) : peer.connect(type, toFileOf: former.raw)
            return (try accept(former.raw, in: workshop), raw)
        }
        let listening = try workshop.descriptor(for: id)
        let now = try PeerCredentials.peer(of: id, in: workshop)
        let isAnother = listener != nil && listener != now
        if isAnother { try UnixPeer(listener, in: workshop).listen(listening, backlog: entry.backlog) }
        let raw = try connect(type, to: entry, by: client, in: workshop)
        if isAnother { try UnixPeer(now, in: workshop).listen(listening, backlog: entry.backlog) }
        return (try accept(listening, in: workshop), raw)
    }

    private static func accept(_ listening: CInt, in workshop: Workshop) throws -> CInt {
        // A connection is there at once, unless the name leads to somebody else.
        var waiting = pollfd(fd: listening, events: Int16(POLLIN), revents: 0)
        guard try system("poll unix socket", { poll(&waiting, 1, 0) }) == 1 else {
            throw CheckpointError("the name of a unix socket that listens leads to another one")
        }
        let server = OwnedDescriptor(
            try system("accept") { CInt(clinux_syscall(Int(SYS_accept4), Int(listening), 0, 0, Int(O_CLOEXEC), 0, 0)) })
        return workshop.keep(server)
    }

    /// struct sockaddr_un.
    static func address(_ name: [UInt8]) throws -> [UInt8] {
        let isAbstract = name.first == 0
        guard name.count <= 108, isAbstract || name.contains(where: { $0 != 0 }) else {
            throw CheckpointError("a unix socket's name that cannot be, or a path longer than a socket's name may be")
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
