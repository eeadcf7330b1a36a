import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages

/// What an image says of unix sockets with names is looked over before anything is made.
@Suite struct NamedUnixSocketTests {
    /// Datagram sockets with names, by numbers, each connected to another or to none (0).
    private func boxes(_ peers: [UInt32: UInt32]) throws -> FileTable {
        let files = FileTable()
        for (id, peer) in peers {
            let socket = UnixSkEntry.with {
                ($0.id, $0.ino, $0.type, $0.state, $0.flags, $0.uflags, $0.backlog) = (id, id, 2, 7, 0, 0, 0)
                ($0.peer, $0.fown, $0.name) = (peer, .none(signal: 0), .init([0, UInt8(id)]))
                $0.opts = .with {
                    ($0.soSndbuf, $0.soRcvbuf, $0.soSndTmoSec, $0.soSndTmoUsec) = (0, 0, 0, 0)
                    ($0.soRcvTmoSec, $0.soRcvTmoUsec) = (0, 0)
                }
            }
            try files.add(.with { ($0.type, $0.id, $0.usk) = (.unixsk, id, socket) })
        }
        return files
    }

    private func order(_ peers: [UInt32: UInt32]) throws -> [UInt32] {
        try NamedUnixSocket.connections(boxes(peers)).map(\.sender)
    }

    @Test func whoIsConnectedFirst() throws {
        #expect(try order([1: 0, 2: 0]) == [])
        #expect(try order([1: 2, 2: 3, 3: 0]) == [1, 2])
        #expect(try order([3: 2, 2: 1, 1: 0]) == [3, 2])
        #expect(try order([1: 1]) == [1])
        #expect(try Set(order([1: 2, 2: 1])) == [1, 2])
        // Whoever is connected lets only his peer in.
        let both = try order([1: 2, 2: 1, 3: 1, 4: 1])
        let places = [3, 4, 1].map { both.firstIndex(of: $0) ?? -1 }
        #expect(both.count == 4 && places[0] < places[2] && places[1] < places[2])
    }

    @Test func connectionsThatCannotBe() throws {
        #expect(failure { _ = try order([1: 2, 2: 3, 3: 1]) }.contains("connected in a ring"))
        #expect(failure { _ = try order([1: 7]) }.contains("socket 1: is connected to socket 7, which has no name"))
    }
}
