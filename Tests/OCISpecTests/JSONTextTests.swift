import Testing

@testable import OCISpec

@Suite struct JSONTextTests {
    @Test func membersStayInOrder() {
        let value: JSONText = .object([
            ("z", .number(1)), ("a", .array([.bool(true), .string("x")])), ("e", .array([])),
        ])
        #expect(value.text() == #"{"z":1,"a":[true,"x"],"e":[]}"#)
        #expect(value.text(indent: "  ") == "{\n  \"z\": 1,\n  \"a\": [\n    true,\n    \"x\"\n  ],\n  \"e\": []\n}")
    }

    @Test func stringsAreEscapedAsGoDoes() {
        #expect(JSONText.quoted("a\"\\\n\t\u{1}<é>") == #""a\"\\\n\t\u0001\u003cé\u003e""#)
    }

    @Test func stateHasRuncsMembersInRuncsOrder() {
        var state = State(ociVersion: "1.3.0", id: "c", status: "stopped", pid: 0, bundle: "/b")
        state.rootfs = "/b/rootfs"
        state.created = "2026-01-02T03:04:05Z"
        state.annotations = ["b": "2", "a": "1"]
        state.owner = ""
        #expect(
            state.json.text()
                == #"{"ociVersion":"1.3.0","id":"c","pid":0,"status":"stopped","bundle":"/b","rootfs":"/b/rootfs","#
                + #""created":"2026-01-02T03:04:05Z","annotations":{"a":"1","b":"2"},"owner":""}"#)
    }
}
