import CheckpointImages
import LinuxSystem

/// Parameters of the kernel (sysctls) that belong to a network or IPC namespace of the container, and are not what a new
/// namespace has. `sysctls.stasis` has a line for each: its path beneath /proc/sys, a blank, its value. proc_sys(5).
///
/// Files in /proc/sys/net and those of IPC are the namespaces' of who opens them.
enum KernelParameters: Kind {
    final class DumpState: KindState {
        fileprivate var look: Look?
    }

    final class RestoreState: KindState {
        fileprivate var parameters: [(path: String, value: String)] = []
        /// Of namespaces of single processes.
        fileprivate var inner: [InnerNamespace.Name: [(path: String, value: String)]] = [:]
    }

    static let fileName = "sysctls.stasis"

    private static let interProcess: Set<String> = [
        "fs/mqueue/msg_default", "fs/mqueue/msg_max", "fs/mqueue/msgsize_default", "fs/mqueue/msgsize_max",
        "fs/mqueue/queues_max", "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem",
        "kernel/shm_rmid_forced", "kernel/shmall", "kernel/shmmax", "kernel/shmmni",
    ]

    // MARK: Dump

    /// What is found out before the container stands still: which parameters there are, and what new namespaces have.
    fileprivate struct Look {
        let kinds: Namespaces
        let paths: [String]
        let new: [String: String]
    }

    static func survey(_ request: CheckpointRequest, into states: KindStates) throws {
        states[dump: Self.self].look = try look(request.parameterNamespaces, of: request.firstProcess)
    }

    /// - Parameter first: the container's first process.
    private static func look(_ kinds: Namespaces, of first: pid_t) throws -> Look {
        if kinds.isEmpty { return Look(kinds: kinds, paths: [], new: [:]) }
        var paths = kinds.contains(.ipc) ? interProcess.sorted() : []
        if kinds.contains(.network) {
            let root = try root()
            try inNamespace(.network, of: first) { try addPaths("net", beneath: root.raw, &paths) }
        }
        return Look(kinds: kinds, paths: paths, new: try inNewNamespaces(kinds) { try values(of: paths) })
    }

    static func seal(_ dump: Dump) throws {
        guard let look = dump[Self.self].look, !look.paths.isEmpty else { return }
        let first = dump.first.hostPid
        let now = try inNamespace(look.kinds.intersection(.network), of: first) {
            try inNamespace(look.kinds.intersection(.ipc), of: first) { try values(of: look.paths) }
        }
        try add(now, since: look.new, fileName, to: dump)
    }

