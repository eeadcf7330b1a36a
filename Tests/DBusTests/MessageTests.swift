import Testing

@testable import DBus

@Suite struct MessageTests {
    /// The call's bytes as libdbus lays them out: fixed header, fields on boundaries of eight, then the body.
    @Test func bytesOfACall() throws {
        let call = Message(
            .call, serial: 1, fields: [.path: .objectPath("/a"), .member: .string("B")], body: [.uint32(7)])
        #expect(
            call.encoded() == [
                UInt8(ascii: "l"), 1, 0, 1, 4, 0, 0, 0, 1, 0, 0, 0, 39, 0, 0, 0,
                1, 1, UInt8(ascii: "o"), 0, 2, 0, 0, 0, UInt8(ascii: "/"), UInt8(ascii: "a"), 0, 0, 0, 0, 0, 0,
                3, 1, UInt8(ascii: "s"), 0, 1, 0, 0, 0, UInt8(ascii: "B"), 0, 0, 0, 0, 0, 0, 0,
                8, 1, UInt8(ascii: "g"), 0, 1, UInt8(ascii: "u"), 0, 0,
                7, 0, 0, 0,
            ])
    }

    static let values: [DBusValue] = [
        .byte(200), .boolean(true), .int16(-2), .uint16(65_535), .int32(-70_000), .uint32(.max), .int64(.min),
        .uint64(.max), .double(-0.5), .string("naïve"), .string(""), .objectPath("/org/x"), .signature("a(sv)"),
        .array(of: "t", []), .array(of: "y", [.byte(1), .byte(2)]), .structure([.byte(1), .uint64(2), .string("x")]),
        .array(
            of: "(sv)",
            [
                .structure([.string("PIDs"), .variant(.array(of: "u", [.uint32(12)]))]),
                .structure([.string("Slice"), .variant(.string("a.slice"))]),
                .structure([
                    .string("DeviceAllow"),
                    .variant(.array(of: "(ss)", [.structure([.string("char-*"), .string("m")])])),
                ]),
            ]),
    ]

    @Test(arguments: values) func valuesComeBack(_ value: DBusValue) throws {
        // Also where alignment is not natural.
        for before in [[], [DBusValue.byte(1)], [.uint32(1)]] {
            let message = Message(.reply, serial: 9, fields: [.replySerial: .uint32(3)], body: before + [value])
            let bytes = message.encoded()
            #expect(try Message.length(bytes[...]) == bytes.count)
            let decoded = try Message(decoding: bytes[...])
            #expect(decoded.body == before + [value])
            #expect(decoded.fields[.replySerial] == .uint32(3))
        }
    }

    @Test func alignmentCountsFromTheMessage() throws {
        let bytes = Message(.signal, serial: 1, fields: [.member: .string("Odd")], body: Self.values).encoded()
        let shifted = [UInt8](repeating: 9, count: 3) + bytes
        #expect(try Message(decoding: shifted[3...]).body == Self.values)
    }

    /// Whatever is missing or changed, the answer is an error or another message, never a trap.
    @Test func damagedMessages() {
        let bytes = Message(.signal, serial: 1, fields: [.member: .string("X")], body: Self.values).encoded()
        for end in 0..<bytes.count { #expect(throws: DBusError.self) { try Message(decoding: bytes[..<end]) } }
        for place in bytes.indices {
            for value: UInt8 in [0, 1, 0x61, 0x7f, 0xff] {
                var damaged = bytes
                damaged[place] = value
                _ = try? Message.length(damaged[...])
                _ = try? Message(decoding: damaged[...])
            }
        }
        let nested = String(repeating: "a", count: 250) + "y"
        var deep = MessageReader([UInt8](repeating: 0, count: 2000)[...])
        #expect(throws: DBusError.self) {
            for _ in 0..<100 { deep = MessageReader([1, UInt8(ascii: "v"), 0][...]); _ = try deep.read("v") }
        }
        #expect(splitSignature(Substring(nested))?.first.count == 251)
        #expect(splitSignature("(ss") == nil)
        #expect(splitSignature("z") == nil)
    }
}
