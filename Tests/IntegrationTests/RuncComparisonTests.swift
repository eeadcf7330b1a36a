import Testing

extension Integration {
    /// The same command lines on the same bundles, by runc and by stasis: exit codes, output and messages are the same but
    /// for what specs/cli.md lists under "Differences from runc".
    @Suite(.serialized, .enabled(if: Runtime.isStasis && Files.exists(Runtime.runc), "needs Debian's runc"))
    struct RuncComparison {
        /// Lines are run in turn; `ID` is the container's name, `_` a blank within a word, `wait` waits for its end.
        struct Scenario: CustomTestStringConvertible, Sendable {
            var testDescription: String
            var arguments = ["sleep", "1000"]
            var edit: @Sendable (inout JSONValue) -> Void = { _ in }
            var lines: [String]

            init(
                _ name: String, arguments: [String]? = nil, _ lines: [String],
                edit: @escaping @Sendable (inout JSONValue) -> Void = { _ in }
            ) {
                (testDescription, self.lines, self.edit) = (name, lines, edit)
                if let arguments { self.arguments = arguments }
            }
        }

        static let scenarios = [
            Scenario(
                "nothing there",
                ["state", "start", "kill", "delete", "delete -f", "pause", "resume", "ps", "events", "update"].map {
                    "\($0) ID"
                } + [
                    "exec ID ls", "checkpoint ID", "kill --all ID", "list", "list -q", "list -f json",
                    "events --interval=0s ID",
                ]),
            Scenario(
                "wrong words",
                [
                    "nonsense", "--bogus", "--root", "state", "state a b", "state --bogus a", "kill", "kill a b c",
                    "exec",
                    "exec --preserve-fds=x a ls", "list a", "list -f", "list -f x", "--log-format=xml list", "create",
                    "run a/b", "create ../a", "create --bundle /no/such/bundle ID", "run --bundle /tmp ID", "restore",
                    "update --memory=x ID", "ps", "pause", "spec a", "features a", "start _", "checkpoint", "events",
                ]),
            Scenario(
                "a created container",
                [
                    "create ID", "create ID", "run ID", "state ID", "list", "list -q", "list -f json", "ps -f json ID",
                    "kill ID 0", "exec ID echo hi", "pause ID", "state ID", "resume ID", "events --stats ID",
                    "start ID",
                    "start ID", "state ID", "delete ID", "delete -f ID", "create ID", "delete ID", "state ID",
                    "create ID",
                    "kill ID KILL", "wait", "start ID", "delete ID",
                ]),
            Scenario(
                "a running container",
                [
                    "run -d ID", "state ID", "list -f json", "start ID", "pause ID", "pause ID", "state ID",
                    "exec ID ls",
                    "delete ID", "resume ID", "resume ID", "kill ID FOO",
                    "kill ID sigkill", "wait", "state ID", "delete ID",
                ]),
            Scenario(
                "a stopped container",
                [
                    "run -d ID", "kill ID 9", "wait", "state ID", "list", "list -f json", "kill ID TERM",
                    "kill --all ID KILL", "exec ID ls", "pause ID", "resume ID", "ps -f json ID", "ps ID", "start ID",
                    "checkpoint ID", "run ID", "delete ID", "delete ID",
                ]),
            Scenario(
                "exec",
                [
                    "run -d ID", "exec ID sh -c exit_7", "exec ID false", "exec ID nope", "exec ID /nope",
                    "exec -e A=1 -e B=2 ID /bin/env", "exec --cwd /tmp ID pwd",
                    "exec --cwd /nope ID pwd", "exec -u 5:6 ID id", "exec -u 5 ID id", "exec -g 7 -g 8 ID id",
                    "exec --cap CAP_NET_ADMIN ID grep Cap /proc/self/status",
                    "exec --no-new-privs ID grep NoNew /proc/self/status",
                    "exec ID sh -c kill_-9_$$", "exec -p /nope ID", "exec -d -t ID tty",
                    "exec --console-socket /x ID tty",
                    "exec --cap CAP_X ID true", "exec -d ID true", "exec --preserve-fds 0 ID ls /",
                    "exec ID /state/text",
                    "exec ID /state/lost", "exec ID /state/plain",
                ]),
            Scenario(
                "a status", arguments: ["sh", "-c", "exit 7"], ["run ID", "run --keep ID", "state ID", "delete ID"]),
            Scenario("a deadly signal", arguments: ["sh", "-c", "kill -9 $$"], ["run ID"]),
            Scenario("a program that is not in PATH", arguments: ["nope"], ["run ID", "create ID", "state ID"]),
            Scenario("a program that is not there", arguments: ["/nope"], ["run ID", "create ID"]),
            Scenario("a program without permission", arguments: ["/state/plain"], ["run ID", "create ID"]),
            Scenario(
                "a text for a program", arguments: ["/state/text"],
                ["run ID", "create ID", "start ID", "wait", "state ID"]),
            Scenario("a script whose interpreter is lost", arguments: ["/state/lost"], ["run ID"]),
            Scenario("a terminal without a socket", ["run -d ID", "create ID", "state ID"]) {
                $0["process"]["terminal"] = true
            },
            Scenario("a socket without a terminal", ["run --console-socket /x ID", "create --console-socket /x ID"]),
            Scenario("no root file system", ["run ID"]) { $0["root"]["path"] = "nope" },
            Scenario("a new working directory", arguments: ["pwd"], ["run ID"]) {
                $0["process"]["cwd"] = "/made/for/it"
            },
            Scenario("unknown capabilities", arguments: ["true"], ["run ID"]) {
                $0["process"]["capabilities"]["bounding"] = ["CAP_KILL", "CAP_X"]
            },
            Scenario("ids and groups", arguments: ["id"], ["run ID"]) {
                $0["process"]["user"] = ["uid": 5, "gid": 6, "additionalGids": [7, 8]]
            },
            Scenario("a device", arguments: ["stat", "-c", "%A %u %g %t %T", "/dev/x"], ["run ID"]) {
                $0["linux"]["devices"] = [
                    [
                        "path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 1, "gid": 2,
                    ]
                ]
            },
            Scenario(
                "what a process sees",
                arguments: [
                    "sh", "-c",
                    """
                    grep -E '^(Uid|Gid|Groups|Cap|NoNew|Seccomp:|Threads|Sig|Shd)' /proc/self/status; ls /proc/self/fd | wc -l
                    cat /proc/self/oom_score_adj; grep -E 'open files|core' /proc/self/limits; id; hostname; ls -la /dev
                    sed 's/.*://' /proc/self/cgroup | sort -u; cut -d' ' -f6-7 /proc/self/stat; umask
                    """,
                ], ["run ID"]),
            Scenario(
                "update",
                [
                    "run -d ID", "update --memory 50m ID", "update --memory 50q ID", "update --cpu-shares 5 ID",
                    "update --cpu-share 512 ID", "update --cpu-quota 50000 ID", "update --pids-limit 20 ID",
                    "update --cpuset-cpus 0 ID", "update -r /nope ID", "update --memory -1 ID", "update ID",
                    "update --kernel-memory 5m ID",
                ]),
        ]

