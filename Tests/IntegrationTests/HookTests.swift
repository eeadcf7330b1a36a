import Glibc
import Testing

extension Integration {
    /// Hooks of config.json: shell scripts that write down what they were given, in the container's /state.
    @Suite(.serialized)
    struct LifecycleHooks {
        private static let kinds = [
            "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
        ]

        /// A hook that runs `script` with the state in $state and the log in $log.
        private func hook(
            _ container: Container, _ kind: String, _ script: String, timeout: Int? = nil
        ) -> JSONValue {
            // The one kind that sees the container's own files, where busybox goes by its name.
            let inside = kind == "startContainer"
            let log = inside ? "/state/log" : container.stateInRootfs + "/log"
            var hook: JSONValue = [
                "path": "/bin/sh",
                "args": .strings([inside ? "sh" : "a-shell", "-c", "log=\(log); read -r state || :; \(script)"]),
            ]
            if let timeout { hook["timeout"] = .integer(timeout) }
            return hook
        }

        private func container(
            _ bed: TestBed, _ hooks: (Container) -> [String: [JSONValue]]
        ) throws -> Container {
            let container = try bed.container(
                .busybox, arguments: ["sh", "-c", "echo program >>/state/log; sleep 1000"])
            try container.bundle.edit { config in
                config["hooks"] = .object(hooks(container).mapValues(JSONValue.array))
                config["annotations"] = ["org.example": "a \"b\""]
            }
            return container
        }

        private func log(_ container: Container) -> [String] {
            (Files.text(of: container.stateInRootfs + "/log") ?? "").split(separator: "\n").map(String.init)
        }

        private func create(_ container: Container, _ bed: TestBed) throws -> Outcome {
            try bed.runtime.run("create", "--bundle", container.bundle.folder, container.id)
        }

        @Test("hooks run in the order of the container's life, each with its status and pid", .timeLimit(.minutes(1)))
        func order() throws {
            try TestBed.use { bed in
                let container = try container(bed) { container in
                    let pairs = Self.kinds.map { kind in
                        let scripts = ["echo \(kind) 1 $state >>$log", "echo \(kind) 2 >>$log"]
                        return (kind, scripts.map { hook(container, kind, $0) })
                    }
                    return Dictionary(uniqueKeysWithValues: pairs)
                }
                try create(container, bed).succeeded()
                #expect(log(container).map { $0.split(separator: " ")[0] }.last == "createContainer")
                let pid = try container.pid()
                try bed.runtime.run("start", container.id).succeeded()
                _ = try container.waitForFile("log") { $0.contains("program") }
                try bed.runtime.run("delete", "--force", container.id).succeeded()
                let lines = log(container)
                // The program and the hooks of the start run side by side.
                let ordered = lines.filter { $0 != "program" }.map { $0.split(separator: " ").prefix(2) }
                #expect(ordered.map { $0.joined(separator: " ") } == Self.kinds.flatMap { ["\($0) 1", "\($0) 2"] })
                let expected: [(status: String, pid: Int?)] = [
                    ("creating", Int(pid)), ("creating", Int(pid)), ("creating", 1), ("created", 1),
                    ("running", Int(pid)), ("stopped", nil),
                ]
                for (kind, expected) in zip(Self.kinds, expected) {
                    let line = try #require(lines.first { $0.hasPrefix("\(kind) 1 ") })
                    let state = try JSONValue(parsing: String(line.dropFirst(kind.count + 3)))
                    #expect(state["status"].string == expected.status, "\(line)")
                    #expect(state["pid"].integer == expected.pid, "\(line)")
                    #expect(state["id"].string == container.id && state["ociVersion"] == "1.3.0")
                    #expect(state["bundle"].string == container.bundle.folder)
                    #expect(state["annotations"] == ["org.example": "a \"b\""])
                }
            }
        }

