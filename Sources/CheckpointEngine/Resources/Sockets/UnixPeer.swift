import CheckpointImages
import LinuxSystem
import Tracee

/// Makes the calls after which the kernel remembers who made them, for the other end of a unix socket to ask: as the
/// process that did it then, with the ids that it had. Where that one has ended, or is none of the container's, the
/// engine calls with its ids; the container sees process 0 then. So it is, by the ids of who has the socket, where the
/// images do not tell.
struct UnixPeer {
    private let workshop: Workshop
    private let credentials: PeerCredentials?
    private let opener: Opener?

    init(_ credentials: PeerCredentials?, in workshop: Workshop) throws {
        self.workshop = workshop
        self.credentials = credentials
        opener = try credentials.flatMap { try workshop.opener(of: $0.process) }
    }

    /// socketpair(2).
    func pair(_ type: CInt) throws -> (first: CInt, second: CInt) {
        guard let credentials, let opener else {
            return try asEngine {
                let pair = try socketPair(type)
                return (workshop.keep(try pair.first.duplicate()), workshop.keep(try pair.second.duplicate()))
            }
        }
        let (first, second) = try Self.makePair(type, as: Identity(credentials), by: opener)
        let pair = (workshop.keep(try opener.take(first)), workshop.keep(try opener.take(second)))
        try opener.close([first, second])
        return pair
    }

    /// The same, to the socket that is bound to the same file as this one, which may have no name any more. By /proc.
    func connect(_ type: CInt, toFileOf bound: CInt) throws -> CInt {
        let file = try NamedUnixSocket.boundFile(of: bound)
        func address(_ number: CInt) throws -> [UInt8] {
            try NamedUnixSocket.address(Array("/proc/self/fd/\(number)".utf8))
        }
        guard credentials != nil, let opener else {
            return try connect(type, to: try address(file.raw), isEngines: true)
        }
        let (number, others) = try Self.hand(file.raw, to: opener)
        let client = try connect(type, to: try address(number))
        try opener.close([number] + others)
        return client
    }

    /// A new socket, connected to an address in the container. connect(2).
    ///
    /// - Parameter isEngines: whether the address is a path of the engine's, where it is the engine that connects.
    func connect(_ type: CInt, to address: [UInt8], isEngines: Bool = false) throws -> CInt {
        // Nobody waits where the address leads to somebody else.
        let type = type | O_CLOEXEC | O_NONBLOCK
        guard let credentials, let opener else {
            let client = try asEngine {
                let made = try systemCall("socket", Int(SYS_socket), Int(AF_UNIX), Int(type), 0)
                return workshop.keep(OwnedDescriptor(CInt(made)))
            }
            func reach() throws { try NamedUnixSocket.call("connect", Int(SYS_connect), client, address) }
            if isEngines { try asEngine(reach) } else { try asEngine { try workshop.inRoot(reach) } }
            return try patient(client)
        }
        var made = Program.Reference?.none
        let results = try opener.run(as: Identity(credentials), keeping: nil) { program in
            let place = program.place(address)
            let socket = program.call(
                "socket", Int(SYS_socket), [UInt64(AF_UNIX), UInt64(UInt32(bitPattern: type)), 0])
            let connect = program.call("connect", Int(SYS_connect), [0, place.raw, UInt64(address.count)])
            program.pass(socket, to: connect, argument: 0)
            made = socket
        }
        let number = made.map { CInt(truncatingIfNeeded: results[$0]) } ?? -1
        let client = workshop.keep(try opener.take(number))
        try opener.close([number])
        return try patient(client)
    }

    private func patient(_ socket: CInt) throws -> CInt {
        try system("flags of unix socket") { clinux_fcntl(socket, F_SETFL, 0) }
        return socket
    }

    /// listen(2).
    func listen(_ socket: CInt, backlog: UInt32) throws {
        let backlog = CInt(clamping: backlog)
        guard let credentials, let opener else {
            return try asEngine { try system("listen") { LinuxSystem.listen(socket, backlog) } }
        }
        let (number, others) = try Self.hand(socket, to: opener)
        try opener.run(as: Identity(credentials), keeping: nil) {
            $0.call("listen", Int(SYS_listen), [UInt64(number), UInt64(backlog)])
        }
        try opener.close([number] + others)
    }

    /// Gives a file to a task.
    ///
    /// - Returns: its number there, and those of what brought it.
    private static func hand(_ file: CInt, to opener: Opener) throws -> (number: CInt, others: [CInt]) {
        let (ours, theirs) = try makePair(5, as: opener.own, by: opener)
        let end = try opener.take(ours)
        try sendMessage(end.raw, [1], descriptors: [file])
        var control = RemoteAddress(0)
        let results = try opener.run(as: opener.own, keeping: nil) {
            control = receive(from: theirs, in: &$0)
        }
        // struct cmsghdr: length 8, level 4, type 4, then the descriptor.
        guard let number = results.value(control + 16, as: CInt.self) else {
            throw CheckpointError("\(opener.plan): its answer is too short")
        }
        return (number, [ours, theirs])
    }

    private func asEngine<R>(_ body: () throws -> R) throws -> R {
        try workshop.inNetworkNamespace {
            guard let credentials else { return try body() }
            return try workshop.asOwner(
                user: credentials.user, group: credentials.group, groups: credentials.groups, body)
        }
    }

    private static func makePair(
        _ type: CInt, as identity: Identity, by opener: Opener
    ) throws -> (first: CInt, second: CInt) {
        var place = RemoteAddress(0)
        let results = try opener.run(as: identity, keeping: nil) { program in
            place = program.reserve(8)
            program.call("socketpair", Int(SYS_socketpair), [UInt64(AF_UNIX), UInt64(type), 0, place.raw])
        }
        guard let pair = results.value(place, as: SIMD2<Int32>.self) else {
            throw CheckpointError("\(opener.plan): its answer is too short")
        }
        return (pair[0], pair[1])
    }

    /// - Returns: where the control data will be.
    private static func receive(from socket: CInt, in program: inout Program) -> RemoteAddress {
        let byte = program.reserve(8)
        let room = clinux_cmsg_space(4)
        let control = program.reserve(room)
        let vector = program.place(value: SIMD2<UInt64>(byte.raw, 1))
        // struct msghdr: name, name length, iov, iov length, control, control length, flags
        let header = program.place([UInt8](integers: [0, 0, vector.raw, 1, control.raw, UInt64(room), 0]))
        program.call("recvmsg", Int(SYS_recvmsg), [UInt64(socket), header.raw, 0], expecting: 1)
        return control
    }
}
