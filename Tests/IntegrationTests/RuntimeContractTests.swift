import Glibc
import Testing

extension Integration {
    /// What clients and runc's own tests take for granted of a runtime, as runc 1.5 does it.
    @Suite(.serialized)
    struct RuntimeContract {
        private func run(_ container: Container, _ bed: TestBed) throws -> Outcome {
            try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
        }

        private func create(_ container: Container, _ bed: TestBed) throws {
            try bed.runtime.command(["create", "--bundle", container.bundle.folder, container.id]).run().succeeded()
        }

        // MARK: Cgroups

        @Test("nothing is started in a cgroup that is frozen, or beneath one", .timeLimit(.minutes(1)))
        func frozen() throws {
            try TestBed.use { bed in
                let isPureV2 = Files.exists("/sys/fs/cgroup/cgroup.controllers")
                let hierarchy = isPureV2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/freezer"
                let (file, on, off) =
                    isPureV2 ? ("cgroup.freeze", "1", "0") : ("freezer.state", "FROZEN", "THAWED")
                let group = "\(hierarchy)/\(bed.token)"
                try Files.makeFolder(group)
                try Files.write(on, to: "\(group)/\(file)")
                defer {
                    try? Files.write(off, to: "\(group)/\(file)")
                    rmdir(group)
                }
                let container = try bed.container(.busybox, arguments: ["true"])
                for path in ["/\(bed.token)", "/\(bed.token)/inner"] {
                    try container.bundle.edit { $0["linux"]["cgroupsPath"] = .string(path) }
                    let command = bed.runtime.command(["run", "--bundle", container.bundle.folder, container.id])
                    let outcome = try command.run(seconds: 20)
                    #expect(outcome.status == 1 && outcome.errors.contains("unexpectedly frozen"), "\(outcome)")
                    #expect(try bed.runtime.run("delete", "--force", container.id).status == 0)
                }
            }
        }

        @Test("a process of exec cannot leave the container's cgroup", .timeLimit(.minutes(1)))
        func cgroupOfExec() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.run()
                for (path, isInside) in [
                    ("..", false), ("x/../..", false), ("../x", false), ("/", true), ("x/..", true),
                ] {
                    let outcome = try bed.runtime.run("exec", "--cgroup", path, container.id, "true")
                    #expect((outcome.status == 0) == isInside, "\(outcome)")
                    if !isInside { #expect(outcome.errors.contains("is not a sub cgroup path"), "\(outcome)") }
                }
            }
        }

        @Test("the caller's CPUs are not the container's", .timeLimit(.minutes(1)))
        func affinity() throws {
            try TestBed.use { bed in
                let script = ["grep", "Cpus_allowed_list", "/proc/self/status"]
                let container = try bed.container(.busybox, arguments: script)
                let all = try run(container, bed).output
                #expect(all.hasSuffix("-\(sysconf(Int32(_SC_NPROCESSORS_ONLN)) - 1)"), "\(all)")
                func onOne(_ words: [String]) throws -> String {
                    try Command(["taskset", "1"] + bed.runtime.command(words).words).run().succeeded().output
                }
                #expect(try onOne(["run", "--bundle", container.bundle.folder, container.id]) == all)
                try container.bundle.edit { $0["process"]["args"] = ["sleep", "1000"] }
                try container.run()
                #expect(try onOne(["exec", container.id] + script) == all)
            }
        }

