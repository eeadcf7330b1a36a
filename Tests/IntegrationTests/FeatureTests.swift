import Testing

extension Integration {
    /// What `features` and `--version` say, and that it is true. The values are those of runtime-spec's
    /// schema/features-linux.json and defs-linux.json.
    @Suite(.serialized)
    struct FeatureReport {
        private func features(_ bed: TestBed) throws -> JSONValue {
            try JSONValue(parsing: try bed.runtime.run("features").succeeded().output)
        }

        private func strings(_ value: JSONValue) -> [String] { value.elements.compactMap(\.string) }

        @Test("every member has the schema's type and values", .timeLimit(.minutes(1)))
        func schema() throws {
            try TestBed.use { bed in
                let features = try features(bed)
                #expect(features["ociVersionMin"] == "1.0.0" && features["ociVersionMax"] == "1.3.0")
                #expect(
                    strings(features["hooks"]) == [
                        "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
                    ])
                let linux = features["linux"]
                let kinds = ["mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time"]
                #expect(Set(strings(linux["namespaces"])).subtracting(kinds).isEmpty)
                #expect(strings(linux["namespaces"]).count > 6)
                let capabilities = strings(linux["capabilities"])
                #expect(capabilities.count == 41 && capabilities.allSatisfy { $0.hasPrefix("CAP_") })
                for name in ["v1", "v2", "systemd", "systemdUser", "rdma"] {
                    #expect([.bool(true), .bool(false)].contains(linux["cgroup"][name]), "\(name)")
                }
                #expect(linux["netDevices"]["enabled"] == true)
                #expect(strings(linux["memoryPolicy"]["modes"]).count == 7)
                #expect(strings(linux["memoryPolicy"]["flags"]).count == 3)
                for name in ["apparmor", "selinux", "intelRdt"] {
                    #expect([.bool(true), .bool(false)].contains(linux[name]["enabled"]), "\(name)")
                }
                #expect([.bool(true), .bool(false)].contains(linux["mountExtensions"]["idmap"]["enabled"]))
                let seccomp = linux["seccomp"]
                #expect(seccomp["enabled"] == true)
                let actions = [
                    "ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "NOTIFY", "TRACE", "TRAP",
                ]
                #expect(strings(seccomp["actions"]) == actions.map { "SCMP_ACT_" + $0 })
                let operators = ["EQ", "GE", "GT", "LE", "LT", "MASKED_EQ", "NE"].map { "SCMP_CMP_" + $0 }
                #expect(strings(seccomp["operators"]) == operators)
                let flags = ["LOG", "SPEC_ALLOW", "TSYNC", "WAIT_KILLABLE_RECV"].map { "SECCOMP_FILTER_FLAG_" + $0 }
                #expect(strings(seccomp["knownFlags"]) == flags)
                #expect(Set(strings(seccomp["supportedFlags"])).isSubset(of: flags))
                #expect(strings(seccomp["archs"]).contains("SCMP_ARCH_RISCV64"))
                let annotations = features["annotations"]
                #expect(annotations["org.opencontainers.runc.checkpoint.enabled"] == "true")
                #expect(annotations["io.github.seccomp.libseccomp.version"].string?.isEmpty == false)
                #expect(features["potentiallyUnsafeConfigAnnotations"].elements.contains("org.criu.config"))
            }
        }

        @Test("containerd's CRI reads user namespaces and recursive read-only mounts from it", .timeLimit(.minutes(1)))
        func readByCRI() throws {
            try TestBed.use { bed in
                let features = try features(bed)
                #expect(strings(features["linux"]["namespaces"]).contains("user"))
                #expect(features["linux"]["mountExtensions"]["idmap"]["enabled"] == true)
                #expect(strings(features["mountOptions"]).contains("rro"))
            }
        }

        /// The sample that comes with the specification is runc's.
        @Test("nothing is missing of what runc reports", .timeLimit(.minutes(1)))
        func runcs() throws {
            try TestBed.use { bed in
                let ours = try features(bed)
                let path = Runtime.packageFolder + "/Tests/Examples/features-runc.json"
                let runcs = try JSONValue(parsing: Files.text(of: path) ?? "")
                #expect(Set(strings(ours["mountOptions"])).isSuperset(of: strings(runcs["mountOptions"])))
                for member in ["actions", "operators", "archs", "knownFlags", "supportedFlags"] {
                    let (own, other) = (ours["linux"]["seccomp"][member], runcs["linux"]["seccomp"][member])
                    #expect(Set(strings(own)).isSuperset(of: strings(other)), "\(member)")
                }
                #expect(strings(ours["linux"]["capabilities"]) == strings(runcs["linux"]["capabilities"]))
            }
        }

        @Test("each option of a mount that is reported can be used", .timeLimit(.minutes(1)))
        func mountOptions() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["cat", "/proc/mounts"])
                let options = strings(try features(bed)["mountOptions"])
                let fresh = options.filter { !["bind", "rbind", "idmap", "ridmap"].contains($0) }
                try container.bundle.edit { config in
                    let mounts = fresh.map { option -> JSONValue in
                        [
                            "destination": .string("/tmp/\(option)"), "type": "tmpfs", "source": "tmpfs",
                            "options": .strings([option]),
                        ]
                    }
                    config["mounts"] = .array(config["mounts"].elements + mounts)
                    // A mount that is its own to give away, as shared and slave ask.
                    config["linux"]["rootfsPropagation"] = "private"
                }
                let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                try outcome.succeeded()
                let mounted = outcome.output.split(separator: "\n").filter { $0.contains(" /tmp/") }
                #expect(mounted.count == fresh.count)
                #expect(fresh.count > 50)
            }
        }

        @Test("--version has the lines that clients read", .timeLimit(.minutes(1)))
        func version() throws {
            let lines = try Command(Runtime.executableUnderTest, "--version").run().succeeded().output
                .split(separator: "\n")
            let names = lines.map { $0.prefix { $0 != ":" && !$0.isNumber } }
            #expect(names == ["stasis version ", "commit", "spec", "libseccomp"])
        }
    }
}