    private static func add(
        _ now: [String: String], since new: [String: String], _ name: String, to dump: Dump
    ) throws {
        let changed = now.filter { new[$0.key] != $0.value }
        if changed.isEmpty { return }
        let lines = changed.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)\n" }
        try dump.images.add(name, Array(lines.joined().utf8))
    }

    /// Of a namespace in which a process is alone, or with others.
    static func capture(_ name: InnerNamespace.Name, of process: CapturedProcess, into dump: Dump) throws {
        let kind = name.kind.intersection([.network, .ipc])
        if kind.isEmpty { return }
        let task = process.task
        let root = try root()
        var paths = kind == .ipc ? interProcess.sorted() : []
        if kind == .network { try inNamespace(kind, of: task) { try addPaths("net", beneath: root.raw, &paths) } }
        let now = try inNamespace(kind, of: task) { try values(of: paths) }
        try add(now, since: try inNewNamespaces(kind) { try values(of: paths) }, fileName(name), to: dump)
    }

    private static func fileName(_ name: InnerNamespace.Name) -> String { "sysctls-\(name.number).stasis" }

    private static func root() throws -> OwnedDescriptor {
        try openAt(AT_FDCWD, "/proc/sys", CLINUX_O_PATH | O_DIRECTORY)
    }

    private static func addPaths(_ path: String, beneath root: CInt, _ paths: inout [String]) throws {
        var stream = try DirectoryStream(try openAt(root, path, O_RDONLY | O_DIRECTORY))
        while let name = try stream.next() {
            let found = try status(at: stream.directory.raw, name, flags: AT_SYMLINK_NOFOLLOW)
            let inner = path + "/" + name
            if found.isDirectory { try addPaths(inner, beneath: root, &paths) }
            // What nobody may write is a count; what nobody may read is a command.
            if found.isRegular, found.st_mode & 0o222 != 0, found.st_mode & 0o444 != 0 { paths.append(inner) }
        }
    }

    private static func values(of paths: [String]) throws -> [String: String] {
        let root = try root()
        var values: [String: String] = [:]
        for path in paths { values[path] = value(path, beneath: root.raw) }
        return values
    }

    /// Nil for one that is not there, or has no value yet.
    private static func value(_ path: String, beneath root: CInt) -> String? {
        try? readValue(at: root, path, resolve: resolve)
    }

    private static let resolve: Resolve = [.beneath, .noMagicLinks, .noSymlinks, .noCrossMounts]

    // MARK: Restore

    /// Takes the lines of an image, if they are about the namespaces whose parameters config.json lets the container change.
    static func plan(_ restore: RestorePlan) throws {
        restore[Self.self].parameters = try parameters(fileName, restore.policy.parameterNamespaces, restore)
    }

    /// Who could make it could have changed them there: in a procfs of its own.
    static func plan(_ name: InnerNamespace.Name, _ restore: RestorePlan) throws {
        restore[Self.self].inner[name] = try parameters(fileName(name), name.kind, restore)
    }

    private static func parameters(
        _ fileName: String, _ kinds: Namespaces, _ restore: RestorePlan
    ) throws -> [(path: String, value: String)] {
        guard try restore.images.directory.contains(fileName) else { return [] }
        let text = String(decoding: try restore.images.directory.bytes(fileName), as: UTF8.self)
        return try text.split(separator: "\n").map { line in
            let parts = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let path = parts[0]
            let isKnown =
                path.hasPrefix("net/") ? kinds.contains(.network) : kinds.contains(.ipc) && interProcess.contains(path)
            guard isKnown, parts.count == 2, !path.split(separator: "/").contains("..") else {
                throw CheckpointError("\(fileName): config.json does not let the container change sysctl \(path)")
            }
            return (path, parts[1])
        }
    }

    /// In the new container's namespaces. To set one may change others, so all are looked at until they are as they should be.
    static func recreate(in workshop: Workshop) throws {
        try recreate(workshop[Self.self].parameters, of: workshop.firstProcess, fileName, in: workshop)
    }

    /// In the namespace that a process has made.
    static func recreate(_ name: InnerNamespace.Name, of process: pid_t, in workshop: Workshop) throws {
        try recreate(workshop[Self.self].inner[name] ?? [], of: process, fileName(name), in: workshop)
    }

    private static func recreate(
        _ parameters: [(path: String, value: String)], of first: pid_t, _ fileName: String, in workshop: Workshop
    ) throws {
        if parameters.isEmpty { return }
        let root = try root()
        try inNamespace(.network, of: first) {
            try inNamespace(.ipc, of: first) {
                for _ in 0..<4 {
                    let different = parameters.filter { value($0.path, beneath: root.raw) != $0.value }
                        .filter { !goesWithInterface($0.path, beneath: root.raw) }
                    if different.isEmpty { return }
                    // Those of IPC are its root's alone, whatever rights somebody else has.
                    try workshop.asOwner(user: 0, group: 0) {
                        for (path, value) in different { try set(path, value, beneath: root.raw) }
                    }
                }
                throw CheckpointError("\(fileName): there are sysctls that do not keep what they are set to")
            }
        }
    }

    /// Whether it is one of an interface that the new container does not have: conf/NAME/…, neigh/NAME/…
    private static func goesWithInterface(_ path: String, beneath root: CInt) -> Bool {
        let parts = path.split(separator: "/")
        guard parts.count == 5, ["conf", "neigh"].contains(parts[2]) else { return false }
        return (try? status(at: root, parts.dropLast().joined(separator: "/"))) == nil
    }

    private static func set(_ path: String, _ value: String, beneath root: CInt) throws {
        try about("sysctl \(path) = \(value)") {
            try writeControl(at: root, path, value, resolve: resolve)
        }
    }
}