        @Test(
            "a hook runs in the namespaces of its kind, with exactly its arguments and variables",
            .timeLimit(.minutes(1)))
        func surroundings() throws {
            try TestBed.use { bed in
                let container = try container(bed) { container in
                    var hooks: [String: [JSONValue]] = [:]
                    for kind in Self.kinds {
                        // /proc may be another pid namespace's, so the shell asks a child for its own number there.
                        let script = """
                            echo \(kind) $0 $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/net) >>$log
                            cut -d' ' -f4 /proc/self/stat >$log.pid; read -r me <$log.pid
                            tr '\\0' '\\n' </proc/$me/environ | sed 's/^/\(kind) variable /' >>$log
                            # In a shell of its own: this one would hold the ends of a pipeline, or what it replaced.
                            (ls /proc/$me/fd >$log.open)
                            tr '\\n' ' ' <$log.open | sed 's/^/\(kind) open /' >>$log; echo >>$log
                            """
                        var with = hook(container, kind, script)
                        with["env"] = ["A=1", "PATH=/bin:/usr/bin"]
                        hooks[kind] = [with]
                    }
                    return hooks
                }
                try container.bundle.edit { config in
                    // With an empty list of variables a hook has none.
                    var bare = config["hooks"]["prestart"].elements[0]
                    bare["env"] = []
                    let script = "PATH=/bin:/usr/bin; tr '\\0' '\\n' </proc/$$/environ | sed 's/^/bare /' >>"
                    bare["args"] = ["x", "-c", .string(script + container.stateInRootfs + "/log")]
                    config["hooks"]["prestart"] = .array(config["hooks"]["prestart"].elements + [bare])
                }
                try create(container, bed).succeeded()
                let pid = try container.pid()
                let own = "\(Files.link("/proc/self/ns/mnt") ?? "") \(Files.link("/proc/self/ns/net") ?? "")"
                let theirs = "\(Files.link("/proc/\(pid)/ns/mnt") ?? "") \(Files.link("/proc/\(pid)/ns/net") ?? "")"
                try bed.runtime.run("start", container.id).succeeded()
                try bed.runtime.run("delete", "--force", container.id).succeeded()
                let lines = log(container)
                for kind in Self.kinds {
                    let isInside = kind == "createContainer" || kind == "startContainer"
                    let name = kind == "startContainer" ? "sh" : "a-shell"
                    #expect(lines.contains("\(kind) \(name) \(isInside ? theirs : own)"), "\(lines)")
                    let variables = lines.filter { $0.hasPrefix("\(kind) variable ") }
                    #expect(variables == ["\(kind) variable A=1", "\(kind) variable PATH=/bin:/usr/bin"])
                    // Nothing but the standard streams.
                    #expect(lines.contains("\(kind) open 0 1 2 "), "\(lines)")
                }
                #expect(!lines.contains { $0.hasPrefix("bare ") }, "\(lines)")
            }
        }

        @Test(
            "hooks that say no variables have the runtime's, and in the container none or its program's",
            .timeLimit(.minutes(1)))
        func inheritedVariables() throws {
            try TestBed.use { bed in
                let container = try container(bed) { container in
                    let pairs = Self.kinds.map { kind in
                        let script = "echo \(kind) $PWD $MARK $C $HOME $(/bin/grep Seccomp: /proc/self/status) >>$log"
                        return (kind, [hook(container, kind, "PATH=/bin:/usr/bin; \(script)")])
                    }
                    return Dictionary(uniqueKeysWithValues: pairs)
                }
                try container.bundle.edit { config in
                    config["process"]["env"] = ["PATH=/bin", "C=program"]
                    config["process"]["cwd"] = "/tmp"
                }
                try container.bundle.edit { $0["process"]["args"] = ["true"] }
                var command = bed.runtime.command(["run", "--bundle", container.bundle.folder, container.id])
                command.environment = ["PATH=/bin:/usr/bin", "MARK=runtime", "HOME=/h"]
                command.folder = "/usr"
                try command.run().succeeded()
                let outside = "/usr runtime /h Seccomp: 0"
                #expect(
                    log(container) == [
                        "prestart \(outside)", "createRuntime \(outside)",
                        "createContainer \(container.bundle.rootfs) Seccomp: 0",
                        "startContainer /tmp program / Seccomp: 2",
                        "poststart \(outside)", "poststop \(outside)",
                    ])
            }
        }

        @Test(
            "a hook that fails before the start leaves no container; hooks of the stop run", .timeLimit(.minutes(1)),
            arguments: ["prestart", "createRuntime", "createContainer"])
        func failsBeforeStart(kind: String) throws {
            try TestBed.use { bed in
                let container = try container(bed) { container in
                    [
                        kind: [
                            hook(container, kind, "echo said; echo complained >&2; exit 3"),
                            hook(container, kind, "echo not reached >>$log"),
                        ],
                        "poststop": [hook(container, "poststop", "echo $state >>$log")],
                    ]
                }
                let outcome = try create(container, bed)
                #expect(outcome.status == 1 && outcome.isOneComplaint)
                let reason = #"hook #0: error running hook: exit status 3, stdout: said\n, stderr: complained\n"#
                #expect(outcome.errors.contains(reason), "\(outcome)")
                #expect(try bed.runtime.run("state", container.id).errors.contains("does not exist"))
                let state = try JSONValue(parsing: log(container).joined())
                #expect(state["status"] == "stopped" && state["id"].string == container.id)
                try bed.expectNoLeaks()
            }
        }

