import Glibc
import Testing

extension Integration {
    /// Programs as people run them, each through twenty checkpoints in a row.
    @Suite(.serialized)
    struct RealPrograms {
        /// Without checkpoints (0) every runtime must pass.
        static let cycles = Runtime.canCheckpoint ? [0, 20] : [0]

        private func cycle(_ container: Container, _ count: Int, _ check: (String) throws -> Void) throws {
            try check("at the start")
            for number in 0..<count {
                try container.checkpoint(to: "image\(number)")
                try container.restore(from: "image\(number)")
                try check("after restore \(number + 1)")
                _ = try Command("rm", "-rf", container.imageFolder("image\(number)")).run()
            }
        }

        @Test("redis-server keeps its data under redis-benchmark", .timeLimit(.minutes(4)), arguments: cycles)
        func redis(cycles: Int) throws {
            try TestBed.use { bed in
                let programs = ["server", "cli", "benchmark"].map { "/usr/bin/redis-" + $0 }
                let container = try bed.container(
                    .programs(programs),
                    arguments: [
                        "/usr/bin/redis-server", "--dir", "/state", "--save", "", "--enable-debug-command", "local",
                        "--maxclients", "900",
                    ])
                try container.run()
                let redis = Redis(container: container)
                #expect(until(seconds: 20) { (try? redis.ask("ping")) == "PONG" })
                try redis.fill(keys: 20_000)
                var digest = try redis.ask("debug", "digest")
                var hits = 0
                try cycle(container, cycles) { occasion in
                    hits += 1
                    #expect(try redis.ask("debug", "digest") == digest, "\(occasion)")
                    #expect(try redis.ask("incr", "hits") == "\(hits)", "\(occasion)")
                    if hits == 1 || hits == cycles + 1 { try redis.benchmark() }
                    digest = try redis.ask("debug", "digest")
                    try redis.waitForNoConnection()
                }
                #expect(try redis.ask("get", "key:777") == redis.ask("eval", "return redis.sha1hex('777')", "0"))
            }
        }

        @Test("python3 with four threads, open files and a child", .timeLimit(.minutes(4)), arguments: cycles)
        func python(cycles: Int) throws {
            try TestBed.use { bed in
                let container = try bed.container(
                    .programs([]), arguments: ["/usr/bin/python3", "/threads_and_files.py"])
                try container.mountUsr()
                try Files.copy(
                    Workload.folder + "/threads_and_files.py", to: container.bundle.rootfs + "/threads_and_files.py")
                try container.run()
                try container.waitUntilReady()
                try cycle(container, cycles, container.expectPass)
            }
        }

        @Test(
            "postgres keeps its data, its processes and the segment that they have attached", .timeLimit(.minutes(4)),
            .enabled(if: Files.exists(Postgres.programs + "postgres")), arguments: cycles)
        func postgres(cycles: Int) throws {
            try TestBed.use { bed in
                let container = try bed.container(.programs([]), arguments: ["/bin/sh", "-ec", Postgres.script])
                let postgres = Postgres(container: container)
                try postgres.prepare()
                try container.run()
                #expect(until(seconds: 60) { (try? postgres.ask("select 1")) == "1" })
                #expect(try postgres.ask("create table hits as select 0 as count").hasPrefix("SELECT"))
                let segments = try postgres.segments()
                #expect(segments.count == 1 && segments[0].last != "0", "\(segments)")
                var hits = 0
                try cycle(container, cycles) { occasion in
                    hits += 1
                    let count = try postgres.ask("update hits set count = count + 1 returning count")
                    #expect(count.hasPrefix("\(hits)\n"), "\(occasion): \(count)")
                    #expect(until(seconds: 10) { (try? postgres.segments()) == segments }, "\(occasion)")
                }
                // It would not end in order if its parts did not hear each other.
                try container.runtime.run("kill", container.id, "INT").succeeded()
                #expect(until(seconds: 20) { (try? container.status()) == "stopped" })
                let log = Files.text(of: container.bundle.folder + "/out.log") ?? ""
                #expect(log.contains("database system is shut down"), "\(log)")
            }
        }

        @Test("tmux keeps its panes, what they show and what runs in them", .timeLimit(.minutes(4)), arguments: cycles)
        func tmux(cycles: Int) throws {
            try TestBed.use { bed in
                let container = try bed.container(.programs([]), arguments: ["/bin/sh", "-ec", Tmux.script])
                try container.mountUsr()
                try container.run()
                try container.waitUntilReady()
                let tmux = Tmux(container: container)
                try tmux.type("x=40", in: 0)
                try tmux.type("cat", in: 1)
                var count = 0
                try cycle(container, cycles) { occasion in
                    count += 1
                    try tmux.type("x=$((x+1)); echo pane: $x", in: 0)
                    try tmux.type("line \(count)", in: 1)
                    try tmux.expect("pane: \(40 + count)\n", in: 0, occasion)
                    // Typed and echoed, and what cat says.
                    try tmux.expect("line \(count)\nline \(count)", in: 1, occasion)
                    #expect(
                        try tmux.ask("list-panes", "-F", "#{pane_width}x#{pane_height}") == "80x12\n80x11",
                        "\(occasion)")
                }
            }
        }

