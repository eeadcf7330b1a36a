import Glibc
import Testing

extension Integration {
    /// Filters of config.json in real containers. The program of `confined/calls.c` makes calls and says what came of
    /// them.
    @Suite(.serialized)
    struct SeccompFilters {
        private func container(_ bed: TestBed, _ seccomp: JSONValue, _ calls: [String]) throws -> Container {
            let container = try bed.container(.workload("confined/calls"), arguments: ["/workload"] + calls)
            try container.bundle.edit { $0["linux"]["seccomp"] = seccomp }
            return container
        }

        private func run(_ container: Container, _ bed: TestBed) throws -> Outcome {
            try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
        }

        /// A filter that lets everything pass but for these rules.
        private func filter(_ rules: JSONValue...) -> JSONValue {
            ["defaultAction": "SCMP_ACT_ALLOW", "syscalls": .array(rules)]
        }

        private func rule(_ names: [String], _ action: String, errno: Int? = nil, _ args: JSONValue...) -> JSONValue {
            var rule: JSONValue = ["names": .strings(names), "action": .string("SCMP_ACT_" + action)]
            if let errno { rule["errnoRet"] = .integer(errno) }
            if !args.isEmpty { rule["args"] = .array(args) }
            return rule
        }

        private func argument(_ index: Int, _ op: String, _ value: Int, _ second: Int? = nil) -> JSONValue {
            var argument: JSONValue = [
                "index": .integer(index), "op": .string("SCMP_CMP_" + op), "value": .integer(value),
            ]
            if let second { argument["valueTwo"] = .integer(second) }
            return argument
        }

        @Test(
            "an action does what its name says, with and without no_new_privs", .timeLimit(.minutes(1)),
            arguments: [
                ("ALLOW", nil, "getppid", 0, "returned 0"),
                ("KILL", nil, "thread:getppid", 0, "thread ended"),
                ("KILL_THREAD", nil, "thread:getppid", 0, "thread ended"),
                ("KILL_PROCESS", nil, "thread:getppid", 159, ""),
                ("TRAP", nil, "trap:getppid", 0, "trapped 110"),
                ("ERRNO", nil, "getppid", 0, "errno 1"),
                ("ERRNO", 77, "getppid", 0, "errno 77"),
                ("TRACE", 5, "getppid", 0, "errno 38"),  // nobody traces
                ("LOG", nil, "getppid", 0, "returned 0"),
            ] as [(String, Int?, String, Int32, String)])
        func actions(action: String, errno: Int?, call: String, status: Int32, output: String) throws {
            try TestBed.use { bed in
                let container = try container(bed, filter(rule(["getppid"], action, errno: errno)), [call])
                for noNewPrivileges in [true, false] {
                    try container.bundle.edit { $0["process"]["noNewPrivileges"] = .bool(noNewPrivileges) }
                    let outcome = try run(container, bed)
                    #expect((outcome.status, outcome.output) == (status, output), "\(outcome)")
                }
            }
        }

        /// One filter each: libseccomp 2.5.4 confuses rules that compare the same argument in several ways.
        @Test(
            "an operator compares all 64 bits, and conditions on several arguments must all hold",
            .timeLimit(.minutes(1)),
            arguments: [
                ("EQ", [0]), ("NE", [-1, 1]), ("LT", [-1]), ("LE", [-1, 0]), ("GT", [1]), ("GE", [0, 1]),
            ] as [(String, Set<Int>)])
        func operators(op: String, hits: Set<Int>) throws {
            let base = 5 + (1 << 32)
            try TestBed.use { bed in
                let matching = rule(["lseek"], "ERRNO", errno: 77, argument(1, op, base), argument(2, "EQ", 1))
                let calls = [-1, 0, 1].map { "lseek:999:\(base + $0):1" } + ["lseek:999:\(base + (hits.first ?? 0)):2"]
                let outcome = try run(try container(bed, filter(matching), calls), bed)
                // EBADF where the call was made.
                let expected = [-1, 0, 1].map { hits.contains($0) ? "errno 77" : "errno 9" } + ["errno 9"]
                #expect(outcome.output.split(separator: "\n").map(String.init) == expected, "\(outcome)")
            }
        }

