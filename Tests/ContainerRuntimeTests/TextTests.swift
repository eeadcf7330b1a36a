import OCISpec
import Testing

@testable import ContainerRuntime

@Suite struct TextTests {
    @Test func logLines() {
        let time = "2026-01-02T03:04:05Z"
        #expect(
            LogFormat.text.line(level: "error", message: "container \"x\"\n", time: time)
                == #"time="2026-01-02T03:04:05Z" level=error msg="container \"x\"\n""#)
        #expect(
            LogFormat.text.line(level: "error", message: "a\u{1b}[2J\\\u{9b}\u{202e}\u{7f}", time: time)
                .hasSuffix(#"msg="a\x1b[2J\\\u009b\u202e\x7f""#))
        #expect(LogFormat.text.line(level: "error", message: "plain", time: time).hasSuffix("msg=plain"))
        #expect(
            LogFormat.json.line(level: "error", message: "a \"b\"", time: time)
                == #"{"level":"error","msg":"a \"b\"","time":"2026-01-02T03:04:05Z"}"#)
    }

    @Test func times() {
        #expect(Timestamp.utc(seconds: 0, nanoseconds: 0) == "1970-01-01T00:00:00Z")
        #expect(Timestamp.utc(seconds: 951_782_400, nanoseconds: 500_000_000) == "2000-02-29T00:00:00.5Z")
        #expect(Timestamp.utc(seconds: 1_767_323_045, nanoseconds: 7) == "2026-01-02T03:04:05.000000007Z")
        #expect(Timestamp.utc(seconds: 4_107_542_399, nanoseconds: 0) == "2100-02-28T23:59:59Z")
    }

    @Test func signals() throws {
        for text in ["TERM", "SIGTERM", "term", "15"] { #expect(try Signals.number(text) == 15) }
        #expect(try Signals.number("0") == 0)
        #expect(try Signals.number("SIGRTMIN+3") == 37)
        #expect(try Signals.number("RTMAX-1") == 63)
        for text in ["", "FOO", "65", "-1", "RTMIN+31"] {
            #expect(throws: RuntimeError.self) { try Signals.number(text) }
        }
    }

    @Test(arguments: ["a", "A_1+b-c.d", "..."])
    func goodIds(id: String) throws { try StateStore.validate(id) }

    @Test(arguments: ["", ".", "..", "a/b", "../a", "ä", "a b", "a\n"])
    func badIds(id: String) { #expect(throws: RuntimeError.self) { try StateStore.validate(id) } }

    @Test func processNamesMayLookLikeFields() throws {
        let fields = (3...52).map { $0 == 3 ? "S" : "\($0)" }.joined(separator: " ")
        let stat = try #require(ProcessStat(text: "12 (a) R 1 (b) \(fields)"))
        #expect(stat.state == "S")
        #expect(stat.startTime == 22)
        #expect(ProcessStat(text: "12 (a) R 1") == nil)
    }

    @Test func tablesAreAlignedAsRuncs() {
        let text = aligned([["ID", "PID"], ["a-long-container-id", "1"]])
        #expect(text == "ID                    PID\na-long-container-id   1\n")
        #expect(aligned([["ID", "PID"], ["a", "1"]]) == "ID          PID\na           1\n")
    }

    @Test func theLastValueOfAVariableCounts() {
        #expect(withoutRepetition(["A=1", "B=", "A=2=3", "AB=4"]) == ["B=", "A=2=3", "AB=4"])
    }

    @Test func execChangesTheContainersProcess() throws {
        var base = Process(cwd: "/")
        base.args = ["sh"]
        base.env = ["A=1"]
        base.terminal = true
        var overrides = ExecOverrides()
        overrides.arguments = ["id"]
        overrides.environment = ["B=2"]
        overrides.user = "5:6"
        overrides.capabilities = ["CAP_KILL"]
        let process = try overrides.apply(to: base)
        #expect(process.args == ["id"])
        #expect(process.env == ["A=1", "B=2"])
        #expect(!process.terminal)
        #expect((process.user.uid, process.user.gid) == (5, 6))
        #expect(process.capabilities?.effective == ["CAP_KILL"])
        #expect(process.capabilities?.inheritable == [])
        overrides.user = "root"
        #expect(throws: RuntimeError.self) { try overrides.apply(to: base) }
    }
}
