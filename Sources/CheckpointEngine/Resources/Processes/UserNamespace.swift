import CheckpointImages
import LinuxSystem

/// A container's user namespace: which ids inside are which to the engine. user_namespaces(7).
///
/// Images hold ids as the container sees them, as CRIU's do; what the kernel tells the engine of files and of
/// /proc/PID/status, and what the engine tells the kernel, is in its own. All ids cross over here. What a task says or
/// does itself needs no crossing: its credentials are set by its own calls, and siginfo has the ids of who gets it.
package struct UserNamespace: Equatable, Sendable, CustomStringConvertible, Kind {
    static func seal(_ dump: Dump) throws {
        guard let entry = dump.userNamespace.entry, let ids = dump.rootIDs else { return }
        try dump.images.add(.userns, ids.userNsID, entries: [entry])
    }

    static func plan(_ restore: RestorePlan) throws {
        let dumped = restore.images.userNamespace
        if let configured = restore.policy.userNamespace {
            try dumped.check(restoredIn: configured, of: "config.json")
        }
        for owner in restore.images.files.all.compactMap(\.signalOwner) { try dumped.check(owner) }
        for plan in restore.first.all {
            for (_, core) in plan.everyThread where core.hasThreadCore {
                try about("\(plan)") { try dumped.check(core.threadCore.creds) }
            }
        }
    }

    static func recreate(in workshop: Workshop) throws {
        try workshop.images.userNamespace.check(restoredIn: workshop.userNamespace, of: "the new container")
    }

    /// `count` ids from `inner` on, which are those from `outer` on to the engine.
    package struct Extent: Equatable, Sendable {
        var inner: UInt32
        var outer: UInt32
        var count: UInt32

        package init(inner: UInt32, outer: UInt32, count: UInt32) {
            (self.inner, self.outer, self.count) = (inner, outer, count)
        }
    }

    private let users: [Extent]
    private let groups: [Extent]

    /// The engine's own, of containers that have none.
    package static let own = UserNamespace(users: [.everything], groups: [.everything])

    package init(users: [Extent], groups: [Extent]) {
        self.users = users.sorted { $0.inner < $1.inner }
        self.groups = groups.sorted { $0.inner < $1.inner }
    }

    /// That of a process, by the maps that the kernel shows.
    package init(of process: pid_t) throws {
        let (theirs, ours) = (try status("/proc/\(process)/ns/user"), try status("/proc/self/ns/user"))
        if theirs.st_ino == ours.st_ino, theirs.st_dev == ours.st_dev {
            self = .own
        } else {
            self.init(
                users: try Self.map("/proc/\(process)/uid_map"), groups: try Self.map("/proc/\(process)/gid_map"))
        }
    }

    private static func map(_ path: String) throws -> [Extent] {
        try readText(path).split(separator: "\n").map { line in
            let numbers = line.split(separator: " ").compactMap { UInt32($0) }
            guard numbers.count == 3 else { throw CheckpointError("\(path): `\(line)`") }
            return Extent(inner: numbers[0], outer: numbers[1], count: numbers[2])
        }
    }

    // MARK: Ids

    func inside(user: UInt32) throws -> UInt32 { try Self.inside(user, users, "user") }
    func inside(group: UInt32) throws -> UInt32 { try Self.inside(group, groups, "group") }
    package func outside(user: UInt32) throws -> UInt32 { try Self.outside(user, users, "user") }
    func outside(group: UInt32) throws -> UInt32 { try Self.outside(group, groups, "group") }

    /// What the container would be told of a file.
    func inside(_ status: stat) throws -> stat {
        var status = status
        status.st_uid = try inside(user: status.st_uid)
        status.st_gid = try inside(group: status.st_gid)
        return status
    }

    /// A file of the container's own, whose attributes have ids in them, too.
    func inside(_ entry: MemoryFileEntry) throws -> MemoryFileEntry {
        try entry.exchangingIDs(user: inside(user:), group: inside(group:))
    }

    func outside(_ entry: MemoryFileEntry) throws -> MemoryFileEntry {
        try entry.exchangingIDs(user: outside(user:), group: outside(group:))
    }

    private static func inside(_ id: UInt32, _ map: [Extent], _ kind: String) throws -> UInt32 {
        guard let extent = map.first(where: { id >= $0.outer && id - $0.outer < $0.count }) else {
            throw CheckpointError("\(kind) id \(id) of the host has no place in the container's user namespace")
        }
        return extent.inner &+ (id - extent.outer)
    }

    private static func outside(_ id: UInt32, _ map: [Extent], _ kind: String) throws -> UInt32 {
        guard let extent = map.first(where: { id >= $0.inner && id - $0.inner < $0.count }) else {
            throw CheckpointError("\(kind) id \(id) is not mapped in the container's user namespace")
        }
        return extent.outer &+ (id - extent.inner)
    }

    /// Fails if a thread has ids that nobody in this namespace can have.
    func check(_ credentials: CredsEntry) throws {
        for id in [credentials.uid, credentials.euid, credentials.suid, credentials.fsuid] {
            _ = try outside(user: id)
        }
        for id in [credentials.gid, credentials.egid, credentials.sgid, credentials.fsgid] + credentials.groups {
            _ = try outside(group: id)
        }
    }

    func check(_ owner: FownEntry) throws {
        for id in [owner.uid, owner.euid] { _ = try about("files.img: signal owner") { try outside(user: id) } }
    }

    // MARK: Images

    /// The entry of `userns-N.img`, which CRIU's checkpoints have only if there is such a namespace.
    var entry: UsernsEntry? {
        if self == .own { return nil }
        return .with {
            $0.uidMap = users.map(\.entry)
            $0.gidMap = groups.map(\.entry)
        }
    }

    init(_ entry: UsernsEntry) {
        self.init(users: entry.uidMap.map(Extent.init), groups: entry.gidMap.map(Extent.init))
    }

    /// Fails if a checkpoint of this namespace is to come back in another: its files would be somebody else's.
    func check(restoredIn other: UserNamespace, of source: String) throws {
        guard self != other else { return }
        throw CheckpointError(
            "the checkpoint has \(self), but \(source) has \(other); restore with the bundle that was checkpointed")
    }

    package var description: String {
        if self == .own { return "no user namespace" }
        func text(_ map: [Extent]) -> String {
            map.map { "\($0.inner):\($0.outer):\($0.count)" }.joined(separator: ",")
        }
        return "a user namespace with the users \(text(users)) and the groups \(text(groups))"
    }
}

extension UserNamespace.Extent {
    fileprivate static let everything = Self(inner: 0, outer: 0, count: .max)

    fileprivate init(_ entry: UidGidExtent) {
        self.init(inner: entry.first, outer: entry.lowerFirst, count: entry.count)
    }

    fileprivate var entry: UidGidExtent {
        .with {
            $0.first = inner
            $0.lowerFirst = outer
            $0.count = count
        }
    }
}
