import Testing

extension Integration {
    /// `run` and `exec` on the caller's own terminal, and what they hand on.
    @Suite(.serialized, .enabled(if: Runtime.isStasis))
    struct Foreground {
        /// Runs the command on a terminal and types; see typist.py.
        private func onTerminal(_ command: Command, typing steps: [String]) throws(Failure) -> Outcome {
            try Command(["python3", Workload.folder + "/terminal/typist.py"] + steps + ["--"] + command.words)
                .run(seconds: 20)
        }

        @Test(
            "size, new size, input in raw mode, exit code", .timeLimit(.minutes(1)),
            arguments: ["run", "exec", "process"])
        func terminal(kind: String) throws {
            try TestBed.use { bed in
                let script = """
                    tty; stty size; until [ "$(stty size)" = '50 120' ]; do sleep 0.02; done; echo new size
                    read word; echo got $word; exit 7
                    """
                let container = try bed.container(
                    .busybox, arguments: kind == "run" ? ["sh", "-c", script] : ["sleep", "1000"])
                let bundle = container.bundle.folder
                var command = bed.runtime.command(["run", "--bundle", bundle, container.id])
                if kind == "run" {
                    try container.bundle.edit { $0["process"]["terminal"] = true }
                } else {
                    try container.run()
                    command = bed.runtime.command(["exec", "--tty", container.id, "sh", "-c", script])
                }
                if kind == "process" {
                    // As CRI-O does: a file that asks for a terminal, and a terminal as standard streams.
                    let process: JSONValue = [
                        "terminal": true, "cwd": "/", "args": .strings(["sh", "-c", script]),
                        "user": ["uid": 0, "gid": 0],
                        "env": ["PATH=/bin"],
                    ]
                    try Files.write(try process.text(), to: bundle + "/process.json")
                    command = bed.runtime.command([
                        "exec", "--process", bundle + "/process.json", "--pid-file", bundle + "/exec.pid", container.id,
                    ])
                }
                let outcome = try onTerminal(command, typing: ["33 99=size 50 120", "new size=hello\\r"])
                #expect(outcome.status == 7, "\(outcome)")
                #expect(outcome.output.hasPrefix("/dev/pts/0\n33 99\n"), "\(outcome)")
                #expect(outcome.output.hasSuffix("new size\nhello\ngot hello"), "\(outcome)")
                if kind == "process" { #expect(Files.exists(bundle + "/exec.pid")) }
            }
        }

        @Test(
            "interrupt and stop go to the program, not to the runtime", .timeLimit(.minutes(1)),
            arguments: [
                // Not `sleep`: busybox's shell forgets what it catches on the way to a program.
                ("echo go; read x", ["go=\\x03"], Int32(130), "go\n^C"),
                ("trap 'echo stop' TSTP; echo go; read x || read x; echo $x", ["go=\\x1a", "stop=on\\r"], 0, "on"),
            ])
        func keys(script: String, typing: [String], status: Int32, end: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.run()
                let outcome = try onTerminal(
                    bed.runtime.command(["exec", "-t", container.id, "sh", "-c", script]), typing: typing)
                #expect(outcome.status == status && outcome.output.hasSuffix(end), "\(outcome)")
            }
        }