        @Test("a busybox pipeline with background jobs and a zombie", .timeLimit(.minutes(4)), arguments: cycles)
        func pipeline(cycles: Int) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["/pipeline.sh"])
                try Files.copy(Workload.folder + "/pipeline.sh", to: container.bundle.rootfs + "/pipeline.sh")
                try container.run()
                try container.waitUntilReady()
                try cycle(container, cycles, container.expectPass)
            }
        }
    }
}

/// The redis-server in a container, asked with the redis-cli that is in it too.
private struct Redis {
    let container: Container

    func ask(_ words: String...) throws(Failure) -> String {
        try container.runtime.command(["exec", container.id, "/usr/bin/redis-cli", "--raw"] + words).run()
            .succeeded().output
    }

    func fill(keys: Int) throws(Failure) {
        let script = "for i = 1, \(keys) do redis.call('set', 'key:' .. i, redis.sha1hex(tostring(i))) end return 'ok'"
        guard try ask("eval", script, "0") == "ok", try ask("dbsize") == "\(keys)" else {
            throw Failure("redis did not take \(keys) keys")
        }
    }

    func benchmark() throws(Failure) {
        let tests = "set,get,incr,lpush,lpop,sadd,hset"
        try container.exec("/usr/bin/redis-benchmark", "-q", "-n", "4000", "-c", "20", "-P", "4", "-t", tests)
            .succeeded()
    }

    /// An established connection would stop the checkpoint; redis closes its end a moment after the client.
    func waitForNoConnection() throws(Failure) {
        let pid = try container.pid()
        let established = [" 01 ", " 04 ", " 05 ", " 08 ", " 09 "]
        let isClear = until(seconds: 10) {
            guard let table = Files.text(of: "/proc/\(pid)/net/tcp") else { return false }
            return !table.split(separator: "\n").contains { line in established.contains { line.contains($0) } }
        }
        guard isClear else { throw Failure("redis keeps a connection") }
    }
}

/// The machine's PostgreSQL as an ordinary user's first process, asked with psql.
private struct Postgres {
    static let programs = "/usr/lib/postgresql/15/bin/"
    /// A checkpoint takes no connections over the network yet; nobody makes any here.
    static let script = """
        \(programs)initdb -D /state/data -U user -A trust --no-sync --locale=C >/dev/null
        exec \(programs)postgres -D /state/data -k /state -c listen_addresses= -c fsync=off
        """
    let container: Container

    func prepare() throws(Failure) {
        try container.mountUsr()
        try Files.write("user:x:1000:1000::/state:/bin/sh\n", to: container.bundle.rootfs + "/etc/passwd")
        try container.bundle.edit { $0["process"]["user"] = ["uid": 1000, "gid": 1000] }
        try Command("chown", "1000:1000", container.stateInRootfs).run().succeeded()
    }

    func ask(_ query: String) throws(Failure) -> String {
        try container.exec(Self.programs + "psql", "-h", "/state", "-U", "user", "-Atc", query, "postgres").succeeded()
            .output
    }

    /// Key, id, mode, size and number of attachments of each System V segment.
    func segments() throws(Failure) -> [[Substring]] {
        try container.exec("/bin/cat", "/proc/sysvipc/shm").succeeded().output.split(separator: "\n").dropFirst().map {
            let columns = $0.split(separator: " ")
            return columns[0...3] + [columns[6]]
        }
    }
}

/// The machine's tmux with two panes of shells, as a daemon beside the first process.
private struct Tmux {
    static let script = """
        export LC_ALL=C.UTF-8 TERM=screen ENV= PS1='$ '
        tmux -S /state/tmux -f /dev/null new-session -d -x 80 -y 24 sh
        tmux -S /state/tmux split-window -d sh
        echo ready >/state/ready
        exec sleep 100000
        """
    let container: Container

    func ask(_ words: String...) throws(Failure) -> String {
        try container.runtime.command(["exec", container.id, "/usr/bin/tmux", "-S", "/state/tmux"] + words).run()
            .succeeded().output
    }

    func type(_ line: String, in pane: Int) throws(Failure) {
        _ = try ask("send-keys", "-t", ":.\(pane)", line, "Enter")
    }

    func expect(_ text: String, in pane: Int, _ occasion: String) throws(Failure) {
        var shown = ""
        let came = until(seconds: 20) {
            shown = (try? ask("capture-pane", "-p", "-t", ":.\(pane)")) ?? ""
            return shown.contains(text)
        }
        guard came else { throw Failure("\(occasion): pane \(pane) shows: \(shown)") }
    }
}

extension Container {
    /// The machine's own /usr, read-only.
    func mountUsr() throws(Failure) {
        try Files.makeFolder(bundle.rootfs + "/usr")
        for name in ["bin", "lib", "lib64", "sbin"] {
            let link = bundle.rootfs + "/" + name
            guard symlink("usr/" + name, link) == 0 else { throw Failure("cannot link \(link)") }
        }
        try bundle.edit { config in
            let usr: JSONValue = [
                "destination": "/usr", "type": "bind", "source": "/usr", "options": ["bind", "ro", "nosuid", "nodev"],
            ]
            config["mounts"] = .array(config["mounts"].elements + [usr])
        }
    }
}