        @Test(
            "a hook of the start that fails stops the container", .timeLimit(.minutes(1)),
            arguments: ["startContainer", "poststart"])
        func failsAtStart(kind: String) throws {
            try TestBed.use { bed in
                let container = try container(bed) { container in
                    [
                        kind: [hook(container, kind, "echo why >&2; exit 3")],
                        "poststop": [hook(container, "poststop", "echo stopped >>$log")],
                    ]
                }
                try create(container, bed).succeeded()
                let outcome = try bed.runtime.run("start", container.id)
                #expect(outcome.status == 1 && outcome.isOneComplaint && outcome.errors.contains("why"), "\(outcome)")
                #expect(until(seconds: 10) { (try? container.status()) == "stopped" })
                #expect(!log(container).contains("stopped"))
                try bed.runtime.run("delete", container.id).succeeded()
                #expect(log(container).last == "stopped")
                #expect(kind == "poststart" || !log(container).contains("program"))
                // The same in one step.
                let run = try bed.runtime.run("run", "--detach", "--bundle", container.bundle.folder, container.id)
                #expect(run.status == 1 && run.isOneComplaint && run.errors.contains("why"), "\(run)")
                #expect(log(container).filter { $0 == "stopped" }.count == 2)
                try bed.expectNoLeaks()
            }
        }

        @Test("a hook of the stop that fails is a warning, and the next one runs", .timeLimit(.minutes(1)))
        func failsAfterStop() throws {
            try TestBed.use { bed in
                let container = try container(bed) { container in
                    [
                        "poststop": [
                            hook(container, "poststop", "exit 3"), hook(container, "poststop", "echo second >>$log"),
                        ]
                    ]
                }
                try container.run()
                let file = bed.folder + "/log.json"
                try bed.runtime.run("--log", file, "--log-format", "json", "delete", "--force", container.id)
                    .succeeded()
                let warning = try JSONValue(parsing: Files.text(of: file) ?? "")
                #expect(warning["level"] == "warning")
                #expect(warning["msg"].string?.hasPrefix("error running poststop hook #0: ") == true, "\(warning)")
                #expect(log(container).last == "second")
                #expect(try bed.runtime.run("state", container.id).errors.contains("does not exist"))
            }
        }

        @Test("a hook that takes too long is killed with what it started", .timeLimit(.minutes(1)))
        func timeout() throws {
            try TestBed.use { bed in
                let container = try container(bed) { container in
                    ["createRuntime": [hook(container, "createRuntime", "echo $$ >>$log; sleep 1000", timeout: 1)]]
                }
                let start = monotonicSeconds()
                let outcome = try create(container, bed)
                #expect(outcome.status == 1)
                #expect(outcome.errors.contains("hook ran past specified timeout of 1.0s"), "\(outcome)")
                #expect((1...20).contains(monotonicSeconds() - start))
                try bed.expectNoLeaks()
                let group = try #require(pid_t(log(container).first ?? ""))
                #expect(until(seconds: 5) { kill(-group, 0) != 0 }, "its sleep lives")
            }
        }

        @Test(
            "a hook that leaves a daemon behind holds nothing up; one that cannot start is an error",
            .timeLimit(.minutes(1)))
        func daemonAndMissing() throws {
            try TestBed.use { bed in
                let container = try container(bed) { container in
                    ["prestart": [hook(container, "prestart", "sleep 5 & exit 0")]]
                }
                try create(container, bed).succeeded()
                try bed.runtime.run("delete", "--force", container.id).succeeded()
                try container.bundle.edit { $0["hooks"] = ["prestart": [["path": "/no/such/hook"]]] }
                let outcome = try create(container, bed)
                #expect(outcome.status == 1 && outcome.errors.contains("/no/such/hook"), "\(outcome)")
                #expect(outcome.errors.lowercased().contains("no such file or directory"), "\(outcome)")
                try container.bundle.edit { $0["hooks"] = ["prestart": [["path": "hook"]]] }
                #expect(try create(container, bed).errors.contains("hooks.prestart[0].path: must be absolute"))
            }
        }
    }
}
