import LinuxSystem
import Logging
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages

/// What an image says of TCP connections that nobody has accepted is looked over before anything is made.
@Suite struct QueuedConnectionTests {
    private static func socket(_ id: UInt32, state: UInt32) -> InetSkEntry {
        .with {
            ($0.id, $0.ino, $0.family, $0.type, $0.proto, $0.state) = (id, id, 2, 1, 6, state)
            ($0.srcPort, $0.dstPort, $0.flags, $0.backlog) = (80, state == 10 ? 0 : 4000 + id, 2, state == 10 ? 2 : 0)
            ($0.srcAddr, $0.dstAddr) = ([state == 10 ? 0 : 1], [state == 10 ? 0 : 2])
            $0.fown = .none
            $0.opts = .with { options in
                (options.soSndbuf, options.soRcvbuf) = (1 << 16, 1 << 16)
                (options.soSndTmoSec, options.soSndTmoUsec, options.soRcvTmoSec, options.soRcvTmoUsec) = (0, 0, 0, 0)
            }
        }
    }

    /// The error of a plan with a listening socket (900), at which these wait, and three connections (901 to 903).
    private func plan(
        _ waiting: [UInt32], at listener: UInt32 = 900, notes: Int = 1, sent: UInt32 = 0,
        _ change: (inout InetSkEntry) -> Void = { _ in }, listening: (inout InetSkEntry) -> Void = { _ in },
        flag: WritableKeyPath<DumpOptions, Bool>? = \.tcpEstablished
    ) throws -> String {
        let copy = try ImageCopy()
        var sockets = [Self.socket(900, state: 10)] + (901...903).map { Self.socket($0, state: 1) }
        listening(&sockets[0])
        change(&sockets[1])
        try copy.edit("files.img", as: FileEntry.self) { (files: inout [FileEntry]) in
            for socket in sockets {
                files.append(
                    .with {
                        ($0.type, $0.id) = (.inetsk, socket.id)
                        $0.isk = socket
                    })
            }
        }
        for socket in sockets.dropFirst() {
            var image = ImageWriter(.tcpStream, socket.ino)
            try image.append(
                TcpStreamEntry.with {
                    ($0.inqLen, $0.inqSeq, $0.outqLen, $0.outqSeq) = (1, 100, sent, 200)
                    ($0.optMask, $0.sndWscale, $0.mssClamp, $0.unsqLen) = (7, 7, 1460, 0)
                })
            image.append(raw: [UInt8](repeating: 1, count: 1 + Int(sent)))
            try copy.put("tcp-stream-\(String(socket.ino, radix: 16)).img", image.bytes)
        }
        let entry = SocketOptionEntry(file: listener, level: 6, name: -5, value: [UInt8](integers: waiting))
        try copy.put(SocketOptionEntry.fileName, [[UInt8]](repeating: entry.bytes, count: notes).flatMap { $0 })
        var options = DumpOptions()
        if let flag { options[keyPath: flag] = true }
        var policy = RestorePolicy(
            capabilities: .max & ~(1 << 12), noNewPrivileges: false, seccomp: nil, user: 0, groups: [], limits: .most)
        (policy.limits.sendBuffer, policy.limits.receiveBuffer) = (1 << 20, 1 << 20)
        return failure {
            _ = try Restore(
                images: try copy.images(), policy: policy, options: options,
                logger: Logger(label: "", factory: { _ in SwiftLogNoOpLogHandler() }))
        }
    }

    @Test func connectionsInAQueue() throws {
        #expect(try plan([901, 902]) == "no error")
        #expect(try plan([901, 902, 903]) == "no error")
        #expect(try plan([901]) { $0.state = 8 } == "no error")
        #expect(try plan([901], flag: \.tcpClose) == "no error")
        #expect(try plan([901], flag: nil).contains("--tcp-established"))
    }

    @Test func connectionsThatCannotBeInOne() throws {
        #expect(try plan([901, 902, 901]).contains("socket 901: is no connection that can wait at socket 900"))
        #expect(try plan([4711]).contains("socket 4711: is no connection"))
        #expect(try plan([900]).contains("socket 900: is no connection"))
        #expect(try plan([901]) { $0.state = 4 }.contains("socket 901: is no connection"))
        #expect(try plan([901]) { $0.srcPort = 22 }.contains("socket 901: is no connection"))
        let other = try plan([901]) { ($0.family, $0.srcAddr, $0.dstAddr) = (10, [0, 0, 0, 1], [0, 0, 0, 2]) }
        #expect(other.contains("socket 901: is no connection"), "\(other)")
        #expect(try plan([901], listening: { $0.srcAddr = [7] }).contains("socket 901: is no connection"))
        #expect(try plan([901], sent: 1).contains("socket 901: nobody has accepted it, and it has sent something"))
    }

    @Test func queuesThatAreNone() throws {
        #expect(try plan([902], at: 901).contains("socket 901: connections wait at it, more than can"))
        let many = try plan([901, 902, 903], listening: { $0.backlog = 1 })
        #expect(many.contains("socket 900: connections wait at it"), "\(many)")
        #expect(try plan([901], notes: 2).contains("socket 900: connections wait at it"))
    }
}
