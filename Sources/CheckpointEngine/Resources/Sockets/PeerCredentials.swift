import CheckpointImages
import LinuxSystem

/// Whom a unix socket's owner takes the other end for: who called socketpair(2), listen(2) or connect(2), as he was then.
/// SO_PEERCRED and SO_PEERGROUPS; of a socket that listens its own. unix(7).
struct PeerCredentials: Hashable {
    /// As the container sees it; 0 of a process that is outside or has ended.
    var process: pid_t
    var user: UInt32
    var group: UInt32
    var groups: [UInt32]

    private static let credentials: CInt = 17
    private static let supplementary: CInt = 59
    /// SO_PEERNAME
    private static let name: CInt = 28

    // MARK: Checkpoint

    /// `nil` where the kernel keeps none.
    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> PeerCredentials? {
        let socket = file.descriptor.raw
        // struct ucred: pid, uid, gid. Without credentials the ids are −1.
        let told = try SocketOptions.bytes(socket, SOL_SOCKET, credentials, limit: 12)
        guard let pid = told.integer(pid_t.self, at: 0), let user = told.integer(UInt32.self, at: 4),
            let group = told.integer(UInt32.self, at: 8), user != .max
        else { return nil }
        let list = try SocketOptions.bytes(socket, SOL_SOCKET, supplementary, limit: 65_536 * 4)
        let groups = stride(from: 0, to: list.count, by: 4).compactMap { list.integer(UInt32.self, at: $0) }
        let (users, known) = (dump.userNamespace, dump.innerPids[pid] ?? 0)
        let peer = try about("the peer of \(file.link)") {
            PeerCredentials(
                process: try hasEnded(peerOf: socket) ? 0 : known, user: try users.inside(user: user),
                group: try users.inside(group: group), groups: try groups.map { try users.inside(group: $0) })
        }
        for entry in peer.entries(of: id) { try dump.stream(raw: SocketOptionEntry.fileName).append(raw: entry.bytes) }
        return peer
    }

    /// The number of an ended process may be another's by now. SO_PEERPIDFD, Linux 6.5, tells; before, nothing does.
    private static func hasEnded(peerOf socket: CInt) throws -> Bool {
        do {
            let pidfd = OwnedDescriptor(try SocketOptions.number(socket, SOL_SOCKET, 77))
            return try readText("/proc/self/fdinfo/\(pidfd.raw)").contains("Pid:\t-1\n")
        } catch let error as SystemError where [.noSuchProcess, .invalidArgument, .noData].contains(error.errno) {
            return true
        } catch let error as SystemError where error.errno.rawValue == ENOPROTOOPT {
            return false
        }
    }

    // MARK: Images

    private func entries(of file: UInt32) -> [SocketOptionEntry] {
        let own = [UInt8](integers: [UInt32(bitPattern: process), user, group])
        return [
            SocketOptionEntry(file: file, level: SOL_SOCKET, name: Self.credentials, value: own),
            SocketOptionEntry(
                file: file, level: SOL_SOCKET, name: Self.supplementary, value: [UInt8](integers: groups)),
        ]
    }

    static func keeps(_ entry: SocketOptionEntry) -> Bool {
        entry.level == SOL_SOCKET && [credentials, supplementary, name].contains(entry.name)
    }

    /// The name that a socket was connected to, where the other end is closed.
    static func formerName(_ entries: [SocketOptionEntry]) -> [UInt8]? {
        entries.first { $0.level == SOL_SOCKET && $0.name == name }?.value
    }

    static func entry(of file: UInt32, formerName: [UInt8]) -> SocketOptionEntry {
        SocketOptionEntry(file: file, level: SOL_SOCKET, name: name, value: formerName)
    }

    /// Whom a restored unix socket's owner takes its peer for.
    static func peer(of file: UInt32, in workshop: Workshop) throws -> PeerCredentials? {
        try PeerCredentials(workshop.images.socketOptions[file] ?? [])
    }

    /// `nil` in images that do not tell.
    init?(_ entries: [SocketOptionEntry]) throws {
        func value(_ name: CInt) -> [UInt8]? {
            entries.first { $0.level == SOL_SOCKET && $0.name == name }?.value
        }
        guard let own = value(Self.credentials) else { return nil }
        guard let process = own.integer(pid_t.self, at: 0), let user = own.integer(UInt32.self, at: 4),
            let group = own.integer(UInt32.self, at: 8)
        else { throw CheckpointError("\(SocketOptionEntry.fileName): credentials of \(own.count) bytes") }
        let list = value(Self.supplementary) ?? []
        // NGROUPS_MAX
        guard list.count <= 65_536 * 4 else {
            throw CheckpointError("\(SocketOptionEntry.fileName): \(list.count / 4) groups are too many")
        }
        self.init(
            process: process, user: user, group: group,
            groups: stride(from: 0, to: list.count, by: 4).compactMap { list.integer(UInt32.self, at: $0) })
    }

    /// What a process would be taken for now.
    init(of process: ProcessPlan) {
        let own = process.cores[0].threadCore.creds
        self.init(process: process.pid, user: own.euid, group: own.egid, groups: own.groups)
    }

    private init(process: pid_t, user: UInt32, group: UInt32, groups: [UInt32]) {
        (self.process, self.user, self.group, self.groups) = (process, user, group, groups)
    }
}
