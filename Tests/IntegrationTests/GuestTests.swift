import Glibc
import Testing

extension Integration {
    /// Checkpoints of containers in which programs run that `exec` put there.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct Guests {
        /// Counts on, beside a pipe of its own between two children, and prints what nobody reads any more.
        private static let counter = """
            echo $$ >/state/pid
            sleep 1000 | cat & n=0
            while :; do n=$((n + 1)); echo $n >/state/count; echo $n; [ -e /state/end ] && exit; sleep 0.05; done
            """

        @Test("are kept: as children of the first process, with streams that lead nowhere", .timeLimit(.minutes(2)))
        func kept() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sh", "-c", "while :; do sleep 0.1; done"])
                try container.run()
                var session = try attached(container)
                defer { session.kill() }
                let pid = try inner(container)
                for cycle in 1...2 {
                    try container.checkpointCommand(to: "running\(cycle)", leaveRunning: true).run().succeeded()
                    try expectCounting(container)
                    try container.checkpoint(to: "image\(cycle)")
                    try container.restore(from: "image\(cycle)")
                    try expectCounting(container)
                    #expect(try inner(container) == pid)
                    let links = try container.exec("sh", "-c", "ls -l /proc/\(pid)/fd/0 /proc/\(pid)/fd/1").succeeded()
                    #expect(links.output.split(separator: "\n").allSatisfy { $0.hasSuffix("-> /dev/null") }, "\(links)")
                    let parent = try container.exec("cut", "-d", " ", "-f", "4", "/proc/\(pid)/stat").succeeded()
                    #expect(parent.output == "1")
                }
                let hasEnded = session.wait(seconds: 10)
                #expect(hasEnded, "the runtime outlives the process that it waited for")
                try Files.write("", to: container.stateInRootfs + "/end")
                // The first process, a shell, takes note of its end.
                #expect(until(seconds: 10) { (try? container.exec("test", "-e", "/proc/\(pid)").status) == 1 })
            }
        }

        @Test("of a terminal's: a shell finds its session closed", .timeLimit(.minutes(1)))
        func terminal() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sh", "-c", "while :; do sleep 0.1; done"])
                try container.run()
                var session = try bed.runtime.command(["exec", "-t", container.id, "sh", "-c", Self.counter]).start()
                defer { session.kill() }
                let pid = try inner(container)
                try container.checkpoint(to: "image")
                try container.restore(from: "image")
                try expectCounting(container)
                let terminal = try container.exec("cut", "-d", " ", "-f", "7", "/proc/\(pid)/stat").succeeded()
                #expect(terminal.output == "0")
            }
        }

        @Test("are left out by --exec-policy end: they go on, or end with the container", .timeLimit(.minutes(1)))
        func ended() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sh", "-c", "while :; do sleep 0.1; done"])
                try container.run()
                var session = try attached(container)
                defer { session.kill() }
                try expectCounting(container)
                container.checkpointFlags = ["--exec-policy", "end"]
                try container.checkpointCommand(to: "running", leaveRunning: true).run().succeeded()
                try expectCounting(container)
                try container.checkpoint(to: "image")
                let hasEnded = session.wait(seconds: 10)
                #expect(hasEnded)
                try container.restore(from: "image")
                let left = try bed.runtime.run("ps", container.id).succeeded().output
                #expect(left.contains("sleep 0.1") && !left.contains("/state/count"), "\(left)")
            }
        }

        @Test("are named, with what to do, by --exec-policy refuse", .timeLimit(.minutes(1)))
        func refused() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.run()
                let pidFile = container.bundle.folder + "/exec.pid"
                try bed.runtime.run("exec", "-d", "--pid-file", pidFile, container.id, "sleep", "1000").succeeded()
                let pid = Files.text(of: pidFile) ?? ""
                container.checkpointFlags = ["--exec-policy", "refuse"]
                let outcome = try container.checkpointCommand(to: "image").run()
                #expect(outcome.status == 1 && outcome.isOneComplaint, "\(outcome)")
                for part in ["process \(pid) (sleep)", "(exec)", "wait until it has ended"] {
                    #expect(outcome.errors.contains(part), "\(outcome)")
                }
                try check(kill(pid_t(pid) ?? 0, SIGKILL), "kill \(pid)")
                #expect(until(seconds: 10) { !LeakCheck.lives(pid_t(pid) ?? 0) })
                try container.checkpoint(to: "image")
            }
        }

        @Test("with more rights than config.json gives: refused while the container lives", .timeLimit(.minutes(1)))
        func tooManyRights() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.run()
                // The shell ends: its child is an orphan, which the first process adopts.
                try container.runtime.run(
                    "exec", "--cap", "CAP_SYS_ADMIN", container.id, "sh", "-c",
                    "sleep 1000 </dev/null >/dev/null 2>&1 & echo"
                ).succeeded()
                let outcome = try container.checkpointCommand(to: "image").run()
                #expect(outcome.status == 1 && outcome.isOneComplaint, "\(outcome)")
                #expect(outcome.errors.contains("(sleep): its permitted capabilities have 0x200000"), "\(outcome)")
                #expect(try container.status() == "running")
            }
        }

        private func attached(_ container: Container) throws(Failure) -> RunningCommand {
            var command = container.runtime.command(["exec", container.id, "sh", "-c", Self.counter])
            command.words = ["sh", "-c", #""$@" | cat"#, "sh"] + command.words
            return try command.start()
        }

        /// The counter's process id inside.
        private func inner(_ container: Container) throws(Failure) -> String {
            try expectCounting(container)
            return try container.waitForFile("pid").filter(\.isNumber)
        }

        private func expectCounting(_ container: Container) throws(Failure) {
            let before = Files.text(of: container.stateInRootfs + "/count")
            let goesOn = until(seconds: 10) {
                let now = Files.text(of: container.stateInRootfs + "/count")
                return now != before && now?.isEmpty == false
            }
            if !goesOn { throw Failure("the process of exec does not count on") }
        }
    }
}
