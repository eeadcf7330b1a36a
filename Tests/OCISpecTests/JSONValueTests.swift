import Testing

@testable import OCISpec

@Suite struct JSONValueTests {
    private func parse(_ text: String) throws -> JSONValue { try JSONValue(Array(text.utf8)) }

    @Test func everyKindOfValue() throws {
        let value = try parse(#" {"a": [1, -2, 1.5e3, true, false, null], "b": {"c": ""}, "b": {}} "#)
        let array: [JSONValue] = [.integer(1), .integer(-2), .number("1.5e3"), .bool(true), .bool(false), .null]
        let b = JSONMember(name: "b", value: .object([JSONMember(name: "c", value: .string(""))]))
        #expect(
            value
                == .object([JSONMember(name: "a", value: .array(array)), b, JSONMember(name: "b", value: .object([]))]))
    }

    @Test(arguments: [
        (#"{"ociVersion":"1","Root":{"PATH":"a"}}"#, "a"), (#"{"OCIVERSION":"1","root":{"path":"a","PATH":"b"}}"#, "b"),
        (#"{"ociVersion":"1","root":{"Path":"b","path":"a"}}"#, "a"),
        (#"{"ociVersion":"1","ROOT":{"path":"b"},"root":{"path":"a"}}"#, "a"),
    ])
    func namesInAnyCaseOfWhichTheLastCounts(text: String, path: String) throws {
        #expect(try Spec.decode(Array(text.utf8)).root?.path == path)
    }

    @Test func namesThatTheDocumentChoosesKeepTheirCase() throws {
        let spec = try Spec.decode(
            Array(
                #"""
                {"ociVersion":"1","annotations":{"a":"1","A":"2","a":"3"},"linux":{"netDevices":{"e":{},"E":{"name":"x"}},
                "resources":{"rdma":{"m":{"hcaHandles":1},"M":{"hcaHandles":2}},"unified":{"X":"1","x":"2"}}}}
                """#.utf8))
        #expect(spec.annotations == ["a": "3", "A": "2"])
        #expect(spec.linux?.netDevices.mapValues(\.name) == ["e": nil, "E": "x"])
        #expect(spec.linux?.resources?.rdma.mapValues(\.hcaHandles) == ["m": 1, "M": 2])
        #expect(spec.linux?.resources?.unified == ["X": "1", "x": "2"])
    }

    @Test(arguments: [
        (#""a\"\\\/\b\f\n\r\t""#, "a\"\\/\u{8}\u{c}\n\r\t"), (#""\u00e9\u0041""#, "éA"),
        (#""\ud83d\ude00""#, "😀"), (#""\ud83dx""#, "\u{fffd}x"), (#""é😀""#, "é😀"), (#""\ud83d\u0041""#, "\u{fffd}A"),
    ])
    func strings(text: String, string: String) throws { #expect(try parse(text) == .string(string)) }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\":1,}", "{a:1}", "tru", "01", "-", "1.", "1e", "+1", "\"\n\"", "\"\\x\"", "\"\\u12\"",
        "\"\\u+123\"", "\"", "1 2", "[1 2]", "{]", "nulll", "\u{feff}{}",
    ])
    func notJSON(text: String) { #expect(throws: JSONSyntaxError.self) { try parse(text) } }

    @Test func depthIsLimited() throws {
        let deep = { String(repeating: "[", count: $0) + String(repeating: "]", count: $0) }
        _ = try parse(deep(200))
        #expect(throws: JSONSyntaxError.self) { try parse(deep(201)) }
        #expect(throws: JSONSyntaxError.self) { try parse(String(repeating: "[", count: 1_000_000)) }
    }

    @Test func numbersOfAnySize() throws {
        #expect(try parse("18446744073709551615") == .integer(18_446_744_073_709_551_615))
        let long = String(repeating: "9", count: 60)
        #expect(try parse(long) == .number(long))
    }
}