        @Test("MASKED_EQ compares some bits; two conditions on one argument are alternatives", .timeLimit(.minutes(1)))
        func maskAndAlternatives() throws {
            try TestBed.use { bed in
                let profile = filter(
                    rule(["lseek"], "ERRNO", errno: 77, argument(1, "MASKED_EQ", 0xf0, 0x50)),
                    rule(["getpgid"], "ERRNO", errno: 78, argument(0, "EQ", 500), argument(0, "EQ", 501)))
                let calls = ["lseek:999:\(0x5a)", "lseek:999:\(0x4a)", "getpgid:500", "getpgid:501", "getpgid:1"]
                let outcome = try run(try container(bed, profile, calls), bed)
                #expect(outcome.output == "errno 77\nerrno 9\nerrno 78\nerrno 78\nreturned 1", "\(outcome)")
            }
        }

        @Test(
            "a default action takes defaultErrnoRet; calls newer than the profile do not exist", .timeLimit(.minutes(1))
        )
        func defaults() throws {
            try TestBed.use { bed in
                let container = try bed.container(
                    .workload("confined/calls"), arguments: ["/workload", "swapon", "newest"])
                try container.bundle.edit { config in
                    let allowed = config["linux"]["seccomp"]["syscalls"].elements.filter {
                        $0["action"] == "SCMP_ACT_ALLOW"
                    }
                    config["linux"]["seccomp"]["syscalls"] = .array(allowed)
                    config["linux"]["seccomp"]["defaultErrnoRet"] = 77
                }
                let outcome = try run(container, bed)
                #expect(outcome.output == "errno 77\nerrno 38", "\(outcome)")
            }
        }

        @Test("names that nobody knows are ignored", .timeLimit(.minutes(1)))
        func unknownNames() throws {
            try TestBed.use { bed in
                let profile = filter(rule(["no_such_call", "getppid"], "ERRNO", errno: 77))
                let outcome = try run(try container(bed, profile, ["getppid"]), bed)
                #expect(outcome.output == "errno 77", "\(outcome)")
            }
        }

        #if arch(x86_64)
            @Test(
                "an architecture that the profile does not list is deadly, a listed one is filtered",
                .timeLimit(.minutes(1)))
            func architectures() throws {
                try TestBed.use { bed in
                    var profile = filter(rule(["getppid"], "ERRNO", errno: 77))
                    let i386getppid = "i386:64"
                    profile["architectures"] = ["SCMP_ARCH_X86_64"]
                    let container = try container(bed, profile, ["getppid", i386getppid])
                    #expect(try run(container, bed).status == 159)
                    try container.bundle.edit {
                        let names = ["X86_64", "X86", "X32"].map { "SCMP_ARCH_" + $0 }
                        $0["linux"]["seccomp"]["architectures"] = .strings(names)
                    }
                    #expect(try run(container, bed).output == "errno 77\nerrno 77")
                }
            }
        #endif