        private func outcome(_ runtime: Runtime, _ line: String, _ container: Container) throws -> String {
            let words = line.split(separator: " ").map { word -> String in
                word == "ID" ? container.id : word == "_" ? "" : word.contains("_") ? blanks(word) : String(word)
            }
            if line == "wait" {
                let ended = until(seconds: 10) {
                    (try? runtime.run("state", container.id).output.contains("stopped")) == true
                }
                return "ended: \(ended)"
            }
            var command = runtime.command(words)
            command.folder = container.bundle.folder
            let outcome = try command.run(seconds: 20)
            return "\(outcome.status) | \(try comparable(outcome.output, line)) | \(plain(outcome.errors))"
        }

        /// In capability names and the like an underscore is one.
        private func blanks(_ word: Substring) -> String {
            word.hasPrefix("CAP_") ? String(word) : word.split(separator: "_").joined(separator: " ")
        }

        /// Of numbers that change, their names; of help, that it is shown.
        private func comparable(_ text: String, _ line: String) throws -> String {
            if text.hasPrefix("Incorrect Usage") { return String(text.prefix { $0 != "\n" }) }
            if line.hasPrefix("events --stats") { return shape(try JSONValue(parsing: text)).joined(separator: " ") }
            return plain(text)
        }

        /// The names of what is counted. Go leaves out what is 0, of which `cache` alone may be one or the other here.
        private func shape(_ event: JSONValue) -> [String] {
            names(event)
                + names(event["data"]).flatMap { part in
                    names(event["data"][part]).filter { $0 != "cache" }.map { "\(part).\($0)" }
                }
        }

