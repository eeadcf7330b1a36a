import Glibc
import Testing

extension Integration {
    /// Containers whose root is an ordinary user of the host.
    @Suite(.serialized, .enabled(if: Runtime.canRun))
    struct UserNamespaces {
        /// Does not run yet. Its files belong to its root, and nobody but the host's root can come near them.
        private func container(
            in bed: TestBed, _ arguments: [String], _ edit: (inout JSONValue) -> Void = { _ in }
        ) throws -> Container {
            let container = try bed.container(.busybox, arguments: arguments)
            try container.bundle.enterUserNamespace()
            try container.bundle.edit(edit)
            return container
        }

        private func output(_ container: Container) throws -> [Substring] {
            try container.runtime.run("run", "--bundle", container.bundle.folder, container.id).succeeded().output
                .split(separator: "\n")
        }

        @Test("ids, devices and mounts", .timeLimit(.minutes(1)))
        func run() throws {
            try TestBed.use { bed in
                let container = try container(in: bed, ["sleep", "1000"]) { config in
                    for set in ["bounding", "effective", "permitted"] {
                        config["process"]["capabilities"][set] = ["CAP_CHOWN", "CAP_SETUID", "CAP_SETGID"]
                    }
                }
                try container.run()
                let pid = try container.pid()
                #expect(Files.text(of: "/proc/\(pid)/status")?.contains("Uid:\t300000\t300000\t300000") == true)
                #expect(Files.text(of: "/proc/\(pid)/status")?.contains("Groups:\t \n") == true)
                let script = """
                    id -u; cat /proc/self/uid_map; touch /made /dev/shm/made; stat -c %u /made /dev/shm/made /proc/1
                    stat -c '%t %T' /dev/null /dev/full; echo >/dev/null; hostname
                    chown 7:8 /made; stat -c %u:%g /made
                    """
                let said = try container.exec("sh", "-c", script).succeeded().output
                let words = said.split(whereSeparator: \.isWhitespace).joined(separator: " ")
                #expect(words == "0 0 300000 65536 0 0 0 1 3 1 7 stasis-test 7:8")
                var status = stat()
                #expect(lstat(container.bundle.rootfs + "/made", &status) == 0 && status.st_uid == 300_007)
                let terminal = try bed.runtime.run("exec", "-t", container.id, "sh", "-c", "tty; stat -c %u /dev/pts/0")
                #expect(terminal.output.split(whereSeparator: \.isNewline) == ["/dev/pts/0", "0"], "\(terminal)")
                #expect(try bed.runtime.run("exec", "--user", "65535:3", container.id, "id", "-u").output == "65535")
                let unmapped = try bed.runtime.run("exec", "--user", "65536", container.id, "id")
                #expect(unmapped.status == 255 && unmapped.errors.contains("cannot set uid to unmapped user"))
                try bed.runtime.run("pause", container.id).succeeded()
                try bed.runtime.run("resume", container.id).succeeded()
            }
        }

        @Test("standard streams belong to the program, but for a file that is only read", .timeLimit(.minutes(1)))
        func streams() throws {
            try TestBed.use { bed in
                func throughPipe(_ words: [String]) throws -> String {
                    let line = bed.runtime.command(words).words.map { "'\($0)'" }.joined(separator: " ")
                    return try Command("sh", "-c", line + " 2>&1 </dev/null | cat").run().output
                }
                let say = ["sh", "-ec", "echo a >>/dev/stdout; echo b >>/dev/stderr; id -u"]
                let first = try container(in: bed, say) { $0["process"]["user"] = ["uid": 7, "gid": 7] }
                #expect(try throughPipe(["run", "--bundle", first.bundle.folder, first.id]) == "a\nb\n7")
                let second = try container(in: bed, ["sleep", "1000"])
                try second.run()
                #expect(try throughPipe(["exec", "--user", "8:8", second.id] + say) == "a\nb\n8")
                var command = bed.runtime.command(["exec", second.id] + say)
                (command.input, command.output) = (bed.folder + "/in", bed.folder + "/out")
                try Files.write("", to: command.input)
                #expect(try command.run().status == 0 && Files.text(of: bed.folder + "/out") == "a\nb\n0\n")
                var (read, written) = (stat(), stat())
                #expect(stat(bed.folder + "/in", &read) == 0 && stat(bed.folder + "/out", &written) == 0)
                #expect(read.st_uid == 0 && written.st_uid == 300_000)
            }
        }

