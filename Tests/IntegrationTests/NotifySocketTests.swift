import Testing

extension Integration {
    /// A program inside tells the service manager of the host that it is ready.
    @Suite(.serialized)
    struct NotifySockets {
        /// Says something else, then that it is ready when /state/go is there, then waits.
        private static let program = """
            import os, socket, time
            inside = os.environ["NOTIFY_SOCKET"]
            manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            manager.connect(inside)
            manager.send(b"STATUS=starting")
            open("/state/asked", "w").write(inside)
            while not os.path.exists("/state/go"): time.sleep(0.005)
            manager.send(b"READY=1\\nSTATUS=serving")
            while not os.path.exists("/state/end"): time.sleep(0.005)
            """

        private func withManager(
            _ bed: TestBed, name: String, _ body: (_ environment: [String], _ messages: () -> [String]) throws -> Void
        ) throws {
            let log = bed.folder + "/manager.log"
            try bed.withService("services/manager.py", name, log) {
                try body(Command.inheritedEnvironment + ["NOTIFY_SOCKET=\(name)"]) {
                    (Files.text(of: log) ?? "").split(separator: "\n").map(String.init)
                }
            }
        }

        /// A container with Python; the host's own files, read-only, are quicker than a copy of them.
        private func container(_ bed: TestBed) throws -> Container {
            let container = try bed.container(.busybox, arguments: ["/usr/bin/python3", "-c", Self.program])
            try container.bundle.edit { config in
                let folders = ["/usr", "/lib", "/lib64"].map { folder -> JSONValue in
                    [
                        "destination": .string(folder), "type": "bind", "source": .string(Files.resolved(folder)),
                        "options": ["bind", "ro"],
                    ]
                }
                config["mounts"] = .array(config["mounts"].elements + folders)
                config["linux"]["seccomp"] = .null
                // Not root: the socket is for everybody.
                config["process"]["user"] = ["uid": 1000, "gid": 1000]
            }
            return container
        }

        @Test(
            "start waits for READY and names the container's process", .timeLimit(.minutes(1)),
            arguments: [true, false])
        func start(isAbstract: Bool) throws {
            try TestBed.use { bed in
                let name = isAbstract ? "@\(bed.token)" : bed.folder + "/manager"
                try withManager(bed, name: name) { environment, messages in
                    let container = try container(bed)
                    var create = bed.runtime.command(["create", "--bundle", container.bundle.folder, container.id])
                    create.environment = environment
                    try create.run().succeeded()
                    var command = bed.runtime.command(["start", container.id])
                    command.environment = environment
                    var start = try command.start()
                    #expect(try container.waitForFile("asked") == "/run/notify/notify.sock")
                    #expect(try container.status() == "running")
                    let isEarly = start.hasEnded()
                    #expect(!isEarly && messages().isEmpty)
                    try Files.write("", to: container.stateInRootfs + "/go")
                    let ended = start.wait(seconds: 20)
                    #expect(ended)
                    #expect(start.outcome().status == 0)
                    let pid = try container.pid()
                    #expect(messages() == ["READY=1 0", "MAINPID=\(pid) 0", "BARRIER=1 1"])
                    try bed.runtime.run("delete", "--force", container.id).succeeded()
                }
            }
        }

        @Test("run tells of READY while it waits for the end", .timeLimit(.minutes(1)))
        func run() throws {
            try TestBed.use { bed in
                try withManager(bed, name: bed.folder + "/manager") { environment, messages in
                    let container = try container(bed)
                    var command = bed.runtime.command(["run", "--bundle", container.bundle.folder, container.id])
                    command.environment = environment
                    var run = try command.start()
                    _ = try container.waitForFile("asked")
                    try Files.write("", to: container.stateInRootfs + "/go")
                    // The runtime itself is what the manager watches.
                    #expect(until(seconds: 20) { messages() == ["READY=1 0"] })
                    let isEarly = run.hasEnded()
                    #expect(!isEarly)
                    try Files.write("", to: container.stateInRootfs + "/end")
                    let ended = run.wait(seconds: 20)
                    #expect(ended)
                    #expect(run.outcome().status == 0)
                }
            }
        }

        /// Each would stay open in the runtime, until it has no number left for what it needs itself.
        @Test("descriptors that a program sends along are closed", .timeLimit(.minutes(1)))
        func descriptors() throws {
            try TestBed.use { bed in
                let manager = bed.folder + "/manager"
                try withManager(bed, name: manager) { environment, messages in
                    let container = try bed.container(.workload("hostile/notify_descriptors"), arguments: ["/workload"])
                    try container.bundle.edit { $0["linux"]["seccomp"] = .null }
                    var command = bed.runtime.command(["run", "--bundle", container.bundle.folder, container.id])
                    command.environment = environment
                    var run = try command.start()
                    defer { run.kill() }
                    let isReady = until(seconds: 20) { !messages().isEmpty || run.hasEnded() }
                    #expect(isReady && messages() == ["READY=1 0"], "\(messages())")
                    let open = Files.names(in: "/proc/\(run.pid)/fd").count
                    #expect(open > 0 && open < 64, "the runtime has \(open) descriptors")
                    try bed.runtime.run("delete", "--force", container.id).succeeded()
                    let hasEnded = run.wait(seconds: 20)
                    #expect(hasEnded)
                }
            }
        }

        @Test("a program that ends without a word ends the wait, too", .timeLimit(.minutes(1)))
        func noWord() throws {
            try TestBed.use { bed in
                try withManager(bed, name: bed.folder + "/manager") { environment, messages in
                    let container = try bed.container(.busybox, arguments: ["true"])
                    var command = bed.runtime.command(["run", "-d", "--bundle", container.bundle.folder, container.id])
                    command.environment = environment
                    command.output = bed.folder + "/out"
                    try command.run(seconds: 20).succeeded()
                    try bed.runtime.run("delete", container.id).succeeded()
                    #expect(messages().isEmpty)
                }
            }
        }
    }
}
