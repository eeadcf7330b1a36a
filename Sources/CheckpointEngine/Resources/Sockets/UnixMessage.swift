import CheckpointImages
import LinuxSystem

/// A message of a queue: where its bytes are, and the files that came with it.
struct SocketMessage {
    let place: PayloadPlace
    let rights: [UInt32]

    private static let rightsType: UInt32 = 1
    /// SCM_MAX_FD
    private static let mostRights = 253

    init(_ entry: SkPacketEntry, at place: PayloadPlace) throws {
        self.place = place
        rights = entry.scm.flatMap(\.rights)
        guard entry.scm.allSatisfy({ $0.type == Self.rightsType }), rights.count <= Self.mostRights else {
            throw CheckpointError("sk-queues.img: a message to file \(entry.idFor) comes with what cannot be restored")
        }
    }

    static func control(rights: [UInt32]) -> [ScmEntry] {
        if rights.isEmpty { return [] }
        return [
            .with {
                $0.type = rightsType
                $0.rights = rights
            }
        ]
    }
}

/// Whom a message of a queue is from, as an entry of `sockets.stasis`: u32 index, process, user, group.
struct MessageSender {
    private static let name: CInt = -1
    let index: UInt32
    let credentials: SenderCredentials

    init(index: UInt32, _ credentials: SenderCredentials) { (self.index, self.credentials) = (index, credentials) }

    func entry(of file: UInt32) -> SocketOptionEntry {
        let numbers = [index, UInt32(bitPattern: credentials.process), credentials.user, credentials.group]
        return SocketOptionEntry(
            file: file, level: SOL_SOCKET, name: Self.name, value: [UInt8](integers: numbers))
    }

    static func keeps(_ entry: SocketOptionEntry) -> Bool { entry.level == SOL_SOCKET && entry.name == name }

    static func all(_ entries: [SocketOptionEntry]) throws -> [UInt32: SenderCredentials] {
        var found: [UInt32: SenderCredentials] = [:]
        for entry in entries where keeps(entry) {
            guard let index = entry.value.integer(UInt32.self, at: 0), let pid = entry.value.integer(pid_t.self, at: 4),
                let user = entry.value.integer(UInt32.self, at: 8), let group = entry.value.integer(UInt32.self, at: 12)
            else { throw CheckpointError("\(SocketOptionEntry.fileName): a sender of \(entry.value.count) bytes") }
            found[index] = SenderCredentials(process: pid, user: user, group: group)
        }
        return found
    }
}

/// By what name the socket was called that a message came from, as an entry of `sockets.stasis`: u32 index, and the name as
/// in struct sockaddr_un.
struct MessageOrigin {
    private static let name: CInt = -2
    let index: UInt32
    let name: [UInt8]

    func entry(of file: UInt32) -> SocketOptionEntry {
        SocketOptionEntry(file: file, level: SOL_SOCKET, name: Self.name, value: [UInt8](integers: [index]) + name)
    }

    static func keeps(_ entry: SocketOptionEntry) -> Bool { entry.level == SOL_SOCKET && entry.name == name }

    static func all(_ entries: [SocketOptionEntry]) throws -> [UInt32: [UInt8]] {
        var found: [UInt32: [UInt8]] = [:]
        for entry in entries where keeps(entry) {
            guard let index = entry.value.integer(UInt32.self, at: 0), 5...112 ~= entry.value.count else {
                throw CheckpointError("\(SocketOptionEntry.fileName): a message's origin of \(entry.value.count) bytes")
            }
            found[index] = Array(entry.value.dropFirst(4))
        }
        return found
    }
}
