import LinuxSystem

/// The tops of some of a container's mounts as nothing hides them: neither what is mounted on them nor over them.
///
/// A child of the engine's goes into a copy of the container's mount namespace and takes one mount after the other away
/// there, those on others first. Of each that is asked for it sends what can then be seen at its place. The container's own
/// mounts stay. unshare(2) CLONE_NEWNS, umount2(2).
final class PeeledMounts {
    private var tops: [Int: CInt] = [:]

    /// - Parameter wanted: ids of directories' mounts.
    init(of process: pid_t, _ lines: [MountLine], wanted: Set<Int>) throws {
        guard !wanted.isEmpty else { return }
        let order: [MountLine] = try MountChanges.order(lines).reversed()
        let pair = try socketPair(CInt(SOCK_SEQPACKET.rawValue))
        switch try cloneProcess(CloneRequest()) {
        case .child:
            do {
                try Self.peel(process, order, wanted, into: pair.second.raw)
                _exit(0)
            } catch {
                try? sendMessage(pair.second.raw, Array("! \(error)".utf8))
                _exit(1)
            }
        case .parent(_, let pidfd):
            close(pair.second.release())
            do { try receive(from: pair.first.raw, wanted) } catch {
                try? pidfd.send(SIGKILL)
                _ = try pidfd.wait()
                throw error
            }
            _ = try pidfd.wait()
        }
    }

    deinit { for top in tops.values { close(top) } }

    subscript(id: Int) -> CInt? { tops[id] }

    private func receive(from socket: CInt, _ wanted: Set<Int>) throws {
        while tops.count < wanted.count {
            let message = try receiveMessage(socket, limit: 4096, descriptors: 1)
            let text = String(decoding: message.bytes, as: UTF8.self)
            guard let top = message.descriptors.first, let id = Int(text), wanted.contains(id) else {
                for descriptor in message.descriptors { close(descriptor) }
                throw CheckpointError(
                    "cannot look at its mounts: \(text.isEmpty ? "the process that does has ended" : text)")
            }
            tops[id] = top
        }
    }

    private static func peel(_ process: pid_t, _ lines: [MountLine], _ wanted: Set<Int>, into socket: CInt) throws {
        _ = SignalMask.blockAll()
        let namespaces = try ["user", "mnt"].map {
            try openAt(AT_FDCWD, "/proc/\(process)/ns/\($0)", O_RDONLY).release()
        }
        let root = try openAt(AT_FDCWD, "/proc/\(process)/root", CLINUX_O_PATH | O_DIRECTORY)
        if try linkTarget("/proc/\(process)/ns/user") != linkTarget("/proc/self/ns/user") {
            // A copy for another user namespace would have its mounts locked together.
            try joinNamespaces(namespaces[0], .user)
        }
        try joinNamespaces(namespaces[1], .mount)
        // Not the namespace's root where the container could not pivot (`--no-pivot`); the copy's is then the same.
        let raw = root.raw
        try system("go into its root") { fchdir(raw) }
        try system("go into its root") { chroot(".") }
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
