import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages

/// What an image says of connections that wait to be accepted is looked over before anything is made.
@Suite struct WaitingConnectionTests {
    private static func socket(_ id: UInt32, state: UInt32, peer: UInt32 = 0, name: String = "") -> UnixSkEntry {
        .with {
            ($0.id, $0.ino, $0.type, $0.state, $0.flags, $0.uflags, $0.backlog) = (id, id, 1, state, 0, 0, 5)
            ($0.peer, $0.fown, $0.name) = (peer, .none, .init(Array(name.utf8)))
            ($0.opts.soSndbuf, $0.opts.soRcvbuf) = (0, 0)
            ($0.opts.soSndTmoSec, $0.opts.soSndTmoUsec, $0.opts.soRcvTmoSec, $0.opts.soRcvTmoUsec) = (0, 0, 0, 0)
        }
    }

    /// The error of a plan with a socket at which these wait, and two that say that they do.
    private func plan(
        _ waiting: [UInt32], at listener: UInt32 = 900, _ change: (inout UnixSkEntry) -> Void = { _ in }
    ) throws -> String {
        let copy = try ImageCopy()
        var client = Self.socket(901, state: 1, peer: 900)
        change(&client)
        let sockets = [
            Self.socket(900, state: 10, name: "/run/socket"), client, Self.socket(902, state: 1, peer: 900),
            Self.socket(903, state: 1),
        ]
        try copy.edit("files.img", as: FileEntry.self) { (files: inout [FileEntry]) in
            for socket in sockets {
                files.append(
                    .with {
                        ($0.type, $0.id) = (.unixsk, socket.id)
                        $0.usk = socket
                    })
            }
        }
        let entry = SocketOptionEntry(
            file: listener, level: SOL_SOCKET, name: -3, value: [UInt8](integers: waiting))
        try copy.put(SocketOptionEntry.fileName, entry.bytes)
        return failure { try Rehearsal(copy).run() }
    }

    @Test func connectionsThatWait() throws {
        #expect(try plan([901, 902]) == "no error")
        #expect(try plan([902, 901]) == "no error")
        #expect(try plan([902, 0]).contains("socket 0 does not wait at it"))
        #expect(try plan([902]) == "no error")
        #expect(try plan([901, 902, 901]).contains("socket 901 does not wait at it, or twice"))
        #expect(try plan([903]).contains("socket 903 does not wait at it"))
        #expect(try plan([4711]).contains("socket 4711 does not wait at it"))
        #expect(try plan([], at: 903).contains("connections wait at it, but it does not listen"))
        #expect(try plan([UInt32](repeating: 901, count: 1 << 16 + 1)).contains("are no list of connections"))
        #expect(try plan([901]) { $0.type = 2 }.contains("is no connection that can wait at socket 900"))
        #expect(try plan([901]) { $0.state = 10 }.contains("is no connection that can wait"))
        #expect(try plan([901]) { $0.name = .init([0, 65]) }.contains("is no connection that can wait"))
    }
}
