import Testing

@testable import LinuxSystem

/// Lengths within messages are taken for what they are: claims.
@Suite struct NetlinkTests {
    private let message = NetlinkMessage(
        type: 16,
        body: [1, 2, 3, 4] + NetlinkAttribute(type: 3, value: [5, 6, 7]).bytes
            + NetlinkAttribute(type: 4, UInt32(8)).bytes)

    @Test func whatIsWrittenIsRead() throws {
        let bytes = message.bytes + message.bytes
        let read = try #require(NetlinkMessage.parse(bytes[...]))
        #expect(read == [message, message])
        #expect(
            read[0].attributes(after: 4) == [
                NetlinkAttribute(type: 3, value: [5, 6, 7]), NetlinkAttribute(type: 4, value: [8, 0, 0, 0]),
            ])
        #expect(read[0].body.integer(UInt32.self, at: 0) == 0x0403_0201)
    }

    @Test func cutOffAnywhereItIsRefused() {
        for count in 1..<message.bytes.count { #expect(NetlinkMessage.parse(message.bytes[..<count]) == nil) }
    }

    @Test(arguments: [UInt8(0), 15, 200, 255])
    func falseLengthsAreRefused(length: UInt8) {
        var bytes = message.bytes
        bytes[0] = length
        #expect(NetlinkMessage.parse(bytes[...]) == nil)
    }

    @Test(arguments: [UInt8(0), 3, 50, 255])
    func attributesEndWhereOneDoesNotFit(length: UInt8) {
        var changed = message
        changed.body[4 + 8] = length
        #expect(changed.attributes(after: 4) == [NetlinkAttribute(type: 3, value: [5, 6, 7])])
        #expect(changed.attributes(after: 1000).isEmpty)
    }

    /// Whoever has CAP_NET_ADMIN in the network namespace can send to any socket of netlink there.
    @Test(.enabled(if: geteuid() == 0)) func onlyTheKernelIsHeard() throws {
        let route: CInt = 0
        let victim = try NetlinkSocket(route, name: "rtnetlink")
        let getLink: UInt16 = 18
        let body = [UInt8](repeating: 0, count: 16)
        let names = try victim.ask("list interfaces", type: getLink, isDump: true, body).count
        #expect(names > 0)
        var address = sockaddr_nl()
        var size = socklen_t(MemoryLayout<sockaddr_nl>.size)
        try withUnsafeMutableBytes(of: &address) { bytes in
            let pointer = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self)
            try system("getsockname") { getsockname(victim.socket.raw, pointer, &size) }
        }
        let attacker = try NetlinkSocket(route, name: "rtnetlink")
        for forged in [NetlinkMessage(type: 2, body: [0xff, 0xff, 0xff, 0xff]), NetlinkMessage(type: 3, body: [])] {
            try withUnsafeBytes(of: &address) { bytes in
                let pointer = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self)
                try system("send") { sendto(attacker.socket.raw, forged.bytes, forged.bytes.count, 0, pointer, size) }
            }
            #expect(try victim.ask("list interfaces", type: getLink, isDump: true, body).count == names)
        }
    }

    @Test func numbersNeedTheirBytes() {
        #expect([UInt8]().integer(UInt8.self, at: 0) == nil)
        #expect([UInt8](repeating: 0xff, count: 4).integer(CInt.self, at: 0) == -1)
        #expect([UInt8](repeating: 1, count: 4).integer(UInt32.self, at: 1) == nil)
        #expect([UInt8](repeating: 1, count: 4).integer(UInt32.self, at: -1) == nil)
    }
}
