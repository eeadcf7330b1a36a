import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages

/// `sockets.stasis` is data from anywhere, too.
@Suite
struct SocketOptionTests {
    private static let socket = FileEntry.with {
        $0.type = .unixsk
        $0.id = 7
        $0.usk = .init()
    }
    private static let unprivileged = RestorePolicy(
        capabilities: 0, noNewPrivileges: true, seccomp: nil, user: 1000, groups: [100], limits: .most)

    private static func peer(_ numbers: UInt32..., groups: [UInt32] = []) -> [SocketOptionEntry] {
        func bytes(_ numbers: [UInt32]) -> [UInt8] { numbers.flatMap { n in withUnsafeBytes(of: n) { Array($0) } } }
        return [
            SocketOptionEntry(file: 7, level: SOL_SOCKET, name: 17, value: bytes(numbers)),
            SocketOptionEntry(file: 7, level: SOL_SOCKET, name: 59, value: bytes(groups)),
        ]
    }

    private func check(_ entries: [SocketOptionEntry], _ policy: RestorePolicy = unprivileged) -> String {
        failure { try policy.check(entries, of: Self.socket, .own) }
    }

    @Test func entriesAreReadAsTheyWereWritten() throws {
        let entries = [
            SocketOptionEntry(file: 3, level: 6, name: 13, value: Array("reno".utf8)),
            SocketOptionEntry(file: 7, level: SOL_SOCKET, name: 42, value: [1, 0, 0, 0]),
            SocketOptionEntry(file: 3, level: 0, name: 4, value: []),
        ]
        let bytes = entries.flatMap(\.bytes)
        #expect(try SocketOptionEntry.parse(bytes) == [3: [entries[0], entries[2]], 7: [entries[1]]])
        for count in 1..<bytes.count where ![20, 40].contains(count) {
            #expect(failure { _ = try SocketOptionEntry.parse(Array(bytes[..<count])) }.contains("cut off at byte"))
        }
    }

    @Test func nobodyPassesForSomebodyWhomTheConfigurationDoesNotMake() throws {
        #expect(check(Self.peer(1, 1000, 100)) == "no error")
        #expect(check(Self.peer(1, 0, 100)).contains("user 0's, whom config.json does not give"))
        #expect(check(Self.peer(1, 1000, 0)).contains("group 0's, which config.json does not give"))
        #expect(check(Self.peer(1, 1000, 100, groups: [4])).contains("group 4's, which config.json does not give"))
        let sender = MessageSender(index: 0, SenderCredentials(process: 1, user: 0, group: 100)).entry(of: 7)
        #expect(check([sender]).contains("user 0's, whom config.json does not give"))
        // CAP_SETUID and CAP_SETGID.
        let free = RestorePolicy(
            capabilities: 0xc0, noNewPrivileges: true, seccomp: nil, user: 1000, groups: [100], limits: .most)
        #expect(check(Self.peer(1, 0, 0, groups: [4]) + [sender], free) == "no error")
    }

    @Test func onlyOptionsOfTheTableAreSet() throws {
        let passSecurity = SocketOptionEntry(file: 7, level: SOL_SOCKET, name: 34, value: [1, 0, 0, 0])
        #expect(check([passSecurity]) == "no error")
        // SO_ATTACH_BPF; one of TCP's; one that is too long.
        for (level, name, count) in [(SOL_SOCKET, 50, 4), (6, 7, 4), (SOL_SOCKET, 34, 65)] as [(CInt, CInt, Int)] {
            let entry = SocketOptionEntry(
                file: 7, level: level, name: name, value: Array(repeating: 0, count: count))
            #expect(check([entry]) == "option \(level)/\(name) is none that can be restored")
        }
        #expect(
            failure { try Self.unprivileged.check([passSecurity], of: nil, .own) } == "is no socket of files.img")
    }

    @Test func credentialsThatAreCutOff() {
        #expect(check(Self.peer(1, 1000)).contains("credentials of 8 bytes"))
        let sender = SocketOptionEntry(file: 7, level: SOL_SOCKET, name: -1, value: [0])
        #expect(check([sender]).contains("a sender of 1 bytes"))
    }

    @Test(arguments: [0, 4, 113]) func namesThatNoSenderHas(count: Int) {
        let bytes = [UInt8](repeating: 0x78, count: count)
        let origin = SocketOptionEntry(file: 7, level: SOL_SOCKET, name: -2, value: bytes)
        #expect(check([origin]).contains("a message's origin of \(count) bytes"))
        #expect(check([MessageOrigin(index: 0, name: Array("/run/x".utf8)).entry(of: 7)]) == "no error")
    }
}
