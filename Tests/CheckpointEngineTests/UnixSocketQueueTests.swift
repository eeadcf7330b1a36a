import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages

/// What an image says of the queues of unix sockets is looked over before anything is made.
@Suite
struct UnixSocketQueueTests {
    private typealias Message = (rights: [UInt32], type: UInt32, count: Int)

    /// The error of a plan with these messages for the socket, or for file 1.
    private func plan(
        _ messages: [Message], to file: UInt32 = 900, type: UInt32 = 1, capabilities: UInt64 = .max & ~(1 << 12)
    ) throws -> String {
        let copy = try ImageCopy()
        try copy.edit("files.img", as: FileEntry.self) { (files: inout [FileEntry]) in
            files.append(
                .with {
                    ($0.type, $0.id) = (.unixsk, 900)
                    $0.usk = .with {
                        ($0.id, $0.ino, $0.type, $0.state) = (900, 77, type, 1)
                        ($0.flags, $0.uflags, $0.backlog, $0.peer, $0.fown) = (0, 0, 0, 0, .none)
                        $0.name = .init()
                        $0.opts = .with { options in
                            (options.soSndbuf, options.soRcvbuf) = (0, 0)
                            (options.soSndTmoSec, options.soSndTmoUsec) = (0, 0)
                            (options.soRcvTmoSec, options.soRcvTmoUsec) = (0, 0)
                        }
                    }
                })
        }
        var image = ImageWriter(.socketQueues)
        for message in messages {
            try image.append(
                SkPacketEntry.with {
                    ($0.idFor, $0.length) = (file, UInt32(message.count))
                    $0.scm = [
                        .with {
                            $0.type = message.type
                            $0.rights = message.rights
                        }
                    ]
                })
            image.append(raw: [UInt8](repeating: 0, count: message.count))
        }
        try copy.put("sk-queues.img", image.bytes)
        var policy = RestorePolicy(
            capabilities: capabilities, noNewPrivileges: false, seccomp: nil, user: 0, groups: [], limits: .most)
        policy.limits.sendBuffer = 10_000
        return copy.plan([UnixSocketQueue.self], policy)
    }

    @Test func filesUnderWay() throws {
        #expect(try plan([([1, 1, 900], 1, 1)]) == "no error")
        #expect(try plan([([4711], 1, 1)]).contains("socket 900: files under way that cannot be"))
        // A stream's are taken with a byte.
        #expect(try plan([([1], 1, 0)]).contains("socket 900: files under way that cannot be"))
        #expect(try plan([([1], 1, 0)], type: 2) == "no error")
        #expect(try plan([([1], 2, 1)]).contains("comes with what cannot be restored"))
        #expect(try plan([(Array(repeating: 1, count: 253), 1, 1)]) == "no error")
        #expect(try plan([(Array(repeating: 1, count: 254), 1, 1)]).contains("comes with what cannot be restored"))
    }

    @Test func messagesOfOtherFiles() throws {
        #expect(try plan([([], 1, 1)], to: 1).contains("file 1 is no unix socket"))
        #expect(try plan([([], 1, 1)], to: 4711).contains("file 4711 is no unix socket"))
    }

    @Test func queuesOfAnyLength() throws {
        #expect(try plan([([], 1, 19_000)]) == "no error")
        #expect(try plan([([], 1, 20_000)]).contains("more than one that this machine makes takes"))
        #expect(try plan(Array(repeating: ([], 1, 0), count: 40)).contains("40 messages"))
        #expect(try plan([([], 1, 20_000)], capabilities: .max) == "no error")
        #expect(try plan([([], 1, 256 << 10 + 1)], capabilities: .max).contains("is too long"))
    }

    /// A socket may be in its own queue.
    @Test func whatIsUnderWayToASocketUnderWay() throws {
        let copy = try ImageCopy()
        var image = ImageWriter(.socketQueues)
        for (socket, rights) in [(1, [2, 1]), (2, [3]), (4, [5])] as [(UInt32, [UInt32])] {
            try image.append(
                SkPacketEntry.with {
                    ($0.idFor, $0.length) = (socket, 0)
                    $0.scm = SocketMessage.control(rights: rights)
                })
        }
        try copy.put("sk-queues.img", image.bytes)
        #expect(try copy.images().filesUnderWay(to: [1, 7]) == [1, 2, 3])
    }
}
