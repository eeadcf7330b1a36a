import Testing

extension Integration.PodmanClient {
    @Test("run, exec and attach with a terminal, left by keys; attach without one", .timeLimit(.minutes(1)))
    func terminals() throws {
        try use { podman in
            let program =
                #"until [ "$(stty size 2>/dev/null)" = "30 100" ]; do sleep 0.05; done; tty; read x; echo got $x; exit 9"#
            let run = try podman.containerCommand(["--rm", "-i", "-t", "bb", "sh", "-c", program])
                .onTerminal((says: "/dev/pts/0", gets: "words")).run()
            #expect(run.status == 9 && run.output.contains("got words"), "\(run)")

            let answering = "while read x; do echo got $x; [ $x != end ] || exit 4; done; exit 5"
            try podman.container("-d", "-i", "-t", "--name", "tty", "bb", "sh", "-c", answering)
            let exec = try podman.command(["exec", "-i", "-t", "tty", "sh", "-c", program])
                .onTerminal((says: "/dev/pts/1", gets: "words")).run()
            #expect(exec.status == 9 && exec.output.contains("got words"), "\(exec)")
            try podman.command(["attach", "--detach-keys", "ctrl-x", "tty"])
                .onTerminal((says: "", gets: "words"), (says: "got words", gets: "\u{18}")).run().succeeded()
            #expect(try podman.inspect("tty", ".State.Status") == "running")
            let attached = try podman.command(["attach", "tty"])
                .onTerminal((says: "", gets: "more"), (says: "got more", gets: "end")).run()
            #expect(attached.output.contains("got end"), "\(attached)")
            #expect(try podman.run("wait", "tty") == "4")
            #expect(try podman.run("logs", "tty").contains("got words"))

            try podman.container("-d", "-i", "--name", "pipe", "bb", "sh", "-c", answering)
            try Files.write("a\nb\n", to: podman.folder + "/input")
            var attach = podman.command(["attach", "pipe"])
            attach.input = podman.folder + "/input"
            #expect(try attach.run().output == "got a\ngot b")
            #expect(try podman.run("wait", "pipe") == "5")
        }
    }

    @Test("a restart policy starts the program again, as often as it says", .timeLimit(.minutes(1)))
    func restartPolicies() throws {
        try use { podman in
            func runs(_ name: String, _ logs: String, _ state: String) -> Bool {
                until(seconds: 20) {
                    (try? podman.run("logs", name)) == logs
                        && (try? podman.inspect(name, ".RestartCount}} {{.State.Status}} {{.State.ExitCode")) == state
                }
            }
            let failing = ["--restart", "on-failure:2", "bb", "sh", "-c", "echo begun; exit 3"]
            try podman.container(["-d", "--name", "failing"] + failing).succeeded()
            #expect(runs("failing", "begun\nbegun\nbegun", "2 exited 3"))
            let program = "echo begun; [ -e /once ] && exec sleep 100; touch /once"
            try podman.container("-d", "--name", "always", "--restart", "always", "bb", "sh", "-c", program)
            #expect(runs("always", "begun\nbegun", "1 running 0"))
            try podman.run("stop", "-t", "0", "always")
            #expect(runs("always", "begun\nbegun", "1 exited 137"))
        }
    }
}