        @Test("a limit of no process is a limit for update, too", .timeLimit(.minutes(1)))
        func noProcesses() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.run()
                try bed.runtime.run("update", "--pids-limit", "0", container.id).succeeded()
                let groups = try Groups(of: try container.pid())
                #expect(groups.value("pids", "pids.max") == "1")
            }
        }

        // MARK: Signals

        @Test("a container that is only created ends by the signals that end a program", .timeLimit(.minutes(1)))
        func killCreated() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                for signal in ["TERM", "INT", "HUP", "KILL"] {
                    try create(container, bed)
                    try bed.runtime.run("kill", container.id, "USR1").succeeded()
                    try bed.runtime.run("kill", container.id, "0").succeeded()
                    #expect(try container.status() == "created")
                    try bed.runtime.run("kill", container.id, signal).succeeded()
                    #expect(until(seconds: 10) { (try? container.status()) == "stopped" }, "\(signal)")
                    try bed.runtime.run("delete", container.id).succeeded()
                }
            }
        }

        @Test(
            "without a pid namespace of its own a container can be killed when its first process is dead, and again",
            .timeLimit(.minutes(1)))
        func killRemaining() throws {
            try TestBed.use { bed in
                let container = try bed.container(
                    .busybox, arguments: ["sh", "-c", "sleep 1000 & echo $! >/state/sleeper"])
                try container.bundle.edit { config in
                    let others = config["linux"]["namespaces"].elements.filter { $0["type"] != "pid" }
                    config["linux"]["namespaces"] = .array(others)
                }
                try container.run()
                let pid = try #require(pid_t(try container.waitForFile("sleeper") { $0.hasSuffix("\n") }.dropLast()))
                #expect(until(seconds: 10) { (try? container.status()) == "stopped" })
                #expect(try bed.runtime.run("kill", container.id, "TERM").errors.contains("container not running"))
                #expect(LeakCheck.lives(pid))
                try bed.runtime.run("kill", container.id, "KILL").succeeded()
                #expect(until(seconds: 10) { !LeakCheck.lives(pid) })
                try bed.runtime.run("kill", container.id, "KILL").succeeded()
            }
        }

        // MARK: Mounts

        @Test("a read-only /dev has the terminal's file", .timeLimit(.minutes(1)))
        func readOnlyDevices() throws {
            try TestBed.use { bed in
                let container = try bed.container(
                    .busybox,
                    arguments: ["sh", "-c", "test -c /dev/console && ! touch /dev/x 2>/dev/null && echo fine"])
                try container.bundle.edit { config in
                    config["process"]["terminal"] = true
                    config["mounts"] = .array(
                        config["mounts"].elements.map { mount in
                            var mount = mount
                            if mount["destination"] == "/dev" {
                                mount["options"] = .array(mount["options"].elements + ["ro"])
                            }
                            return mount
                        })
                }
                #expect(try run(container, bed).output == "fine")
            }
        }

        @Test(
            "the root of a slave gets the host's mounts", .timeLimit(.minutes(1)),
            arguments: ["slave", "rslave", "private"])
        func slave(propagation: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.bundle.edit { $0["linux"]["rootfsPropagation"] = .string(propagation) }
                let rootfs = container.bundle.rootfs
                try check(mount(rootfs, rootfs, nil, UInt(MS_BIND), nil), "bind")
                defer { umount2(rootfs, Int32(MNT_DETACH)) }
                try check(mount(nil, rootfs, nil, UInt(MS_SHARED), nil), "share")
                try container.run()
                try bed.withTmpfs(at: rootfs + "/state", options: "size=1m") {
                    let sees = try container.exec("grep", "-q", " /state ", "/proc/self/mountinfo").status == 0
                    #expect(sees == (propagation != "private"))
                }
            }
        }

        @Test(
            "destinations may have the root's path on the host in front; a path is masked once", .timeLimit(.minutes(1))
        )
        func destinationsAndMasks() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["cut", "-d ", "-f5", "/proc/self/mountinfo"])
                try container.bundle.addMount(container.bundle.rootfs + "/mnt", type: "tmpfs", source: "tmpfs", [])
                try container.bundle.edit { config in
                    config["linux"]["maskedPaths"] = ["/proc/acpi", "/proc/keys", "/proc/acpi/", "/proc/keys"]
                }
                let places = try run(container, bed).output.split(separator: "\n")
                for place in ["/mnt", "/proc/acpi", "/proc/keys"] where Files.exists(place) {
                    #expect(places.count { $0 == place } == 1, "\(places)")
                }
            }
        }

        @Test(
            "an attribute of a bind's source goes if the configuration says so, and only then", .timeLimit(.minutes(1)),
            arguments: [
                ([], "rw,nosuid,nodev,noexec,noatime"), (["ro"], "ro,nosuid,nodev,noexec,noatime"),
                (["dev"], "rw,nosuid,noexec,noatime"), (["exec"], "rw,nosuid,nodev,noatime"),
                (["suid", "dev", "exec"], "rw,noatime"), (["atime"], "rw,nosuid,nodev,noexec,relatime"),
                (["norelatime"], "rw,nosuid,nodev,noexec,noatime"),
                (["nostrictatime"], "rw,nosuid,nodev,noexec,noatime"),
            ] as [([String], String)])
        func attributes(options: [String], expected: String) throws {
            try TestBed.use { bed in
                let place = bed.folder + "/place"
                try Files.makeFolder(place)
                let flags = UInt(MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME)
                try check(mount("tmpfs", place, "tmpfs", flags, ""), "mount a tmpfs")
                defer { umount2(place, Int32(MNT_DETACH)) }
                let container = try bed.container(.busybox, arguments: ["grep", " /place ", "/proc/self/mountinfo"])
                try container.bundle.addMount("/place", source: place, ["bind"] + options)
                let fields = try run(container, bed).output.split(separator: " ")
                #expect(fields.count > 5 && fields[5] == expected, "\(fields)")
            }
        }

        // MARK: Processes

        @Test("a home directory and variables that are given twice", .timeLimit(.minutes(1)))
        func variables() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["env"])
                try Files.write("u:x:1000:1000::/home/u:/bin/sh\n", to: container.bundle.rootfs + "/etc/passwd")
                for (user, given, expected) in [
                    (1000, ["PATH=/bin", "HOME=", "A=1", "B=2", "A=3"], "PATH=/bin\nB=2\nA=3\nHOME=/home/u"),
                    (1001, ["PATH=/bin"], "PATH=/bin\nHOME=/"),
                    (1000, ["HOME=/x", "PATH=/bin"], "HOME=/x\nPATH=/bin"),
                    (1000, ["HOME=/x", "PATH=/bin", "HOME="], "PATH=/bin\nHOME=/home/u"),
                    (1000, ["HOME=", "PATH=/bin", "HOME=/y"], "PATH=/bin\nHOME=/y"),
                ] {
                    try container.bundle.edit { config in
                        config["process"]["user"] = ["uid": .integer(user), "gid": .integer(user)]
                        config["process"]["env"] = .strings(given)
                    }
                    #expect(try run(container, bed).output == expected)
                }
            }
        }

        @Test("exec --cap raises what is inheritable, too; what cannot be ambient is told", .timeLimit(.minutes(1)))
        func ambient() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.bundle.edit { config in
                    config["process"]["user"] = ["uid": 1000, "gid": 1000]
                    config["process"]["capabilities"] = [
                        "bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
                        "inheritable": ["CAP_KILL", "CAP_CHOWN"], "ambient": ["CAP_KILL"],
                    ]
                }
                try container.run()
                let sets = ["exec", "--cap", "CAP_CHOWN", container.id, "grep", "CapAmb", "/proc/self/status"]
                #expect(try bed.runtime.command(sets).run().output == "CapAmb:\t0000000000000021")
                let outcome = try bed.runtime.run("exec", "--cap", "CAP_FOWNER", container.id, "true")
                #expect(outcome.errors.contains("can't raise ambient capability CAP_FOWNER"), "\(outcome)")
                try bed.runtime.run("delete", "--force", container.id).succeeded()
                try container.bundle.edit { config in
                    config["process"]["args"] = ["true"]
                    config["process"]["capabilities"] = ["ambient": ["CAP_KILL"]]
                }
                let warned = try run(container, bed)
                #expect(warned.status == 0, "\(warned)")
                #expect(warned.errors.contains("can't raise ambient capability CAP_KILL: "), "\(warned)")
            }
        }

        @Test("a directory is no program; a root that is not there has no list", .timeLimit(.minutes(1)))
        func messages() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["/etc"])
                #expect(try run(container, bed).errors.hasSuffix(#"exec: \"/etc\": is a directory""#))
                try container.bundle.edit { $0["process"]["args"] = ["sleep", "1000"] }
                try container.run()
                #expect(try container.exec("/etc").errors.hasSuffix(#"exec: \"/etc\": is a directory""#))
                let missing = bed.folder + "/missing"
                let list = try Command(bed.runtime.executable, "--root", missing, "list").run()
                #expect(list.status == 1 && list.errors.contains("open \(missing): no such file or directory"))
                #expect(try Command(bed.runtime.executable, "--root", missing, "delete", "-f", "x").run().status == 0)
                #expect(!Files.exists(missing))
            }
        }
    }
}
