import LinuxSystem
import OCISpec

/// sd_notify(3) for the container's program: it gets a socket of its own, and the runtime tells the service manager
/// when the program is ready. Paths and order are runc's.
package struct NotifySocket: Sendable {
    static let folderName = "notify"
    private static let name = "notify.sock"
    private static let folderInside = "/run/notify"

    /// The service manager's socket, from the runtime's environment.
    private let host: String
    /// In the container's state directory.
    private let folder: String

    /// nil where no service manager listens.
    package init?(host: String?, container: String) {
        guard let host, !host.isEmpty else { return nil }
        self.host = host
        folder = "\(container)/\(Self.folderName)"
    }

    var mount: Mount {
        Mount(
            destination: Self.folderInside, type: "bind", source: folder,
            options: ["bind", "nosuid", "noexec", "nodev", "ro"])
    }

    package var environment: [String] { ["NOTIFY_SOCKET=\(Self.folderInside)/\(Self.name)"] }

    func makeFolder() throws(SystemError) {
        try system("mkdir \(folder)") { mkdir(folder, 0o755) }
        try system("chmod \(folder)") { chmod(folder, 0o755) }
    }

    /// From here on the program can be heard. nil for a container that was created without a socket.
    func listen() throws(SystemError) -> NotifyRelay? {
        do throws(SystemError) {
            let directory = try openAt(AT_FDCWD, folder, CLINUX_O_PATH | O_DIRECTORY | O_NOFOLLOW)
            let path = "/proc/self/fd/\(directory.raw)/\(Self.name)"
            let socket = try bindUnixSocket(path, type: CInt(SOCK_DGRAM.rawValue))
            // Of whatever user the program is.
            try system("chmod \(folder)/\(Self.name)") { chmod(path, 0o777) }
            return NotifyRelay(raw: socket.release(), host: host)
        } catch  where error.errno == .noSuchFileOrDirectory {
            return nil
        }
    }
}

/// Waits for the program's word and passes it on.
struct NotifyRelay: Sendable {
    /// Open until the command ends.
    let raw: CInt
    fileprivate let host: String

    /// Returns when the program is ready, or gone.
    func waitUntilReady(_ process: borrowing Pidfd, pid: pid_t) throws(SystemError) {
        while true {
            var polls = [
                pollfd(fd: raw, events: Int16(POLLIN), revents: 0),
                pollfd(fd: process.raw, events: Int16(POLLIN), revents: 0),
            ]
            try system("poll notify socket") { clinux_poll(&polls, 2, -1) }
            // The last word of a program that is gone counts, too.
            if polls[0].revents != 0, try pass(pid: pid) { return }
            if polls[1].revents != 0 { return }
        }
    }

    /// Takes one message, and passes it on if the program says in it that it is ready.
    ///
    /// - Parameter pid: what the service manager shall watch, if that is not the runtime.
    /// - Returns: whether the program is ready.
    func pass(pid: pid_t?) throws(SystemError) -> Bool {
        let message = try receiveMessage(raw, limit: 4096)
        // The program may send descriptors along, as many as the runtime can have.
        for descriptor in message.descriptors { close(descriptor) }
        let text = String(decoding: message.bytes, as: UTF8.self)
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("READY=") }) else { return false }
        let manager = try connectUnixSocket(host, type: CInt(SOCK_DGRAM.rawValue))
        try sendMessage(manager.raw, Array("\(line)\n".utf8))
        guard let pid else { return true }
        try sendMessage(manager.raw, Array("MAINPID=\(pid)\n".utf8))
        try waitForManager(manager.raw)
        return true
    }

    /// sd_notify_barrier(3): systemd closes the pipe when it has read what came before, at most 30 s from now. Were the
    /// runtime gone by then, the pid might not be believed.
    private func waitForManager(_ manager: CInt) throws(SystemError) {
        let pipe = try makePipe()
        let reader = pipe.first
        do {
            let writer = pipe.second
            try sendMessage(manager, Array("BARRIER=1".utf8), descriptors: [writer.raw])
        }
        var poll = pollfd(fd: reader.raw, events: 0, revents: 0)
        try system("poll service manager") { clinux_poll(&poll, 1, 30_000) }
    }
}
