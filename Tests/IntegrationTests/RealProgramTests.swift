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