        @Test(
            "a flag changes nothing about what is filtered", .timeLimit(.minutes(1)),
            arguments: ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"])
        func flags(name: String) throws {
            try TestBed.use { bed in
                var profile = filter(rule(["getppid"], "ERRNO", errno: 77))
                profile["flags"] = .strings(["SECCOMP_FILTER_FLAG_" + name])
                let outcome = try run(try container(bed, profile, ["getppid"]), bed)
                #expect(outcome.output == "errno 77", "\(outcome)")
            }
        }

        @Test(
            "a filter need allow nothing of the set-up but execve", .timeLimit(.minutes(1)),
            arguments: [(true, 0), (true, 1000), (false, 0), (false, 1000)])
        func loadedLast(noNewPrivileges: Bool, user: Int) throws {
            try TestBed.use { bed in
                let container = try bed.container(.workload("confined/bare"), arguments: ["/workload"])
                try container.bundle.edit { config in
                    config["process"]["noNewPrivileges"] = .bool(noNewPrivileges)
                    config["process"]["user"] = ["uid": .integer(user), "gid": .integer(user)]
                    config["linux"]["seccomp"] = [
                        "defaultAction": "SCMP_ACT_KILL_PROCESS",
                        "syscalls": [["names": ["execve", "write", "exit_group"], "action": "SCMP_ACT_ALLOW"]],
                    ]
                }
                let outcome = try run(container, bed)
                #expect((outcome.status, outcome.output) == (0, "here"), "\(outcome)")
                try bed.runtime.command(["create", "--bundle", container.bundle.folder, container.id]).run().succeeded()
                let entered = try container.exec("/workload")
                #expect((entered.status, entered.output) == (0, "here"), "\(entered)")
                try bed.runtime.run("start", container.id).succeeded()
                #expect(until(seconds: 10) { (try? container.status()) == "stopped" })
                try bed.runtime.run("delete", container.id).succeeded()
            }
        }

        @Test(
            "the right to load a filter does not stay with the program", .timeLimit(.minutes(1)), arguments: [0, 1000])
        func rightToFilter(user: Int) throws {
            try TestBed.use { bed in
                let container = try bed.container(
                    .busybox, arguments: ["grep", "-E", "^(Cap|Seccomp:)", "/proc/self/status"])
                try container.bundle.edit { config in
                    config["process"]["noNewPrivileges"] = false
                    config["process"]["user"] = ["uid": .integer(user), "gid": .integer(user)]
                    config["process"]["capabilities"] = [
                        "bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
                        "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
                    ]
                }
                let outcome = try run(container, bed)
                let sets = user == 0 ? ["20", "21", "21", "21", "20"] : ["20", "20", "20", "21", "20"]
                let expected = zip(["Inh", "Prm", "Eff", "Bnd", "Amb"], sets).map { "Cap\($0):\t00000000000000\($1)" }
                #expect(outcome.output == (expected + ["Seccomp:\t2"]).joined(separator: "\n"), "\(outcome)")
            }
        }

        // MARK: The agent

        private func withAgent(
            _ bed: TestBed, _ body: (_ socket: String, _ messages: () -> [JSONValue]) throws -> Void
        ) throws {
            let (socket, log) = (bed.folder + "/agent.sock", bed.folder + "/agent.log")
            try bed.withService("services/agent.py", socket, log) {
                try body(socket) {
                    let lines = (Files.text(of: log) ?? "").split(separator: "\n")
                    return lines.compactMap { try? JSONValue(parsing: String($0)) }
                }
            }
        }

        private func notifying(_ socket: String, metadata: String? = nil) -> JSONValue {
            var profile = filter(rule(["getppid", "getpriority"], "NOTIFY"))
            profile["listenerPath"] = .string(socket)
            if let metadata { profile["listenerMetadata"] = .string(metadata) }
            profile["flags"] = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
            return profile
        }

        @Test("an agent gets the listener of run, and decides", .timeLimit(.minutes(1)), arguments: [true, false])
        func notifyRun(noNewPrivileges: Bool) throws {
            try TestBed.use { bed in
                try withAgent(bed) { socket, messages in
                    let profile = notifying(socket, metadata: "m <1>")
                    let container = try container(bed, profile, ["getppid", "getpriority"])
                    try container.bundle.edit {
                        $0["process"]["noNewPrivileges"] = .bool(noNewPrivileges)
                        $0["annotations"] = ["a": "b"]
                    }
                    #expect(try run(container, bed).output == "returned 4242\nreturned 4242")
                    let message = try #require(messages().first)
                    #expect(message["ociVersion"] == "1.3.0")
                    #expect(message["fds"] == ["seccompFd"])
                    #expect(message["metadata"] == "m <1>")
                    let state = message["state"]
                    #expect(state["id"].string == container.id && state["annotations"] == ["a": "b"])
                    #expect(state["bundle"].string == container.bundle.folder)
                    #expect(["creating", "created"].contains(state["status"].string))
                    #expect(message["pid"].integer.map { $0 > 1 } == true && message["pid"] == state["pid"])
                }
            }
        }

        @Test("an agent gets the listener of create and start, and one more for each exec", .timeLimit(.minutes(1)))
        func notifyExec() throws {
            try TestBed.use { bed in
                try withAgent(bed) { socket, messages in
                    let container = try bed.container(.busybox, arguments: ["sh", "-c", "read x </state/fifo"])
                    try Files.copy(try Workload.compiled("confined/calls"), to: container.bundle.rootfs + "/workload")
                    try container.bundle.edit { $0["linux"]["seccomp"] = notifying(socket) }
                    try check(mkfifo(container.stateInRootfs + "/fifo", 0o666), "make a FIFO")
                    for noNewPrivileges in [true, false] {
                        try container.bundle.edit { $0["process"]["noNewPrivileges"] = .bool(noNewPrivileges) }
                        let before = messages().count
                        let created = bed.runtime.command(["create", "--bundle", container.bundle.folder, container.id])
                        try created.run().succeeded()
                        try bed.runtime.run("start", container.id).succeeded()
                        #expect(until(seconds: 10) { messages().count == before + 1 })
                        #expect(try container.exec("/workload", "getppid").output == "returned 4242")
                        let message = try #require(messages().last)
                        #expect(messages().count == before + 2)
                        #expect(message["state"]["status"] == "running" && message["metadata"] == .null)
                        let first = try container.pid()
                        #expect(message["state"]["pid"].integer == Int(first))
                        #expect(message["pid"] != message["state"]["pid"])
                        try bed.runtime.run("delete", "--force", container.id).succeeded()
                    }
                }
            }
        }

        /// The listener travels in a message; a filter for sendmsg keeps it from that.
        @Test(
            "a listener needs no right to look into processes, unless the agent decides on sendmsg, too",
            .timeLimit(.minutes(1)), arguments: [true, false])
        func notifySend(noNewPrivileges: Bool) throws {
            try TestBed.use { bed in
                try withAgent(bed) { socket, _ in
                    let container = try container(bed, notifying(socket), ["getppid"])
                    try container.bundle.edit { $0["process"]["noNewPrivileges"] = .bool(noNewPrivileges) }
                    let words = bed.runtime.command(["run", "--bundle", container.bundle.folder, container.id]).words
                    let unprivileged = Command(["setpriv", "--bounding-set", "-sys_ptrace"] + words)
                    #expect(try unprivileged.run().output == "returned 4242")
                    try container.bundle.edit { config in
                        let names: JSONValue = ["getppid", "sendmsg"]
                        config["linux"]["seccomp"]["syscalls"] = [["names": names, "action": "SCMP_ACT_NOTIFY"]]
                    }
                    #expect(try run(container, bed).output == "returned 4242")
                    let refused = try unprivileged.run()
                    #expect(refused.status == 1 && refused.errors.contains("fetch seccomp listener"), "\(refused)")
                }
            }
        }

        @Test("without the agent there is no container", .timeLimit(.minutes(1)), arguments: [true, false])
        func noAgent(noNewPrivileges: Bool) throws {
            try TestBed.use { bed in
                let container = try container(bed, notifying(bed.folder + "/nobody"), ["getppid"])
                try container.bundle.edit { $0["process"]["noNewPrivileges"] = .bool(noNewPrivileges) }
                let outcome = try run(container, bed)
                #expect(outcome.status == 1 && outcome.errors.contains("seccomp listener"), "\(outcome)")
                try bed.expectNoLeaks()
            }
        }

        @Test("exec'd programs are filtered, too", .timeLimit(.minutes(1)))
        func exec() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try Files.copy(try Workload.compiled("confined/calls"), to: container.bundle.rootfs + "/workload")
                try container.bundle.edit {
                    $0["linux"]["seccomp"] = filter(rule(["getppid"], "ERRNO", errno: 77))
                }
                try container.run()
                #expect(try container.exec("/workload", "getppid").output == "errno 77")
            }
        }
    }
}
