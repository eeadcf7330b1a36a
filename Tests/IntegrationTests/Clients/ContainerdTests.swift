import Glibc
import Testing

extension Integration {
    /// containerd's own shim for runc with stasis in runc's place (`BinaryName`), driven by ctr.
    @Suite(.serialized, .enabled(if: Files.exists("/usr/bin/ctr"), "containerd is missing"))
    struct ContainerdClient {
        @Test("what a program ends with, and why it cannot start, reaches ctr", .timeLimit(.minutes(1)))
        func exitCodes() throws {
            try Containerd.use { containerd in
                for (code, word, text) in [
                    (0, "true", ""), (1, "false", ""),
                    (1, "no-such-program", #"exec: "no-such-program": executable file not found in $PATH"#),
                    (1, "/no/such", #"exec: "/no/such": stat /no/such: no such file or directory"#),
                    (1, "/etc", #"exec: "/etc": is a directory"#),
                ] {
                    let outcome = try containerd.container("c", flags: ["--rm"], word).run()
                    #expect(outcome.status == code && outcome.errors.contains(text), "\(outcome)")
                }
                #expect(try containerd.run("container", "list", "--quiet") == "")
                #expect(try containerd.container("c", flags: ["--rm"], "sh", "-c", "exit 7").run().status == 7)
                let limit = ["--memory-limit", "20000000"]
                let hungry = "exec dd if=/dev/zero of=/dev/null bs=100M count=1"
                #expect(
                    try containerd.container("hungry", flags: ["--rm"] + limit, "sh", "-c", hungry).run().status == 137)
                #expect(
                    try containerd.container("ro", flags: ["--rm", "--read-only"], "touch", "/x").run().status == 1)
            }
        }

        @Test("a container's life: exec, logs, metrics, ps, pause, kill, start again, events", .timeLimit(.minutes(1)))
        func life() throws {
            try Containerd.use { containerd in
                var listening = containerd.command(["events"])
                listening.output = containerd.folder + "/events"
                var events = try listening.start()
                defer { events.kill() }
                let log = containerd.folder + "/c.log"
                let program = "echo begun; trap 'exit 3' TERM; while :; do sleep 0.05; done"
                let mount = ["--mount", "type=bind,src=\(containerd.folder),dst=/tmp,options=rbind:ro"]
                let flags = ["--detach", "--log-uri", "file://" + log, "--memory-limit", "20000000"] + mount
                try containerd.container("c", flags: flags, "sh", "-c", program).run().succeeded()
                #expect(until(seconds: 5) { Files.text(of: log) == "begun\n" })
                #expect(try containerd.exec("c", "sh", "-c", "exit 5").run().status == 5)
                #expect(try containerd.exec("c", flags: ["--cwd", "/tmp"], "test", "-s", "c.log").run().status == 0)
                let missing = try containerd.exec("c", "no-such-program").run()
                #expect(missing.status == 1 && missing.errors.contains("executable file not found"), "\(missing)")
                try containerd.exec("c", flags: ["--detach"], "sleep", "100").run().succeeded()
                #expect(try containerd.run("task", "ps", "c").split(separator: "\n").count >= 3)
                let metrics = try containerd.run("task", "metrics", "c").split(separator: "\n")
                    .map { $0.split(separator: " ") }
                #expect(metrics.contains { $0.first == "memory.limit_in_bytes" && $0.last == "19996672" }, "\(metrics)")
                // Memory that runs out kills a process, and the shim, which watches from the start on, says so.
                let hungry = "sleep 0.5; dd if=/dev/zero of=/dev/null bs=100M count=1; sleep 0.5"
                let limit = ["--rm", "--memory-limit", "20000000"]
                _ = try containerd.container("hungry", flags: limit, "sh", "-c", hungry).run()
                try containerd.run("task", "pause", "c")
                #expect(try containerd.status("c") == "PAUSED")
                #expect(try containerd.exec("c", "true").run().errors.contains("cannot exec in a paused state"))
                try containerd.run("task", "resume", "c")
                try containerd.run("task", "kill", "--signal", "TERM", "c")
                #expect(until(seconds: 5) { (try? containerd.status("c")) == "STOPPED" })
                #expect(try containerd.command(["task", "kill", "c"]).run().status == 1)
                let deleted = try containerd.command(["task", "delete", "c"]).run()
                #expect(deleted.errors.contains("exit code 3"), "\(deleted)")
                // The container is there still; its next task begins anew.
                try containerd.run("task", "start", "--detach", "c")
                #expect(try containerd.status("c") == "RUNNING")
                try containerd.remove("c")
                let wanted = [
                    "tasks/create", "tasks/start", "tasks/exec-added", "tasks/exec-started", "tasks/oom",
                    "tasks/paused", "tasks/resumed", "\"exit_status\":3", "tasks/delete", "\"exit_status\":137",
                ]
                var said = ""
                let complete = until(seconds: 5) {
                    said = Files.text(of: containerd.folder + "/events") ?? ""
                    return wanted.allSatisfy { said.contains($0) }
                }
                #expect(complete, "\(wanted.filter { !said.contains($0) }) not in \(said)")
            }
        }

        @Test("run and exec with a terminal", .timeLimit(.minutes(1)))
        func terminals() throws {
            try Containerd.use { containerd in
                let program =

                    #"until [ "$(stty size 2>/dev/null)" = "30 100" ]; do sleep 0.05; done; tty; read x; echo got $x; exit 9"#
                let run = try containerd.container("c", flags: ["--rm", "--tty"], "sh", "-c", program)
                    .onTerminal((says: "/dev/pts/0", gets: "words")).run()
                #expect(run.status == 9 && run.output.contains("got words"), "\(run)")
                try containerd.container("c", flags: ["--detach"], "sleep", "100").run().succeeded()
                let exec = try containerd.exec("c", flags: ["--tty"], "sh", "-c", program)
                    .onTerminal((says: "/dev/pts/0", gets: "words")).run()
                #expect(exec.status == 9 && exec.output.contains("got words"), "\(exec)")
            }
        }

        @Test(
            "task checkpoint: into a folder, into an image, and with the task's end",
            .enabled(if: Runtime.canCheckpoint), .timeLimit(.minutes(1)))
        func taskCheckpoint() throws {
            try Containerd.use { containerd in
                try containerd.counter("c")
                let (images, work) = (containerd.folder + "/images", containerd.folder + "/work")
                try containerd.run("task", "checkpoint", "--image-path", images, "--work-path", work, "c")
                #expect(Files.exists(images + "/inventory.img"))
                #expect(Files.names(in: work) == ["dump.log", "stats-dump"])
                #expect(try containerd.status("c") == "RUNNING")
                _ = try containerd.count("c", beyond: try containerd.count("c", beyond: 0))

                // What exec put in stops no checkpoint.
                try containerd.exec("c", flags: ["--detach"], "sleep", "1000").run().succeeded()
                let reference = try containerd.run("task", "checkpoint", "--exit", "c")
                #expect(try containerd.run("image", "list", "--quiet").contains(reference))
                #expect(until(seconds: 5) { (try? containerd.status("c")) == "STOPPED" })
                let deleted = try containerd.command(["task", "delete", "c"]).run()
                #expect(deleted.errors.contains("exit code 137"), "\(deleted)")
            }
        }

        @Test(
            "container checkpoint and restore under new names, with memory, files and a lock",
            .enabled(if: Runtime.canCheckpoint), .timeLimit(.minutes(1)))
        func containerCheckpoint() throws {
            try Containerd.use { containerd in
                try containerd.container(
                    "c1", flags: ["--detach"] + hostMounts, "flock", "/state/lock", "sh", "-c", ClientWorkload.counter
                ).run().succeeded()
                var before = 0
                for number in 1...3 {
                    let (name, next, image) = ("c\(number)", "c\(number + 1)", "local/checkpoint:\(number)")
                    before = try containerd.count(name, beyond: before)
                    try containerd.exec(name, "sh", "-c", "echo \(name) >>/etc/own").run().succeeded()
                    // No flag for the lock is given here, and none at the restore.
                    try containerd.run("container", "checkpoint", "--rw", "--image", "--task", name, image)
                    #expect(try containerd.status(name) == "RUNNING")
                    _ = try containerd.count(name, beyond: before)
                    try containerd.remove(name)
                    try containerd.run("container", "restore", "--rw", "--live", next, image)
                    let after = try containerd.count(next, beyond: before)
                    #expect(after < before + 500)
                    let work = "\(containerd.folder)/root/io.containerd.runtime.v2.task/\(containerd.namespace)/\(next)"
                    #expect(Files.names(in: work) == ["restore.log", "stats-restore"])
                    let own = (1...number).map { "c\($0)" }.joined(separator: "\n")
                    #expect(try containerd.said(in: next, ["cat", "/etc/own"]) == own)
                    #expect(try containerd.exec(next, "flock", "-n", "/state/lock", "true").run().status == 1)
                    // Of a second checkpoint that has parts in common with the first, ctr 1.6 leaves them out.
                    try containerd.run("image", "rm", "--sync", image)
                }
            }
        }

        @Test(
            "redis-server through checkpoints under new names, with its keys and new ones",
            .enabled(if: Runtime.canCheckpoint), .timeLimit(.minutes(1)))
        func redis() throws {
            try Containerd.use { containerd in
                var run = containerd.container("redis1", flags: ["--detach"] + hostMounts)
                run.words += ClientWorkload.redis
                try run.run().succeeded()
                var name = "redis1"
                try ClientWorkload.fillRedis(rounds: 1...3) { words in
                    try containerd.said(in: name, words)
                } restore: { round in
                    let (next, image) = ("redis\(round + 1)", "local/redis:\(round)")
                    try containerd.run("container", "checkpoint", "--rw", "--image", "--task", name, image)
                    try containerd.remove(name)
                    try containerd.run("container", "restore", "--rw", "--live", next, image)
                    try containerd.run("image", "rm", "--sync", image)
                    name = next
                }
            }
        }

        private var hostMounts: [String] {
            ClientWorkload.hostFolders.flatMap { source, place in
                ["--mount", "type=bind,src=\(source),dst=\(place),options=rbind:ro"]
            }
        }
    }
}
