import LinuxSystem

/// Opens for the first process of a container what it mounts of the host's.
///
/// In a user namespace it is nobody to the host, and may not even reach its own root. So a process with the runtime's
/// rights joins its mount namespace and opens for it, on request: in that namespace, since the copies of the host's mounts
/// in there keep the locks on their attributes (mount_namespaces(7)), which copies of the originals would not have.
enum MountSources {
    /// Who asks has the rights itself.
    case own
    /// The socket to the process that opens.
    case asking(CInt)

    /// A detached copy of the mount at `path`.
    ///
    /// - Parameter namespace: the user namespace whose maps the copy shall apply.
    func tree(_ path: String, recursive: Bool = false, map: IDMappedMount? = nil) throws(SystemError) -> OwnedDescriptor
    {
        try get(Request(path: path, isTree: true, isRecursive: recursive, mapsAll: map?.isRecursive ?? false), map)
    }

    /// The file or directory itself, to mount upon.
    func place(_ path: String) throws(SystemError) -> OwnedDescriptor { try get(Request(path: path), nil) }

    /// Nothing more will be asked for.
    func close() {
        if case .asking(let socket) = self { LinuxSystem.close(socket) }
    }

    private func get(_ request: Request, _ map: IDMappedMount?) throws(SystemError) -> OwnedDescriptor {
        switch self {
        case .own: return try request.open(map?.namespace)
        case .asking(let socket):
            try sendMessage(socket, request.bytes, descriptors: map.map { [$0.namespace] } ?? [])
            let answer = try receiveMessage(socket, limit: Request.longest, descriptors: 1)
            if let descriptor = answer.descriptors.first { return OwnedDescriptor(descriptor) }
            throw Self.error(answer.bytes)
        }
    }

    private static func error(_ answer: [UInt8]) -> SystemError {
        let parts = String(decoding: answer, as: UTF8.self).split(separator: " ", maxSplits: 1)
        guard parts.count == 2, let number = CInt(parts[0]) else {
            return SystemError(.brokenPipe, "ask for what is to be mounted")
        }
        return SystemError(Errno(rawValue: number), String(parts[1]))
    }

    fileprivate struct Request {
        var path: String
        var isTree = false
        var isRecursive = false
        var mapsAll = false
        static let longest = Int(PATH_MAX) + 3

        func open(_ namespace: CInt?) throws(SystemError) -> OwnedDescriptor {
            // A rootfs is no link; it was looked at before.
            if !isTree { return try openAt(AT_FDCWD, path, CLINUX_O_PATH | O_NOFOLLOW) }
            let tree = try cloneMount(at: AT_FDCWD, path, recursive: isRecursive)
            guard let namespace else { return tree }
            do throws(SystemError) {
                try changeMount(tree.raw, MountAttributeChange(), recursive: mapsAll, userNamespace: namespace)
            } catch {
                throw SystemError(error.errno, "apply uidMappings and gidMappings to the file system at \(path)")
            }
            return tree
        }
    }
}

extension MountSources {
    /// The process that opens, and the sockets to it.
    struct Server: Sendable {
        private let inner: CInt
        private let outer: CInt

        init() throws(RuntimeError) {
            let sockets = try launching { () throws(SystemError) in try socketPair(CInt(SOCK_SEQPACKET.rawValue)) }
            outer = sockets.first.release()
            inner = sockets.second.release()
        }

        /// The first process's side.
        func client() -> MountSources {
            LinuxSystem.close(outer)
            return .asking(inner)
        }

        /// The runtime's side: the new process ends when nobody can ask any more, and nobody waits for that.
        ///
        /// - Parameter process: whose mount namespace it works in.
        func start(in process: borrowing Pidfd, closing channel: CInt) throws(SystemError) {
            let result = try cloneProcess(CloneRequest())
            if case .parent = consume result {
                LinuxSystem.close(outer)
                LinuxSystem.close(inner)
                return
            }
            LinuxSystem.close(inner)
            LinuxSystem.close(channel)
            CallingProcess.setName("stasis:sources")
            serve(process)
        }

        private func serve(_ process: borrowing Pidfd) -> Never {
            var failure: SystemError?
            do throws(SystemError) { try joinNamespaces(process.raw, .mount) } catch { failure = error }
            while let message = try? receiveMessage(outer, limit: Request.longest, descriptors: 1),
                let request = Request(message.bytes)
            {
                do throws(SystemError) {
                    if let failure { throw failure }
                    let opened = try request.open(message.descriptors.first)
                    try sendMessage(outer, [0], descriptors: [opened.raw])
                } catch {
                    try? sendMessage(outer, Array("\(error.errno.rawValue) \(error.attempt)".utf8))
                }
                for descriptor in message.descriptors { LinuxSystem.close(descriptor) }
            }
            _exit(0)
        }
    }
}

extension MountSources.Request {
    fileprivate init?(_ bytes: [UInt8]) {
        guard bytes.count > 3 else { return nil }
        path = String(decoding: bytes[3...], as: UTF8.self)
        (isTree, isRecursive, mapsAll) = (bytes[0] != 0, bytes[1] != 0, bytes[2] != 0)
    }

    fileprivate var bytes: [UInt8] { [isTree, isRecursive, mapsAll].map { $0 ? 1 : 0 } + Array(path.utf8) }
}
