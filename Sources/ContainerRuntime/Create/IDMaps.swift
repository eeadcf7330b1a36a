import LinuxSystem
import OCISpec

/// Which ids of a user namespace are which outside of it. user_namespaces(7).
struct IDMaps: Sendable, Equatable {
    var users: [IDMapping]
    var groups: [IDMapping]

    init(users: [IDMapping], groups: [IDMapping]) { (self.users, self.groups) = (users, groups) }

    init(_ linux: Linux?) { self.init(users: linux?.uidMappings ?? [], groups: linux?.gidMappings ?? []) }

    /// Gives them to the user namespace of a process, which has none yet.
    func write(to pid: pid_t) throws(RuntimeError) {
        try launching("linux.uidMappings") { () throws(SystemError) in
            try writeControl("/proc/\(pid)/uid_map", Self.lines(users))
        }
        try launching("linux.gidMappings") { () throws(SystemError) in
            try writeControl("/proc/\(pid)/gid_map", Self.lines(groups))
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
