import CheckpointImages
import LinuxSystem

/// A datagram socket with a name, to which messages are sent again as if by those who had sent them: by the socket of that
/// name, if the container has it, or by one that has the name for the moment. A name that is a path is bound where nobody
/// else looks, in a root directory of the engine's own.
final class Letterbox {
    private let workshop: Workshop
    /// What an address leads to that is a path: the very file, whatever its name leads to.
    private let file: OwnedDescriptor?
    private let address: [UInt8]
    private var scratch: ScratchRoot?
    /// The container's sockets that have names, by them.
    private lazy var senders = Dictionary(
        workshop.images.files.all(.unixsk).filter { NamedUnixSocket.isLetterbox($0.usk) }
            .map { (Array($0.usk.name), $0.id) }, uniquingKeysWith: { first, _ in first })

    init(_ id: UInt32, in workshop: Workshop) throws {
        self.workshop = workshop
        let name = Array(workshop.entry(id)?.usk.name ?? .init())
        guard name.first != 0 else {
            file = nil
            address = try NamedUnixSocket.address(name)
            return
        }
        let file = try NamedUnixSocket.boundFile(of: try workshop.descriptor(for: id))
        address = try NamedUnixSocket.address(Array("/proc/self/fd/\(file.raw)".utf8))
        self.file = consume file
    }

    /// Calls `send` with a socket of this name, and with the address.
    func with(_ name: [UInt8], room: CInt, _ send: (CInt, [UInt8]) throws -> Int) throws -> Int {
        if let sender = senders[name] { return try send(try workshop.descriptor(for: sender), address) }
        let made = try workshop.inNetworkNamespace {
            OwnedDescriptor(
                CInt(try systemCall("socket", Int(SYS_socket), Int(AF_UNIX), Int(2 | O_CLOEXEC), 0)))
        }
        let raw = made.raw
        // SO_SNDBUFFORCE
        try SocketOptions.set(raw, SOL_SOCKET, 32, room)
        if !name.isEmpty { try bind(raw, name) }
        return try send(raw, address)
    }

    private func bind(_ socket: CInt, _ name: [UInt8]) throws {
        let address = try NamedUnixSocket.address(name)
        guard name.first != 0 else { return try NamedUnixSocket.call("bind", Int(SYS_bind), socket, address) }
        let scratch = try self.scratch ?? ScratchRoot()
        self.scratch = scratch
        try scratch.bind(socket, to: address)
    }
}

/// An empty root directory, on a mount that is nowhere, for names that are to look like others and lead to nothing.
final class ScratchRoot {
    private let top: OwnedDescriptor

    init() throws { top = try FilesystemContext("tmpfs").mount() }

    /// bind(2), after which the name is free again.
    func bind(_ socket: CInt, to address: [UInt8]) throws {
        let path = String(decoding: address.dropFirst(2).prefix { $0 != 0 }, as: UTF8.self)
        try inRoot(top.raw) {
            var folder = path.hasPrefix("/") ? "/" : ""
            for part in path.split(separator: "/").dropLast() {
                folder += part + "/"
                guard mkdir(folder, 0o700) != 0 else { continue }
                let error = SystemError(.current, "make \(folder)")
                if error.errno != .fileExists { throw error }
            }
            try NamedUnixSocket.call("bind", Int(SYS_bind), socket, address)
            // Who connects to the file by another name is asked for rights to it.
            try system("mode of \(path)") { chmod(path, 0o777) }
            try system("unlink \(path)") { unlink(path) }
        }
    }
}
