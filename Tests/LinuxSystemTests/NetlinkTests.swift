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

    @Test func numbersNeedTheirBytes() {
        #expect([UInt8]().integer(UInt8.self, at: 0) == nil)
        #expect([UInt8](repeating: 0xff, count: 4).integer(CInt.self, at: 0) == -1)
        #expect([UInt8](repeating: 1, count: 4).integer(UInt32.self, at: 1) == nil)
        #expect([UInt8](repeating: 1, count: 4).integer(UInt32.self, at: -1) == nil)
    }
}
