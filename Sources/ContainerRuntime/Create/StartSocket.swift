import LinuxSystem

/// Where the first process of a created container waits for `start`: a socket in the container's state directory, that
/// only the runtime's user can reach. What goes wrong after the start comes back through it.
struct StartSocket: Sendable {
    static let name = "start.socket"

    let raw: CInt

    /// Listens before there is a process, so that the process can wait without a look at the host's files.
    ///
    /// - Parameter directory: the container's.
    init(in directory: String) throws(RuntimeError) {
        raw = try launching { () throws(SystemError) in
            let folder = try openAt(AT_FDCWD, directory, CLINUX_O_PATH | O_DIRECTORY)
            return try listenOnUnixSocket(Self.path(in: folder.raw), type: CInt(SOCK_SEQPACKET.rawValue)).release()
        }
    }

    /// Waits until `start` gives the word.
    func wait() throws(RuntimeError) -> InitChannel {
        while true {
            let channel = InitChannel(
                try launching("wait for start") { () throws(SystemError) in try acceptConnection(raw) },
                isConfined: true)
            // A command that ended before it said anything started nothing.
            guard try channel.receive() == .proceed else { continue }
            close(raw)
            return channel
        }
    }

    /// `start`'s side. Fails at once if nobody waits.
    static func connect(in directory: String) throws(RuntimeError) -> InitChannel {
        InitChannel(
            try launching("start container") { () throws(SystemError) in
                let folder = try openAt(AT_FDCWD, directory, CLINUX_O_PATH | O_DIRECTORY)
                return try connectUnixSocket(path(in: folder.raw), type: CInt(SOCK_SEQPACKET.rawValue))
            })
    }

    /// Whether the process waits still. It takes a connection that says nothing for none.
    static func isOpen(in directory: String) -> Bool {
        do throws(SystemError) {
            let folder = try openAt(AT_FDCWD, directory, CLINUX_O_PATH | O_DIRECTORY)
            let type = CInt(SOCK_SEQPACKET.rawValue | SOCK_NONBLOCK.rawValue)
            _ = try connectUnixSocket(path(in: folder.raw), type: type).raw
            return true
        } catch {
            // Others ask, too, and it is stopped.
            return error.errno == .resourceTemporarilyUnavailable
        }
    }

    /// Short whatever the state directory is called: an address holds 107 bytes. unix(7).
    private static func path(in directory: CInt) -> String { "/proc/self/fd/\(directory)/\(name)" }
}
