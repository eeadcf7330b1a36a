import CheckpointImages
import LinuxSystem

/// What sockets whose bytes come in packets have in common.
enum Datagrams {
    /// What waits in a socket or in its error queue, and what is not sent yet, would be lost.
    ///
    /// - Parameter keepsQueue: whether somebody else looks after what it has received.
    static func refuse(_ file: borrowing OpenFile, _ what: String, keepsQueue: Bool = false) throws {
        let socket = file.descriptor.raw
        var state = pollfd(fd: socket, events: 0, revents: 0)
        try system("poll socket") { poll(&state, 1, 0) }
        guard state.revents & Int16(POLLERR) == 0 else {
            throw CheckpointError(
                passing: "\(what), has an error that its program is yet to read (or a message, IP_RECVERR), which "
                    + "cannot be checkpointed; let it read that")
        }
        guard try keepsQueue || SocketOptions.memory(socket).received == 0 else {
            throw CheckpointError(
                passing: "\(what), has datagrams that nobody has received yet, which cannot be checkpointed yet; let "
                    + "its program receive them")
        }
        // A device may still have what was sent a moment ago.
        for attempt in 0... {
            if try SocketOptions.memory(socket).sent == 0 { return }
            guard attempt < 20 else { break }
            usleep(10_000)
        }
        throw CheckpointError(
            "\(what), holds data that it has not sent (UDP_CORK, MSG_MORE, or no neighbour answers), which cannot be "
                + "checkpointed; let its program send it")
    }

    /// What poll(2) tells of one that sock_diag does not list: 1 for receiving (POLLRDHUP), 3 for both directions.
    static func shutdown(of file: borrowing OpenFile) throws -> UInt8 {
        var state = pollfd(fd: file.descriptor.raw, events: 0x2000, revents: 0)
        try system("poll socket") { poll(&state, 1, 0) }
        return state.revents & Int16(POLLHUP) != 0 ? 3 : state.revents & 0x2000 != 0 ? 1 : 0
    }

    /// ENOTCONN of one that is not connected, which is shut down all the same.
    static func shutDown(_ wanted: InetSkEntry, _ socket: CInt) throws {
        guard wanted.hasShutdown, wanted.shutdown != .none else { return }
        let how = CInt(wanted.shutdown.rawValue - 1)
        guard LinuxSystem.shutdown(socket, how) != 0, Errno.current.rawValue != ENOTCONN else { return }
        throw SystemError(.current, "shut down socket")
    }
}
