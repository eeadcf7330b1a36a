import LinuxSystem
import Logging
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages

/// What an image says of TCP connections is looked over before anything is made.
@Suite
struct TCPConnectionTests {
    /// The error of a plan with one connection.
    private func plan(
        capabilities: UInt64 = .max & ~(1 << 12), flag: WritableKeyPath<DumpOptions, Bool>? = \.tcpEstablished,
        _ change: (inout InetSkEntry, inout TcpStreamEntry, inout [UInt8]) -> Void = { _, _, _ in }
    ) throws -> String {
        let copy = try ImageCopy()
        var socket = InetSkEntry.with {
            ($0.id, $0.ino, $0.family, $0.type, $0.proto, $0.state) = (900, 0xabc, 2, 1, 6, 1)
            ($0.srcPort, $0.dstPort, $0.flags, $0.backlog) = (80, 4000, 2, 0)
            ($0.srcAddr, $0.dstAddr) = ([1], [2])
            $0.fown = .none
            $0.opts = .with { options in
                (options.soSndbuf, options.soRcvbuf) = (1 << 16, 1 << 16)
                (options.soSndTmoSec, options.soSndTmoUsec, options.soRcvTmoSec, options.soRcvTmoUsec) = (0, 0, 0, 0)
            }
        }
        var stream = TcpStreamEntry.with {
            ($0.inqLen, $0.inqSeq, $0.outqLen, $0.outqSeq) = (3, 100, 2, 200)
            ($0.optMask, $0.sndWscale, $0.mssClamp, $0.unsqLen) = (7, 7, 1460, 1)
        }
        var queues: [UInt8] = [1, 2, 3, 4, 5]
        change(&socket, &stream, &queues)
        try copy.edit("files.img", as: FileEntry.self) { (files: inout [FileEntry]) in
            files.append(
                .with {
                    ($0.type, $0.id) = (.inetsk, 900)
                    $0.isk = socket
                })
        }
        var image = ImageWriter(.tcpStream, UInt32(0xabc))
        try image.append(stream)
        image.append(raw: queues)
        try copy.put("tcp-stream-abc.img", image.bytes)
        var options = DumpOptions()
        if let flag { options[keyPath: flag] = true }
        var policy = RestorePolicy(
            capabilities: capabilities, noNewPrivileges: false, seccomp: nil, user: 0, groups: [], limits: .most)
        (policy.limits.sendBuffer, policy.limits.receiveBuffer) = (1 << 20, 1 << 20)
        return failure {
            _ = try Restore(
                images: try copy.images(), policy: policy, options: options,
                logger: Logger(label: "", factory: { _ in SwiftLogNoOpLogHandler() }))
        }
    }

    @Test func aConnectionNeedsAFlag() throws {
        #expect(try plan() == "no error")
        #expect(try plan(flag: \.tcpClose) == "no error")
        let refusal = try plan(flag: nil)
        #expect(refusal.contains("socket 900") && refusal.contains("--tcp-established"), "\(refusal)")
        #expect(refusal.contains("from 1.0.0.0:80 to 2.0.0.0:4000"), "\(refusal)")
    }

    @Test func addressesThatAreNone() throws {
        #expect(try plan { socket, _, _ in socket.srcAddr = [] }.contains("an address of 0 words"))
        #expect(try plan { socket, _, _ in socket.dstAddr = [1, 2, 3, 4] }.contains("an address of 4 words"))
        #expect(try plan { socket, _, _ in socket.dstPort = 70_000 }.contains("port 70000"))
        #expect(try plan { socket, _, _ in socket.srcPort = 0 }.contains("is none"))
        #expect(
            try plan { socket, _, _ in
                socket.family = UInt32(AF_INET6)
                socket.srcAddr = [0, 0, UInt32(0xffff).bigEndian, 1]
                socket.dstAddr = [0, 0, 0, 1]
            }.contains("is none"))
    }

    @Test func onlyMPTCPSocketsWithoutAPeer() throws {
        for (state, shutdown) in [(1, SkShutdown.none), (8, .none), (7, .both)] as [(UInt32, SkShutdown)] {
            let refusal = try plan { socket, _, _ in
                (socket.proto, socket.state, socket.shutdown) = (262, state, shutdown)
            }
            #expect(refusal.contains("socket 900: an MPTCP connection"), "\(refusal)")
        }
        for state: UInt32 in [7, 10] {
            #expect(try plan(flag: nil) { socket, _, _ in (socket.proto, socket.state) = (262, state) } == "no error")
        }
    }

    @Test func queuesBeyondThoseOfASocket() throws {
        #expect(try plan { _, stream, _ in stream.unsqLen = 3 }.contains("3 of 2 bytes unsent"))
        #expect(try plan { _, stream, _ in stream.sndWscale = 15 }.contains("scales that TCP has not"))
        #expect(try plan { _, _, queues in queues.removeLast() } != "no error")
        let much: (inout InetSkEntry, inout TcpStreamEntry, inout [UInt8]) -> Void = { _, stream, queues in
            stream.inqLen = 1 << 20 + 1
            queues = [UInt8](repeating: 0, count: 1 << 20 + 3)
        }
        #expect(try plan(much).contains("raise net.ipv4.tcp_rmem"))
        #expect(try plan(capabilities: .max, much) == "no error")
    }

    @Test func aConnectionWithoutItsImage() throws {
        #expect(try plan { socket, _, _ in socket.ino = 1 }.contains("tcp-stream-1.img"))
        #expect(try plan(flag: \.tcpClose) { socket, _, _ in socket.ino = 1 } == "no error")
    }
}
