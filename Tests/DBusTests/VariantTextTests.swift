import Testing

@testable import DBus

@Suite struct VariantTextTests {
    @Test(arguments: [
        ("true", DBusValue.boolean(true)), ("5", .int32(5)), ("-5", .int32(-5)), ("1.5", .double(1.5)),
        ("uint64 18446744073709551615", .uint64(.max)), ("@t 5", .uint64(5)), ("byte 0x1f", .byte(31)),
        ("'a\\'b'", .string("a'b")), ("\"x y\"", .string("x y")), ("objectpath '/a'", .objectPath("/a")),
        ("['a', 'b']", .array(of: "s", [.string("a"), .string("b")])), ("@as []", .array(of: "s", [])),
        ("[uint32 1, 2]", .array(of: "u", [.uint32(1), .uint32(2)])),
        ("('a', 1)", .structure([.string("a"), .int32(1)])), ("(true,)", .structure([.boolean(true)])),
        ("@a(ss) [('char-*', 'm')]", .array(of: "(ss)", [.structure([.string("char-*"), .string("m")])])),
        ("<@q 3>", .variant(.uint16(3))), ("  7 ", .int32(7)),
    ])
    func values(text: String, value: DBusValue) throws { #expect(try VariantText.parse(text) == value) }

    @Test(arguments: [
        "", "soon", "'open", "[1, 'a']", "[]", "byte 300", "5 6", "(1", "@zz 1", "@as 5", "@(ss) ('a',)", "<1",
        "objectpath 'x'", "uint32 -1", "@", "[1 2]", "[", "'\\",
    ])
    func refused(text: String) { #expect(throws: DBusError.self) { try VariantText.parse(text) } }
}
