import LinuxSystem
import OCISpec

/// Which ids of a user namespace are which outside of it. user_namespaces(7).
struct IDMaps: Sendable, Equatable {
    var users: [IDMapping]
    var groups: [IDMapping]

    init(users: [IDMapping], groups: [IDMapping]) { (self.users, self.groups) = (users, groups) }

    init(_ linux: Linux?) { self.init(users: linux?.uidMappings ?? [], groups: linux?.gidMappings ?? []) }

    /// Gives them to the user namespace of a process, which has none yet.
    ///
    /// A user may map the own ids to one each; for more, newuidmap(1) and newgidmap(1) have the rights.
    func write(to pid: pid_t) throws(RuntimeError) {
        let capabilities = try launching { () throws(SystemError) in try CapabilitySets.current().effective }
        try within("linux.uidMappings") { () throws(RuntimeError) in
            if capabilities & 1 << 7 != 0 || users.count == 1 && users[0].isOnly(geteuid()) {  // CAP_SETUID
                return try launching { () throws(SystemError) in
                    try writeControl("/proc/\(pid)/uid_map", Self.lines(users))
                }
            }
            try runMapper("newuidmap", pid, users)
        }
        try within("linux.gidMappings") { () throws(RuntimeError) in
            let hasRight = capabilities & 1 << 6 != 0  // CAP_SETGID
            if hasRight || groups.count == 1 && groups[0].isOnly(getegid()) {
                return try launching { () throws(SystemError) in
                    if !hasRight { try writeControl("/proc/\(pid)/setgroups", "deny") }
                    try writeControl("/proc/\(pid)/gid_map", Self.lines(groups))
                }
            }
            try runMapper("newgidmap", pid, groups)
        }
    }

    private func runMapper(_ name: String, _ pid: pid_t, _ mappings: [IDMapping]) throws(RuntimeError) {
        let folders = ["/usr/bin", "/usr/local/bin", "/bin"]
        guard let path = folders.map({ $0 + "/" + name }).first(where: { access($0, X_OK) == 0 }) else {
            throw RuntimeError("\(name) is missing, and only it may map other ids than the user's own")
        }
        let numbers = mappings.flatMap { ["\($0.containerID)", "\($0.hostID)", "\($0.size)"] }
        let complaint = try launching { () throws(SystemError) in try makeMemoryFile("mapper errors") }
        let result = try launching("start \(path)") { () throws(SystemError) in try cloneProcess(CloneRequest()) }
        switch consume result {
        case .child:
            dup2(complaint.raw, 2)
            try? CallingProcess.closeOnExec(from: 3)
            try? CallingProcess.execute(path: path, arguments: [name, "\(pid)"] + numbers, environment: [])
            _exit(127)
        case .parent(_, let process):
            let exit = try launching { () throws(SystemError) in try process.wait() }
            if exit == .exited(0) { return }
            lseek(complaint.raw, 0, SEEK_SET)
            let text = String(decoding: (try? readAll(complaint.raw)) ?? [], as: UTF8.self)
            throw RuntimeError("\(name) refused: \(text.trimmingNewline)")
        }
    }

    /// A user namespace with these maps that nobody is in.
    func makeNamespace() throws(RuntimeError) -> OwnedDescriptor {
        let result = try launching { () throws(SystemError) in try cloneProcess(CloneRequest(namespaces: .user)) }
        switch consume result {
        case .child:
            while true { pause() }
        case .parent(let pid, let process):
            defer {
                try? process.send(SIGKILL)
                _ = try? process.wait()
            }
            try write(to: pid)
            return try launching { () throws(SystemError) in try openAt(AT_FDCWD, "/proc/\(pid)/ns/user", O_RDONLY) }
        }
    }

    private static func lines(_ mappings: [IDMapping]) -> String {
        mappings.map { "\($0.containerID) \($0.hostID) \($0.size)\n" }.joined()
    }
}

extension IDMapping {
    fileprivate func isOnly(_ id: UInt32) -> Bool { size == 1 && hostID == id }
}
