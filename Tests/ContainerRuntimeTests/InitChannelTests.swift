import LinuxSystem
import Testing

@testable import ContainerRuntime

@Suite struct InitChannelTests {
    /// A process that dies with a message unread makes the other end see a reset before the process's own words.
    @Test func lastWordsOutliveAnUnreadMessage() throws {
        let sockets = try socketPair(CInt(SOCK_SEQPACKET.rawValue))
        let runtime = InitChannel(sockets.first)
        do {
            let process = InitChannel(sockets.second)
            try runtime.send(.proceed)
            try process.send(.failed("no such file"))
        }
        #expect(try runtime.receive() == .failed("no such file"))
        #expect(try runtime.receive() == nil)
    }

    @Test func networkMessageIsUnderstood() {
        #expect(InitMessage(InitMessage.network.bytes) == .network)
    }
}
