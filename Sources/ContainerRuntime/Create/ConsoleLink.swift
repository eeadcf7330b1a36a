import LinuxSystem
import OCISpec

/// The way by which the outer end of a process's terminal leaves the container.
///
/// Both descriptors stay open in the process that is cloned next, whatever becomes of this value there.
struct ConsoleLink {
    let console: Console
    private let outer: CInt?

    /// - Parameter socketPath: who listens there gets the terminal; the runtime itself if nil.
    init(size: ConsoleSize?, socketPath: String?) throws(SystemError) {
        var size = size.map { TerminalSize(rows: UInt16(clamping: $0.height), columns: UInt16(clamping: $0.width)) }
        if let socketPath {
            console = Console(
                size: size, isForeground: false, socket: try connectUnixSocketAtOnce(socketPath).release())
            outer = nil
        } else {
            // The process shall not see another size first.
            if let own = try? TerminalSize(of: 0) { size = own }
            let sockets = try socketPair(CInt(SOCK_STREAM.rawValue))
            console = Console(size: size, isForeground: true, socket: sockets.first.release())
            outer = sockets.second.release()
        }
    }

    /// The terminal's outer end, for the caller to close; nil if it went to somebody else.
    func receiveTerminal() throws(SystemError) -> CInt? {
        close(console.socket)
        guard let outer else { return nil }
        defer { close(outer) }
        let message = try receiveMessage(outer, limit: 128, descriptors: 1)
        guard let terminal = message.descriptors.first else {
            throw SystemError(.invalidArgument, "no terminal from process")
        }
        return terminal
    }
}
