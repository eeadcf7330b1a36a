import Glibc
import Testing

extension Integration {
    /// docker with stasis as a runtime that `--add-runtime` names.
    @Suite(.serialized, .enabled(if: Files.exists("/usr/sbin/dockerd"), "docker is missing"))
    struct DockerClient {
        @Test("what a program ends with, and why it cannot start, are docker's exit codes", .timeLimit(.minutes(1)))
        func exitCodes() throws {
            try Docker.use { docker in
                for (code, words) in [
                    (0, ["bb", "true"]), (7, ["bb", "sh", "-c", "exit 7"]), (126, ["bb", "/etc/passwd"]),
                    (127, ["bb", "no-such-program"]), (127, ["bb", "/no/such"]),
                    (137, ["--init", "bb", "sh", "-c", "kill -9 $$"]), (125, ["--no-such-flag", "bb"]),
                ] {
                    let outcome = try docker.container(["--rm"] + words).run()
                    #expect(outcome.status == code, "\(outcome)")
                }
                let hungry = ["bb", "sh", "-c", "exec dd if=/dev/zero of=/dev/null bs=100M count=1"]
                #expect(try docker.container(["--rm", "--memory", "20m"] + hungry).run().status == 137)
                let many = ["bb", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 9 & done"]
                let refused = try docker.container(["--rm", "--pids-limit", "8"] + many).run()
                #expect(refused.status == 2 && refused.errors.contains("can't fork"), "\(refused)")
            }
        }

        @Test(
            "a container's life: exec, logs, health, stats, top, ports, volumes, pause, update, restart, events",
            .timeLimit(.minutes(1)))
        func life() throws {
            try Docker.use { docker in
                let program =
                    "echo begun; echo kept >/v/file; httpd -p 80 -h /v; trap 'exit 3' TERM; while :; do sleep 0.05; done"
                try docker.container(
                    "-d", "--name", "web", "-p", "127.0.0.1:8080:80", "-v", "data:/v", "--health-cmd", "test -e /ok",
                    "--health-interval", "200ms", "--restart", "on-failure:1", "bb", "sh", "-c", program)
                let page = ["busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/file"]
                #expect(until(seconds: 10) { (try? docker.inNetwork(page)) == "kept" })
                #expect(try docker.container("--rm", "-v", "data:/v:ro", "bb", "cat", "/v/file") == "kept")
                #expect(try docker.run("logs", "web") == "begun")
                #expect(try docker.command(["exec", "web", "sh", "-c", "exit 5"]).run().status == 5)
                #expect(try docker.command(["exec", "web", "no-such-program"]).run().status == 126)
                #expect(try docker.command(["exec", "web", "/etc/passwd"]).run().status == 126)
                try docker.run("exec", "web", "touch", "/ok")
                #expect(until(seconds: 10) { (try? docker.inspect("web", ".State.Health.Status")) == "healthy" })
                let stats = try docker.run("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", "web")
                #expect(stats.hasPrefix("web ") && stats.contains("iB / ") && !stats.contains(" 0B / "), "\(stats)")
                #expect(try docker.run("top", "web", "-o", "pid,args").contains("httpd -p 80"))
                try docker.run("pause", "web")
                #expect(try docker.inspect("web", ".State.Status") == "paused")
                try docker.run("unpause", "web")
                try docker.run("update", "--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5", "web")
                let limit = ["memory/memory.limit_in_bytes", "memory.max"].map { "/sys/fs/cgroup/" + $0 }
                let read = "cat \(limit[0]) 2>/dev/null || cat \(limit[1])"
                #expect(try docker.run("exec", "web", "sh", "-c", read) == "67108864")
                try docker.run("restart", "--time", "5", "web")
                #expect(until(seconds: 10) { (try? docker.run("logs", "web")) == "begun\nbegun" })
                try docker.run("kill", "--signal", "KILL", "web")
                #expect(try docker.run("wait", "web") == "137")
                try docker.run("start", "web")
                try docker.run("stop", "--time", "5", "web")
                #expect(try docker.inspect("web", ".State.ExitCode") == "3")
                try docker.run("rm", "web")
                let events = try docker.run(
                    "events", "--since", "1h", "--until=-1s", "--format", "{{.Action}}", "--filter",
                    "container=web")
                let kinds = ["create", "start", "health_status", "exec_start", "pause", "unpause", "update", "restart"]
                for event in kinds + ["kill", "die", "stop", "destroy"] { #expect(events.contains(event), "\(events)") }
            }
        }

        @Test("run and exec with a terminal", .timeLimit(.minutes(1)))
        func terminals() throws {
            try Docker.use { docker in
                let program =
                    #"until [ "$(stty size 2>/dev/null)" = "30 100" ]; do sleep 0.05; done; tty; read x; echo got $x; exit 9"#
                let run = try docker.container(["--rm", "-i", "-t", "bb", "sh", "-c", program])
                    .onTerminal((says: "/dev/pts/0", gets: "words")).run()
                #expect(run.status == 9 && run.output.contains("got words"), "\(run)")
                try docker.container("-d", "--name", "c1", "bb", "sleep", "100")
                let exec = try docker.command(["exec", "-i", "-t", "c1", "sh", "-c", program])
                    .onTerminal((says: "/dev/pts/0", gets: "words")).run()
                #expect(exec.status == 9 && exec.output.contains("got words"), "\(exec)")
                try docker.container("-d", "-i", "-t", "--name", "c2", "bb", "sh", "-c", program)
                let attach = try docker.command(["attach", "c2"])
                    .onTerminal((says: "/dev/pts/0", gets: "words")).run()
                #expect(attach.status == 9 && attach.output.contains("got words"), "\(attach)")
            }
        }

        /// runc refuses what needs a capability that the machine lacks, so the two cannot be compared everywhere.
        @Test("a privileged container and a privileged exec have what the machine can give", .timeLimit(.minutes(1)))
        func privileged() throws {
            try Docker.use { docker in
                let look = "cat /proc/self/status /proc/mounts; ls /dev"
                let said = try docker.container("--rm", "--privileged", "bb", "sh", "-c", look).split(separator: "\n")
                // docker 20.10 asks for the capabilities up to CAP_AUDIT_READ (37).
                let status = Files.text(of: "/proc/self/status") ?? ""
                let set = status.firstMatch(of: /CapPrm:\t([0-9a-f]+)/).flatMap { UInt64($0.1, radix: 16) } ?? 0
                let digits = String(set & 0x3f_ffff_ffff, radix: 16)
                let lines = ["CapEff:\t" + String(repeating: "0", count: 16 - digits.count) + digits, "Seccomp:\t0"]
                for line in lines + ["kmsg"] { #expect(said.contains { $0 == line }, "\(line)") }
                #expect(said.contains { $0.hasPrefix("sysfs /sys sysfs rw,") })
                try docker.container("-d", "--name", "c1", "bb", "sleep", "100")
                let exec = try docker.run("exec", "--privileged", "c1", "cat", "/proc/self/status")
                #expect(exec.contains(lines[0] + "\n"), "\(exec)")
            }
        }

        @Test(
            "checkpoints of a container with a terminal and a health check", .enabled(if: Runtime.canCheckpoint),
            .timeLimit(.minutes(1)))
        func checkpoint() throws {
            try Docker.use { docker in
                try docker.counter("c1", "-t", "--health-cmd", "test -e /etc", "--health-interval", "200ms")
                try docker.run("exec", "c1", "sh", "-c", "echo own >/etc/own")
                try docker.checkpoint("c1", "first", "--leave-running")
                var before = try docker.count("c1", beyond: try docker.count("c1", beyond: 0))
                for name in ["second", "third"] {
                    try docker.checkpoint("c1", name)
                    try docker.restore("c1", from: name)
                    let after = try docker.count("c1", beyond: before)
                    #expect(after < before + 1000)
                    before = after
                    #expect(try docker.run("exec", "c1", "cat", "/etc/own") == "own")
                }
                let listed = { try docker.run("checkpoint", "ls", "c1").split(separator: "\n").dropFirst().sorted() }
                #expect(try listed() == ["first", "second", "third"])
                try docker.run("checkpoint", "rm", "c1", "first")
                #expect(try listed() == ["second", "third"])
            }
        }

        @Test(
            "networks that docker makes and changes are no reason to refuse a checkpoint, and what a program changes comes back",
            .enabled(if: Runtime.canCheckpoint), .timeLimit(.minutes(1)))
        func networks() throws {
            try Docker.use { docker in
                try docker.run("network", "create", "other")
                try docker.counter("plain")
                try docker.run("network", "connect", "other", "plain")
                try docker.counter("administrator", "--cap-add", "NET_ADMIN", "--network", "other")
                try docker.counter("privileged", "--privileged")
                for name in ["plain", "administrator", "privileged"] {
                    try docker.checkpoint(name, "first")
                    try docker.restore(name, from: "first")
                    #expect(try docker.run("exec", name, "ip", "address").contains("eth0"), "\(name)")
                }
                try docker.run("exec", "administrator", "ip", "address", "add", "10.9.8.7/24", "dev", "lo")
                try docker.checkpoint("administrator", "second")
                try docker.restore("administrator", from: "second")
                let addresses = try docker.run("exec", "administrator", "ip", "address")
                #expect(addresses.contains("10.9.8.7/24") && addresses.contains("eth0"), "\(addresses)")
            }
        }

        @Test(
            "redis-server through checkpoints, with its keys and new ones", .enabled(if: Runtime.canCheckpoint),
            .timeLimit(.minutes(1)))
        func redis() throws {
            try Docker.use { docker in
                let host = ClientWorkload.hostFolders.flatMap { ["-v", "\($0):\($1):ro"] }
                let words = ["-d", "--name", "redis"] + host + ["bb"] + ClientWorkload.redis
                try docker.container(words).run().succeeded()
                try ClientWorkload.fillRedis(rounds: 1...3) { words in
                    try docker.command(["exec", "redis"] + words).run().succeeded().output
                } restore: { round in
                    try docker.checkpoint("redis", "round\(round)")
                    try docker.restore("redis", from: "round\(round)")
                }
            }
        }
    }
}