        @Test("without a terminal of its own a program sees none", .timeLimit(.minutes(1)))
        func noTerminal() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.run()
                let outcome = try onTerminal(
                    bed.runtime.command(["exec", container.id, "sh", "-c", "tty; exit 5"]), typing: [])
                #expect(outcome.status == 5 && outcome.output == "not a tty", "\(outcome)")
            }
        }

        @Test("descriptors from 3 on, and only those", .timeLimit(.minutes(1)), arguments: ["run", "exec"])
        func descriptors(kind: String) throws {
            try TestBed.use { bed in
                let script = "cat <&3; cat <&4; ls /proc/$$/fd; echo $LISTEN_FDS $LISTEN_PID"
                let container = try bed.container(
                    .busybox, arguments: kind == "run" ? ["sh", "-c", script] : ["sleep", "1000"])
                if kind == "exec" { try container.run() }
                for name in ["three", "four", "five"] { try Files.write(name + "\n", to: bed.folder + "/" + name) }
                func words(_ count: Int) -> String {
                    let target =
                        kind == "run"
                        ? ["run", "--preserve-fds", "\(count)", "--bundle", container.bundle.folder, container.id]
                        : ["exec", "--preserve-fds=\(count)", container.id, "sh", "-c", "'\(script)'"]
                    return bed.runtime.command(target).words.joined(separator: " ")
                }
                let given = "3<\(bed.folder)/three 4<\(bed.folder)/four 5<\(bed.folder)/five"
                let both = try Command("bash", "-c", "LISTEN_FDS=1 \(words(1)) \(given)").run()
                #expect(try both.succeeded().output == "three\nfour\n0\n1\n2\n3\n4\n1 1", "\(both)")
                // Of what is not open nothing comes, not even what the runtime opens under that number. podman 5 asks so.
                let holes = try Command("bash", "-c", "\(words(3)) 3<&- 4<&- 5<\(bed.folder)/five").run()
                #expect(holes.output.hasSuffix("0\n1\n2\n5"), "\(holes)")
            }
        }

        @Test("lines end as the program ends them", .timeLimit(.minutes(1)), arguments: ["run", "exec"])
        func lineEnds(kind: String) throws {
            try TestBed.use { bed in
                let script = ["sh", "-c", "tty; echo hi"]
                let container = try bed.container(.busybox, arguments: kind == "run" ? script : ["sleep", "1000"])
                if kind == "run" {
                    try container.bundle.edit { $0["process"]["terminal"] = true }
                } else {
                    try container.run()
                }
                let command =
                    kind == "run"
                    ? bed.runtime.command(["run", "--bundle", container.bundle.folder, container.id])
                    : bed.runtime.command(["exec", "--tty", container.id] + script)
                let words = command.words.map { "'\($0)'" }.joined(separator: " ")
                #expect(try Command("bash", "-c", "\(words) | cat -A").run().output == "/dev/pts/0$\nhi$")
            }
        }

        @Test("a terminal for a console socket has the size that config.json says", .timeLimit(.minutes(1)))
        func consoleSize() throws {
            try TestBed.use { bed in
                let container = try bed.container(
                    .busybox, arguments: ["sh", "-c", "tty; stty size; ls -l /dev/console"])
                try container.bundle.edit { config in
                    config["process"]["terminal"] = true
                    config["process"]["consoleSize"] = ["height": 41, "width": 142]
                }
                let socket = bed.folder + "/console"
                let receiver = """
                    import os, socket, subprocess, sys
                    door = socket.socket(socket.AF_UNIX); door.bind(sys.argv[1]); door.listen()
                    subprocess.run(sys.argv[2:], check=True, stdin=subprocess.DEVNULL)
                    name, terminal, _, _ = socket.recv_fds(door.accept()[0], 100, 1)
                    print(name.decode())
                    try:
                        while True: print(os.read(terminal[0], 4096).decode(), end="")
                    except OSError: pass
                    """
                let run = bed.runtime.command(
                    ["run", "-d", "--bundle", container.bundle.folder, "--console-socket", socket, container.id])
                let outcome = try Command(["python3", "-c", receiver, socket] + run.words).run(seconds: 20)
                _ = try bed.runtime.run("delete", "--force", container.id)
                let lines = outcome.output.split(whereSeparator: \.isNewline)
                #expect(lines.prefix(3) == ["/dev/pts/ptmx", "/dev/pts/0", "41 142"], "\(outcome)")
                #expect(lines.last?.hasPrefix("crw--w----") == true, "\(outcome)")
            }
        }

        @Test("a receiver gets a pidfd of each process", .timeLimit(.minutes(1)))
        func pidfds() throws {
            try TestBed.use { bed in
                let socket = bed.folder + "/pidfd"
                let log = bed.folder + "/pidfd.log"
                try bed.withService("services/pidfd.py", socket, log) {
                    let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                    let flags = ["--bundle", container.bundle.folder, "--pidfd-socket", socket]
                    try bed.runtime.command(["create"] + flags + [container.id]).run().succeeded()
                    defer { _ = try? bed.runtime.run("delete", "--force", container.id) }
                    try bed.runtime.run("start", container.id).succeeded()
                    let pidFile = bed.folder + "/exec.pid"
                    try bed.runtime.run(
                        "exec", "-d", "--pid-file", pidFile, "--pidfd-socket", socket, container.id, "sleep", "1000"
                    ).succeeded()
                    let expected = "standard 1 \(try container.pid())\nsetns 1 \(Files.text(of: pidFile) ?? "")\n"
                    #expect(until(seconds: 10) { Files.text(of: log) == expected }, "\(Files.text(of: log) ?? "")")
                }
                let container = try bed.container(.busybox, arguments: ["true"])
                let outcome = try bed.runtime.run(
                    "run", "--bundle", container.bundle.folder, "--pidfd-socket", bed.folder + "/nobody", container.id)
                #expect(outcome.status == 1 && outcome.errors.contains("send pidfd to"), "\(outcome)")
                try bed.expectNoLeaks()
            }
        }

        @Test("--keep, --no-pivot, --no-new-keyring", .timeLimit(.minutes(1)))
        func otherFlags() throws {
            try TestBed.use { bed in
                let container = try bed.container(
                    .busybox,
                    arguments: ["sh", "-c", "ls -d /host* /state; grep -q _ses.\(bed.token) /proc/keys; echo $?"])
                try container.bundle.edit { config in
                    config["linux"]["maskedPaths"] = []
                    config["linux"]["seccomp"] = .null
                }
                func run(_ flags: String...) throws(Failure) -> Outcome {
                    try bed.runtime.command(["run", "--bundle", container.bundle.folder] + flags + [container.id]).run()
                }
                // Before any keyring of that name is made; the kernel takes its time to forget one.
                #expect(try run("--no-new-keyring").output == "/state\n1")
                #expect(try run("--keep").output == "/state\n0")
                #expect(try container.status() == "stopped")
                try bed.runtime.run("delete", container.id).succeeded()
                #expect(try run("--no-pivot").output == "/state\n0")
            }
        }

        @Test("a process file says how it is scheduled and where", .timeLimit(.minutes(1)))
        func processFile() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.run()
                let script = """
                    grep Cpus_allowed_list /proc/self/status; cut -d' ' -f19 /proc/self/stat; ionice; umask; id -u; ulimit -n
                    """
                let process: JSONValue = [
                    "cwd": "/", "args": .strings(["sh", "-c", script]), "env": ["PATH=/bin"],
                    "user": ["uid": 3, "gid": 4, "umask": 7], "scheduler": ["policy": "SCHED_BATCH", "nice": 4],
                    "ioPriority": ["class": "IOPRIO_CLASS_BE", "priority": 7],
                    "execCPUAffinity": ["initial": "0", "final": "1"],
                    "rlimits": [["type": "RLIMIT_NOFILE", "soft": 55, "hard": 66]],
                ]
                try Files.write(try process.text(), to: bed.folder + "/process.json")
                let outcome = try bed.runtime.run("exec", "--process", bed.folder + "/process.json", container.id)
                #expect(
                    try outcome.succeeded().output
                        == "Cpus_allowed_list:\t1\n4\nbest-effort: prio 7\n0007\n3\n55")
            }
        }

        @Test("--debug logs the steps; a failure is one line of level error among them", .timeLimit(.minutes(1)))
        func debug() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                let log = bed.folder + "/log.json"
                let flags = ["--debug", "--log", log, "--log-format", "json"]
                func lines() throws(Failure) -> [JSONValue] {
                    try (Files.text(of: log) ?? "").split(separator: "\n").map { line throws(Failure) in
                        try JSONValue(parsing: String(line))
                    }
                }
                let run = ["run", "--bundle", container.bundle.folder, container.id]
                try bed.runtime.command(flags + run).run().succeeded()
                let steps = try lines()
                #expect(steps.count >= 4 && steps.allSatisfy { $0["level"] == "debug" }, "\(steps)")
                #expect(steps.contains { $0["msg"].string?.contains("/pids/\(container.id)") == true })
                _ = try bed.runtime.command(flags + ["kill", container.id]).run()
                #expect(try lines().filter { $0["level"] == "error" }.map { $0["msg"] } == ["container does not exist"])
            }
        }
    }
}
