import LinuxSystem

/// The tops of some of a container's mounts as nothing hides them: neither what is mounted on them nor over them.
///
/// A child of the engine's goes into a copy of the container's mount namespace and takes one mount after the other away
/// there, those on others first. Of each that is asked for it sends what can then be seen at its place. The container's own
/// mounts stay. unshare(2) CLONE_NEWNS, umount2(2).
final class PeeledMounts {
    private var tops: [Int: CInt] = [:]

    /// - Parameters:
    ///   - root: the root directory beneath which the mounts lie.
    ///   - wanted: ids of directories' mounts.
    init(of process: pid_t, root: CInt, wanted: Set<Int>) throws {
        guard !wanted.isEmpty else { return }
        try Self.byChild {
            try Self.peel(process, root, wanted, into: $0)
        } receive: {
            try receive(from: $0, wanted)
        }
    }

    /// All that is mounted in a process's namespace, as mountinfo has it, and the namespace's root directory: of the process itself
    /// only what lies beneath its own root is told (chroot(2)).
    ///
    /// - Returns: the root directory open, the caller's to close.
    static func whole(of process: pid_t) throws -> (table: String, root: CInt) {
        var found: [CInt] = []
        try byChild { socket in
            _ = SignalMask.blockAll()
            let proc = try openAt(AT_FDCWD, "/proc", CLINUX_O_PATH | O_DIRECTORY)
            try join(process)
            let table = try openAt(proc.raw, "self/mountinfo", O_RDONLY)
            let root = try openAt(AT_FDCWD, "/", CLINUX_O_PATH | O_DIRECTORY)
            try sendMessage(socket, Array("mounts".utf8), descriptors: [table.raw, root.raw])
        } receive: { socket in
            let message = try receiveMessage(socket, limit: 4096, descriptors: 2)
            found = message.descriptors
            guard found.count == 2 else {
                for descriptor in found { close(descriptor) }
                throw failed(String(decoding: message.bytes, as: UTF8.self))
            }
        }
        let table = OwnedDescriptor(found[0])
        return (String(decoding: try readAll(table.raw, name: "mountinfo"), as: UTF8.self), found[1])
    }

    /// Lets a child of the engine's do something, and send what it finds.
    private static func byChild(_ body: (CInt) throws -> Void, receive: (CInt) throws -> Void) throws {
        let pair = try socketPair(CInt(SOCK_SEQPACKET.rawValue))
        switch try cloneProcess(CloneRequest()) {
        case .child:
            do {
                try body(pair.second.raw)
                _exit(0)
            } catch {
                try? sendMessage(pair.second.raw, Array("! \(error)".utf8))
                _exit(1)
            }
        case .parent(_, let pidfd):
            close(pair.second.release())
            do { try receive(pair.first.raw) } catch {
                try? pidfd.send(SIGKILL)
                _ = try pidfd.wait()
                throw error
            }
            _ = try pidfd.wait()
        }
    }

    private static func failed(_ text: String) -> CheckpointError {
        CheckpointError("cannot look at its mounts: \(text.isEmpty ? "the process that does has ended" : text)")
    }

    deinit { for top in tops.values { close(top) } }

    subscript(id: Int) -> CInt? { tops[id] }

    private func receive(from socket: CInt, _ wanted: Set<Int>) throws {
        while tops.count < wanted.count {
            let message = try receiveMessage(socket, limit: 4096, descriptors: 1)
            let text = String(decoding: message.bytes, as: UTF8.self)
            guard let top = message.descriptors.first, let id = Int(text), wanted.contains(id) else {
                for descriptor in message.descriptors { close(descriptor) }
                throw Self.failed(text)
            }
            tops[id] = top
        }
    }

    private static func join(_ process: pid_t) throws {
        let namespaces = try ["user", "mnt"].map {
            try openAt(AT_FDCWD, "/proc/\(process)/ns/\($0)", O_RDONLY).release()
        }
        if try linkTarget("/proc/\(process)/ns/user") != linkTarget("/proc/self/ns/user") {
            // A copy for another user namespace would have its mounts locked together.
            try joinNamespaces(namespaces[0], .user)
        }
        try joinNamespaces(namespaces[1], .mount)
    }

    private static func peel(_ process: pid_t, _ root: CInt, _ wanted: Set<Int>, into socket: CInt) throws {
        _ = SignalMask.blockAll()
        let proc = try openAt(AT_FDCWD, "/proc", CLINUX_O_PATH | O_DIRECTORY)
        try join(process)
        // Not the namespace's root where the container could not pivot (`--no-pivot`); the copy's is then the same.
        try system("go into its root") { fchdir(root) }
        try system("go into its root") { chroot(".") }
        let table = try openAt(proc.raw, "self/mountinfo", O_RDONLY)
        let lines: [MountLine] = try MountChanges.order(
            MountLine.all(in: String(decoding: try readAll(table.raw, name: "mountinfo"), as: UTF8.self))
        ).reversed()
        try leaveNamespaces(.mount)
        try changeMount(AT_FDCWD, MountAttributeChange(propagation: .private), at: "/", recursive: true)
        var left = wanted
        for line in lines {
            if left.remove(line.id) != nil {
                let top = try openAt(AT_FDCWD, line.point, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve: .noSymlinks)
                guard try MountLine.device(of: top.raw) == line.device else {
                    throw CheckpointError("\(line.point) shows another file system than /proc tells")
                }
                try sendMessage(socket, Array("\(line.id)".utf8), descriptors: [top.raw])
            }
            if left.isEmpty { return }
            try detachMount(line.point)
        }
    }
}
