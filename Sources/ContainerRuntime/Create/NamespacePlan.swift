import LinuxSystem
import OCISpec

/// Which namespaces of a container are made, which are joined, and by whom.
struct NamespacePlan: Sendable {
    /// Made together with the first process. A user namespace is made before: see ``UserNamespaceBirth``.
    let created: Namespaces
    /// All that config.json lists, new or joined.
    let listed: Namespaces
    /// Made by the first process itself, once it is in its cgroup: the namespace's root is where its maker stands.
    let createsCgroup: Bool
    /// What the first process joins, as a descriptor each, in the order that rights demand.
    private var joins: [CInt: Namespaces] = [:]
    /// The pid namespace to be born in, where the runtime itself has to choose it.
    let pidNamespace: CInt?
    let createsTime: Bool
    /// Made by the runtime while the first process makes its mounts; see ``NetworkBirth``.
    let createsNetwork: Bool
    let createsUser: Bool
    var hasUser: Bool { listed.contains(.user) }
    /// Whether the first process is made by one in between (``UserNamespaceBirth``). A runtime that is itself in a user
    /// namespace needs it, too: it could not come back from namespaces that it enters for its children.
    let isBornBetween: Bool

    init(_ namespaces: [Namespace]) throws(RuntimeError) {
        var created: Namespaces = []
        var listed: Namespaces = []
        var pid: CInt?
        isBornBetween = namespaces.contains { $0.type == .user } || Rootless.isMapped
        for namespace in namespaces {
            let kind = namespace.type.kind
            if listed.contains(kind) {
                throw RuntimeError("linux.namespaces: \(namespace.type.rawValue) is listed twice")
            }
            listed.insert(kind)
            guard let path = namespace.path, !path.isEmpty else {
                created.insert(kind)
                continue
            }
            let descriptor = try launching("linux.namespaces: \(namespace.type.rawValue)") { () throws(SystemError) in
                let descriptor = try Self.open(path)
                // Its root would be exchanged for the container's.
                if kind == .mount, try Self.isOwn(descriptor.raw, "mnt") {
                    throw SystemError(.invalidArgument, "\(path) is the runtime's own")
                }
                return descriptor
            }
            // These stay open until the command ends: one namespace plan is made per command.
            let raw = descriptor.release()
            if kind == .pid && !isBornBetween { pid = raw } else { joins[raw] = kind }
        }
        guard listed.contains(.mount) else {
            throw RuntimeError("linux.namespaces: a container needs a mount namespace")
        }
        createsCgroup = created.contains(.cgroup)
        createsTime = created.contains(.time)
        createsUser = created.contains(.user)
        // From a user namespace of its own, the first process could not join one that belongs to the runtime's.
        createsNetwork = created.contains(.network) && !isBornBetween
        if createsNetwork { created.remove(.network) }
        self.created = created.subtracting([.cgroup, .time, .user])
        self.listed = listed
        pidNamespace = pid
    }

    /// Joins those of `kinds` that were listed with a path, the mount namespace last.
    func join(_ kinds: Namespaces) throws(SystemError) {
        if joins.isEmpty { return }
        for (kind, _) in Namespaces.files where kinds.contains(kind) {
            for (descriptor, joined) in joins where joined == kind { try joinNamespaces(descriptor, kind) }
        }
    }

    /// Whether the descriptor is the caller's namespace of that name in /proc/PID/ns.
    static func isOwn(_ descriptor: CInt, _ name: String) throws(SystemError) -> Bool {
        let (given, own) = (try status(of: descriptor), try status("/proc/self/ns/\(name)"))
        return given.st_ino == own.st_ino && given.st_dev == own.st_dev
    }

    /// The same for those that the caller has the right to join, which it says.
    func joinPermitted(_ kinds: Namespaces) throws(SystemError) -> Namespaces {
        var done: Namespaces = []
        for (kind, _) in Namespaces.files where kinds.contains(kind) {
            do throws(SystemError) {
                try join(kind)
                done.insert(kind)
            } catch  where error.errno == .notPermitted {}
        }
        return done
    }

    private static func open(_ path: String) throws(SystemError) -> OwnedDescriptor {
        let descriptor = try openAt(AT_FDCWD, path, O_RDONLY)
        guard try filesystemMagic(of: descriptor.raw) == Namespaces.fileSystemMagic else {
            throw SystemError(.invalidArgument, "\(path) is not a namespace")
        }
        return descriptor
    }
}

extension Namespace.Kind {
    var kind: Namespaces {
        switch self {
        case .mount: .mount
        case .pid: .pid
        case .network: .network
        case .uts: .uts
        case .ipc: .ipc
        case .user: .user
        case .cgroup: .cgroup
        case .time: .time
        }
    }
}