        @Test("what the first process may not do, the runtime does for it", .timeLimit(.minutes(1)))
        func setUp() throws {
            try TestBed.use { bed in
                let script = """
                    cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /tmp/hook
                    tail -n 1 /proc/self/timens_offsets; ulimit -n; tty; cat /proc/keys | wc -c; id -u
                    """
                let container = try container(in: bed, ["sh", "-c", script]) { config in
                    config.add(namespace: "time")
                    config["linux"]["timeOffsets"] = ["boottime": ["secs": 77]]
                    config["linux"]["sysctl"] = ["net.ipv4.ip_forward": "1", "kernel.msgmax": "9000"]
                    config["process"]["oomScoreAdj"] = 77
                    config["process"]["rlimits"] = [["type": "RLIMIT_NOFILE", "soft": 77, "hard": 77]]
                    config["process"]["terminal"] = true
                    config["process"]["user"] = ["uid": 77, "gid": 77, "additionalGids": [5]]
                }
                try container.bundle.edit { config in
                    let root = container.bundle.rootfs
                    let words: JSONValue = ["sh", "-c", .string("id -u >\(root)/tmp/hook")]
                    config["hooks"]["createContainer"] = [["path": "/bin/sh", "args": words, "env": ["PATH=/bin"]]]
                }
                try check(chmod(container.bundle.folder, 0o711), "open the bundle to the hook")
                try check(chmod(bed.folder, 0o711), "open the folder to the hook")
                let said = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id).succeeded()
                #expect(
                    said.output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
                        == "77 1 9000 0 boottime 77 0 77 /dev/pts/0 0 77", "\(said)")
            }
        }

        @Test("containers share a user namespace; one that is the host's is joined before", .timeLimit(.minutes(1)))
        func joined() throws {
            try TestBed.use { bed in
                let first = try container(in: bed, ["sleep", "1000"])
                try first.run()
                let pid = try first.pid()
                let show = [
                    "sh", "-c",
                    "cat /proc/self/uid_map; ls /proc | grep -c '^[0-9]'; for n in /proc/self/ns/*; do readlink $n; done",
                ]
                let second = try container(in: bed, show) { config in
                    for kind in ["user", "network", "ipc", "uts", "pid"] {
                        config.add(namespace: kind, path: "/proc/\(pid)/ns/\(kind == "network" ? "net" : kind)")
                    }
                    config["hostname"] = .null
                    config["linux"]["uidMappings"] = .null
                    config["linux"]["gidMappings"] = .null
                }
                let said = try output(second)
                #expect(said.first?.split(separator: " ") == ["0", "300000", "65536"], "\(said)")
                for kind in ["user", "net", "ipc", "uts", "pid"] {
                    let link = Files.link("/proc/\(pid)/ns/\(kind)") ?? "none"
                    #expect(said.contains { $0 == link }, "\(kind): \(link) is not in \(said)")
                }
                let mount = Files.link("/proc/\(pid)/ns/mnt") ?? "none"
                #expect(!said.contains { $0 == mount })

                try Command("ip", "netns", "add", bed.token).run().succeeded()
                defer { _ = try? Command("ip", "netns", "delete", bed.token).run() }
                let third = try container(in: bed, ["readlink", "/proc/self/ns/net"]) { config in
                    config.add(namespace: "network", path: "/run/netns/\(bed.token)")
                    config["mounts"] = .array(config["mounts"].elements.filter { $0["type"].string != "sysfs" })
                    config["linux"]["maskedPaths"] = .null
                    config["linux"]["readonlyPaths"] = .null
                }
                var file = stat()
                #expect(stat("/run/netns/\(bed.token)", &file) == 0)
                #expect(try output(third) == ["net:[\(file.st_ino)]"])
            }
        }

        @Test("locks of the host's mounts hold for the container's root", .timeLimit(.minutes(1)))
        func locks() throws {
            try TestBed.use { bed in
                let place = bed.folder + "/place"
                try bed.withTmpfs(at: place, options: "ro") {
                    let script = "touch /place/x || mount -o remount,rw,bind /place || touch /place/x"
                    let container = try container(in: bed, ["sh", "-c", script]) { config in
                        config["linux"]["seccomp"] = .null
                        for set in ["bounding", "effective", "permitted"] {
                            config["process"]["capabilities"][set] = ["CAP_SYS_ADMIN"]
                        }
                        config["mounts"] = .array(
                            config["mounts"].elements + [
                                [
                                    "destination": "/place", "type": "bind", "source": .string(place),
                                    "options": ["rbind"],
                                ]
                            ])
                    }
                    let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                    #expect(outcome.status == 1, "\(outcome)")
                    #expect(outcome.errors.contains("Read-only") && outcome.errors.contains("ermission"), "\(outcome)")
                    // What they forbid cannot be asked for.
                    try container.bundle.edit { config in
                        var mounts = config["mounts"].elements
                        mounts[mounts.count - 1]["options"] = ["rbind", "rw"]
                        config["mounts"] = .array(mounts)
                    }
                    let refused = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                    #expect(refused.status == 1 && refused.errors.contains("are locked"), "\(refused)")
                    #expect(refused.errors.contains("/place"), "\(refused)")
                }
            }
        }

        @Test("the container's root may make cgroups on v2 if it has a namespace for them", .timeLimit(.minutes(1)))
        func delegation() throws {
            try TestBed.use { bed in
                let below = "/sys/fs/cgroup/below"
                let script = "mkdir \(below) && echo 0 >\(below)/cgroup.procs && cat /proc/self/cgroup"
                func outcome(_ options: [String], _ namespace: Bool) throws -> Outcome {
                    let container = try container(in: bed, ["sh", "-c", script]) { config in
                        if namespace { config.add(namespace: "cgroup") }
                        config["linux"]["cgroupsPath"] = .string("/\(bed.token)")
                        config["linux"]["resources"] = .null
                        config["mounts"] = .array(
                            config["mounts"].elements.filter { $0["type"].string != "cgroup" } + [
                                [
                                    "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                                    "options": .strings(options),
                                ]
                            ])
                    }
                    let pure = """
                        umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"
                        """
                    let run = bed.runtime.command(["run", "--bundle", container.bundle.folder, container.id])
                    return try Command(
                        ["unshare", "-m", "--propagation", "private", "sh", "-c", pure, "sh"] + run.words
                    ).run()
                }
                let writable = try outcome(["nosuid", "noexec", "nodev"], true)
                #expect(writable.status == 0 && writable.output.hasSuffix("0::/below"), "\(writable)")
                #expect(try outcome(["nosuid", "ro"], true).errors.contains("Read-only"))
                #expect(try outcome(["nosuid"], false).errors.contains("Permission denied"))
            }
        }

        @Test("what is masked and read-only is so for the container's root", .timeLimit(.minutes(1)))
        func hidden() throws {
            try TestBed.use { bed in
                let look =
                    "cat /etc/secret; ls /masked; touch /masked/x /state/x /proc/sys/x; echo x >/etc/secret; cat /etc/secret"
                let container = try container(in: bed, ["sh", "-c", look]) { config in
                    config["linux"]["maskedPaths"] = ["/etc/secret", "/masked"]
                    config["linux"]["readonlyPaths"] = ["/state", "/proc/sys"]
                }
                try Files.write("secret", to: container.bundle.rootfs + "/etc/secret", mode: 0o666)
                try Files.makeFolder(container.bundle.rootfs + "/masked/inner", mode: 0o777)
                let outcome = try container.runAttached()
                #expect(outcome.output == "", "\(outcome)")
                #expect(
                    outcome.errors.split(separator: "\n").filter { $0.contains("Read-only") }.count == 2, "\(outcome)")
                #expect(Files.text(of: container.bundle.rootfs + "/etc/secret") == "secret")
                #expect(Files.names(in: container.bundle.rootfs + "/state") == [])
            }
        }

        @Test("mappings are refused by field", .timeLimit(.minutes(1)))
        func refused() throws {
            try TestBed.use { bed in
                let container = try container(in: bed, ["true"]) { config in
                    config["process"]["user"] = ["uid": 70000, "gid": 0]
                }
                let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                #expect(outcome.status == 1 && outcome.errors.contains("process.user.uid: "), "\(outcome)")
            }
        }
    }
}

extension JSONValue {
    /// Instead of one that is listed already.
    mutating func add(namespace kind: String, path: String? = nil) {
        let others = self["linux"]["namespaces"].elements.filter { $0["type"].string != kind }
        let added: JSONValue = path.map { ["type": .string(kind), "path": .string($0)] } ?? ["type": .string(kind)]
        self["linux"]["namespaces"] = .array(others + [added])
    }
}