        private func names(_ value: JSONValue) -> [String] {
            guard case .object(let members) = value else { return [] }
            return members.keys.sorted()
        }

        private func plain(_ text: String) -> String {
            text.replacing(/20\d\d-\d\d-\d\dT[\d:.]+Z?/, with: "DATE")
                .replacing(/\b(runc|stasis)\b/, with: "RUNTIME")
                .replacing(/1\.0\.2-dev|1\.3\.0/, with: "VERSION")
                // Counts what all processes of the user have.
                .replacing(/SigQ:\t\d+/, with: "SigQ:\tN")
                .replacing("/usr/sbin/RUNTIME:", with: "RUNTIME:")
                .replacing(#"'nonsense'\n"#, with: "'nonsense'")
                .replacing(/\d\d+/, with: "N")
                .replacing(/\x20+/, with: " ")
        }

        @Test("says and does the same", .timeLimit(.minutes(1)), arguments: scenarios)
        func lines(scenario: Scenario) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: scenario.arguments)
                try container.bundle.edit { config in
                    // What is compared is the two, not this machine's libseccomp.
                    config["linux"]["seccomp"] = .null
                    scenario.edit(&config)
                }
                let state = container.stateInRootfs
                try Files.write("x", to: state + "/plain")
                try Files.write("\u{7f}x", to: state + "/text", mode: 0o755)
                try Files.write("#!/nope\n", to: state + "/lost", mode: 0o755)
                let runtimes = [Runtime(executable: Runtime.runc, stateFolder: bed.folder + "/other"), bed.runtime]
                let results = try runtimes.map { runtime in
                    try Files.makeFolder(runtime.stateFolder)
                    defer { _ = try? runtime.run("delete", "--force", container.id) }
                    return try scenario.lines.map { try outcome(runtime, $0, container) }
                }
                for (index, line) in scenario.lines.enumerated() {
                    #expect(results[0][index] == results[1][index], "\(line)")
                }
            }
        }

        /// Debian's runc is older: since 1.2 no capability is ambient, and the version is that of the specification.
        @Test("spec writes the same file", .timeLimit(.minutes(1)), arguments: [[], ["--rootless"]])
        func spec(flags: [String]) throws {
            try TestBed.use { bed in
                let runtimes = [Runtime(executable: Runtime.runc, stateFolder: bed.folder + "/other"), bed.runtime]
                let texts = try runtimes.enumerated().map { index, runtime in
                    let folder = "\(bed.folder)/\(index)"
                    try Files.makeFolder(folder)
                    var command = runtime.command(["spec"] + flags)
                    command.folder = folder
                    try command.run().succeeded()
                    let again = try command.run()
                    #expect(again.status == 1 && again.errors.contains("File config.json exists. Remove it first"))
                    return Files.text(of: folder + "/config.json")
                }
                var expected = try #require(texts[0])
                let ambient = try #require(expected.firstRange(of: ",\n\t\t\t\"ambient\""))
                let end = try #require(expected[ambient.upperBound...].firstIndex(of: "]"))
                expected.removeSubrange(ambient.lowerBound...end)
                #expect(expected.replacing("1.0.2-dev", with: "1.3.0") == texts[1])
            }
        }

        @Test(
            "a failure is one JSON object in the log, and its message on standard error", .timeLimit(.minutes(1)),
            arguments: [["state", "nope"], ["state"], ["run", "--bundle", "/nope", "a"], ["exec", "nope", "ls"]])
        func log(words: [String]) throws {
            try TestBed.use { bed in
                let logs = try [Runtime.runc, Runtime.executableUnderTest].map { executable in
                    let file = bed.folder + "/" + Files.name(of: executable)
                    let flags = ["--root", bed.folder + "/run", "--log", file, "--log-format", "json"]
                    let outcome = try Command([executable] + flags + words).run()
                    var entry = try JSONValue(parsing: Files.text(of: file) ?? "")
                    #expect(outcome.errors == entry["msg"].string)
                    entry["time"] = .null
                    return plain("\(outcome.status) \(try entry.text())")
                }
                #expect(logs[0] == logs[1])
            }
        }
    }
}

extension Runtime {
    /// Debian's.
    fileprivate static let runc = "/usr/sbin/runc"
}
