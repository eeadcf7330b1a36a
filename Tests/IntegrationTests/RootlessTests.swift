import Glibc
import Testing

extension Integration {
    /// Without the machine's privileges.
    @Suite(
        .serialized,
        .enabled(if: Runtime.canRun && Runtime.isStasis && Files.exists("/usr/bin/newuidmap"), "uidmap is missing"))
    struct RootlessOperation {
        /// The user `nobody` with ids from 200000 on, in a mount namespace in which /etc says so.
        private struct User {
            let folder: String
            let runtime: String

            init(_ bed: TestBed) throws(Failure) {
                folder = bed.folder + "/user"
                runtime = folder + "/stasis"
                try Files.makeFolder(folder + "/run", mode: 0o777)
                try check(chmod(bed.folder, 0o755), "open the test's folder")
                try Files.copy(bed.runtime.executable, to: runtime)
                try Files.write("nobody:200000:65536\n", to: folder + "/subid")
            }

            func command(_ words: [String], in place: String? = nil) -> Command {
                let script = """
                    mount --bind "$0" /etc/subuid; mount --bind "$0" /etc/subgid
                    exec setpriv --reuid 65534 --regid 65534 --clear-groups env XDG_RUNTIME_DIR="$1" "${@:2}"
                    """
                var command = Command(
                    [
                        "unshare", "-m", "--propagation", "private", "bash", "-c", script, folder + "/subid",
                        folder + "/run",
                    ]
                        + words)
                command.folder = place
                return command
            }

            func run(_ words: String..., in place: String? = nil) throws(Failure) -> Outcome {
                try command([runtime] + words, in: place).run()
            }
        }

        /// The user's own id, and of the others as many as there may be.
        private static let manyIDs: JSONValue = [
            ["containerID": 0, "hostID": 65534, "size": 1], ["containerID": 1, "hostID": 200_000, "size": 65536],
        ]

        /// Its rootfs and config.json are the user's, as `spec --rootless` writes it.
        private func bundle(
            in bed: TestBed, _ user: User, _ arguments: [String], _ edit: (inout JSONValue) -> Void = { _ in }
        ) throws -> Bundle {
            let container = try bed.container(.busybox, arguments: arguments)
            let bundle = container.bundle
            unlink(bundle.configPath)
            try Command("chown", "-R", "65534:65534", bundle.folder).run().succeeded()
            try user.run("spec", "--rootless", in: bundle.folder).succeeded()
            try bundle.edit { config in
                config["process"]["terminal"] = false
                config["process"]["args"] = .strings(arguments)
                config["process"]["env"] = .array(
                    config["process"]["env"].elements + [.string("STASIS_TEST=\(bed.token)")])
                config["root"]["readonly"] = false
                edit(&config)
            }
            return bundle
        }

        @Test("a user's container lives with its state in $XDG_RUNTIME_DIR", .timeLimit(.minutes(1)))
        func life() throws {
            try TestBed.use { bed in
                let user = try User(bed)
                let bundle = try bundle(in: bed, user, ["sleep", "1000"])
                let id = bed.token
                var create = user.command([user.runtime, "create", "--bundle", bundle.folder, id])
                create.output = bundle.folder + "/out.log"
                guard try create.run().status == 0 else { throw Failure(Files.text(of: create.output ?? "") ?? "") }
                defer { _ = try? user.run("delete", "--force", id) }
                // Nobody but the container's init may be looked into before the start.
                #expect(try user.run("exec", id, "true").status == 255)
                try user.run("start", id).succeeded()
                #expect(Files.exists("\(user.folder)/run/stasis/\(id)/state.json"))
                let images = ["--image-path", bundle.folder + "/image", "--work-path", bundle.folder]
                for words in [["checkpoint"], ["restore", "--bundle", bundle.folder]] {
                    let refused = try user.command([user.runtime] + words + images + [id]).run()
                    #expect(refused.status == 1 && refused.errors.contains("host's root; rootless"), "\(refused)")
                }
                #expect(!Files.exists(bundle.folder + "/image"))
                #expect(try user.run("list").succeeded().output.contains(id))
                // As root of a user namespace it is still that user, unless it says that it is root: of a container, say.
                let listed = try user.command(["unshare", "-r", user.runtime, "list"]).run().succeeded()
                #expect(listed.output.contains(id))
                let again = ["create", "--bundle", bundle.folder, id]
                let asRoot = try user.command(["unshare", "-r", "env", "USER=root", user.runtime] + again).run()
                #expect(asRoot.errors.contains("mkdir /run/stasis"), "\(asRoot)")
                let inside =
                    "id -u; cat /proc/self/uid_map /proc/self/setgroups; ls /proc | grep -c '^[12]$'; readlink /proc/self/ns/pid"
                #expect(
                    until(seconds: 5) {
                        (try? user.run("exec", id, "true"))?.status == 0
                    })
                let said = try user.run("exec", id, "sh", "-c", inside).succeeded().output
                let state = try JSONValue(parsing: try user.run("state", id).succeeded().output)
                let link = Files.link("/proc/\(state["pid"].integer ?? 0)/ns/pid") ?? ""
                #expect(
                    said.split(whereSeparator: \.isWhitespace) == [
                        "0", "0", "65534", "1", "deny", "1", Substring(link),
                    ])
                #expect(try user.run("exec", "-t", id, "tty").succeeded().output.hasPrefix("/dev/pts/0"))
                #expect(try user.run("delete", id).status == 1)
                try user.run("kill", id, "KILL").succeeded()
                #expect(until(seconds: 5) { (try? user.run("delete", id))?.status == 0 })
            }
        }

        @Test("more ids come by newuidmap and newgidmap, and no others", .timeLimit(.minutes(1)))
        func ids() throws {
            try TestBed.use { bed in
                let user = try User(bed)
                func outcome(_ first: Int) throws -> Outcome {
                    let bundle = try bundle(in: bed, user, ["sh", "-c", "id; cat /proc/self/setgroups"]) { config in
                        let map: JSONValue = [
                            ["containerID": 0, "hostID": 65534, "size": 1],
                            ["containerID": 1, "hostID": .integer(first), "size": 65536],
                        ]
                        config["linux"]["uidMappings"] = map
                        config["linux"]["gidMappings"] = map
                        config["process"]["user"] = ["uid": 5, "gid": 5, "additionalGids": [6]]
                    }
                    return try user.run("run", "--bundle", bundle.folder, bed.token)
                }
                #expect(try outcome(200_000).succeeded().output == "uid=5 gid=5 groups=6\nallow")
                let refused = try outcome(100_000)
                #expect(refused.status == 1 && refused.errors.contains("linux.uidMappings: newuidmap refused"))
            }
        }

        @Test(
            "the host's cgroups are not writable, nor there; limits are refused (CVE-2023-25809)",
            .timeLimit(.minutes(1)))
        func cgroups() throws {
            try TestBed.use { bed in
                let user = try User(bed)
                let script = "ls -A /sys/fs/cgroup; mkdir /sys/fs/cgroup/x; ls /sys/kernel | grep -c ."
                for isListed in [true, false] {
                    let bundle = try bundle(in: bed, user, ["sh", "-c", script]) { config in
                        if !isListed {
                            config["mounts"] = .array(
                                config["mounts"].elements.filter { $0["destination"].string != "/sys/fs/cgroup" })
                        }
                    }
                    let outcome = try user.run("run", "--bundle", bundle.folder, bed.token)
                    #expect(Int(outcome.output) ?? 0 > 5 && outcome.errors.contains("Read-only"), "\(outcome)")
                }
                let limited = try bundle(in: bed, user, ["true"]) { config in
                    config["linux"]["resources"] = ["pids": ["limit": 10]]
                }
                let refused = try user.run("run", "--bundle", limited.folder, bed.token)
                #expect(refused.status == 1 && refused.errors.contains("linux.resources: "), "\(refused)")
                let forced = try user.run("--rootless", "false", "run", "--bundle", limited.folder, bed.token)
                #expect(forced.errors.contains("mkdir /sys/fs/cgroup/"), "\(forced)")
                #expect(try user.run("--rootless", "maybe", "list").errors.contains("is none of true, false, auto"))
            }
        }

        @Test("without cgroups ps and kill know processes of any id by their pid namespace", .timeLimit(.minutes(1)))
        func processes() throws {
            try TestBed.use { bed in
                let user = try User(bed)
                let bundle = try bundle(in: bed, user, ["sleep", "1000"]) { config in
                    config["linux"]["uidMappings"] = Self.manyIDs
                    config["linux"]["gidMappings"] = Self.manyIDs
                    config["process"]["user"] = ["uid": 5, "gid": 5]
                }
                let id = bed.token
                var run = user.command([user.runtime, "run", "--detach", "--bundle", bundle.folder, id])
                run.output = bundle.folder + "/out.log"
                guard try run.run().status == 0 else { throw Failure(Files.text(of: run.output ?? "") ?? "") }
                defer { _ = try? user.run("delete", "--force", id) }
                func listed() -> [Int] {
                    let text = (try? user.run("ps", "--format", "json", id).output) ?? ""
                    return (try? JSONValue(parsing: text).elements.compactMap(\.integer)) ?? []
                }
                let first = try JSONValue(parsing: try user.run("state", id).succeeded().output)["pid"].integer ?? 0
                #expect(Files.text(of: "/proc/\(first)/status")?.contains("Uid:\t200004\t200004\t") == true)
                #expect(listed() == [first])
                var pids = [first]
                for file in ["a", "b"] {
                    let path = "\(user.folder)/run/\(file)"
                    try user.run("exec", "--detach", "--pid-file", path, id, "sleep", "1000").succeeded()
                    pids.append(Int(Files.text(of: path) ?? "") ?? 0)
                }
                #expect(listed() == pids.sorted())
                #expect(try user.run("ps", id).succeeded().output.split(separator: "\n").count == 4)
                // The first process of a pid namespace takes no signal that it does not handle.
                try user.run("kill", "--all", id, "USR2").succeeded()
                #expect(until(seconds: 10) { listed() == [first] })
                try user.run("kill", id, "KILL").succeeded()
                #expect(until(seconds: 10) { (try? user.run("delete", id))?.status == 0 })
            }
        }

        @Test("with the host's network /sys is the host's, read-only and without cgroups", .timeLimit(.minutes(1)))
        func hostSys() throws {
            try TestBed.use { bed in
                let user = try User(bed)
                let script = "ls /sys/class/net | grep -c '^lo$'; ls -A /sys/fs/cgroup; grep ' /sys ' /proc/mounts"
                let bundle = try bundle(in: bed, user, ["sh", "-c", script]) { config in
                    config["linux"]["namespaces"] = .array(
                        config["linux"]["namespaces"].elements.filter { $0["type"] != "network" })
                    let others = config["mounts"].elements.filter {
                        $0["destination"].string?.hasPrefix("/sys") == false
                    }
                    let options: JSONValue = ["nosuid", "noexec", "nodev", "ro"]
                    config["mounts"] = .array(
                        others + [["destination": "/sys", "type": "sysfs", "source": "sysfs", "options": options]])
                }
                let said = try user.run("run", "--bundle", bundle.folder, bed.token).succeeded().output
                #expect(said.hasPrefix("1\nsysfs /sys sysfs ro,nosuid,nodev,noexec"), "\(said)")
            }
        }

        @Test("the user's pipes belong to the program, whatever its id", .timeLimit(.minutes(1)))
        func pipes() throws {
            try TestBed.use { bed in
                let user = try User(bed)
                let bundle = try bundle(in: bed, user, ["sh", "-c", "echo a >/dev/stdout; echo b >/dev/stderr"]) {
                    config in
                    config["linux"]["uidMappings"] = Self.manyIDs
                    config["linux"]["gidMappings"] = Self.manyIDs
                    config["process"]["user"] = ["uid": 5, "gid": 5]
                }
                let script = "\(user.runtime) run --bundle \(bundle.folder) \(bed.token) 2>&1 </dev/null | cat"
                #expect(try user.command(["sh", "-c", script]).run().output == "a\nb")
            }
        }

        @Test("root of a user namespace runs containers with and without one of their own", .timeLimit(.minutes(1)))
        func nested() throws {
            try TestBed.use { bed in
                for hasOwn in [false, true] {
                    let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                    try container.bundle.edit { config in
                        config["linux"]["resources"] = .null
                        // Of groups there is but one.
                        config["mounts"] = .array(
                            config["mounts"].elements.map { mount in
                                var mount = mount
                                let options = mount["options"].elements.filter { $0 != "gid=5" }
                                if !options.isEmpty { mount["options"] = .array(options) }
                                return mount
                            })
                        if hasOwn {
                            config.add(namespace: "user")
                            config["linux"]["uidMappings"] = [["containerID": 0, "hostID": 0, "size": 1]]
                            config["linux"]["gidMappings"] = [["containerID": 0, "hostID": 0, "size": 1]]
                        }
                    }
                    let script = """
                        set -e
                        "$0" --root "$1" run -d --bundle "$2" "$3" >"$2/out.log" 2>&1 || { cat "$2/out.log" >&2; exit 1; }
                        "$0" --root "$1" exec "$3" sh -c 'id -u; stat -c "%t %T" /dev/null; ls /proc | grep -c "^1$"'
                        "$0" --root "$1" delete --force "$3"
                        """
                    let outcome = try Command(
                        "unshare", "-Ur", "sh", "-c", script, bed.runtime.executable, bed.runtime.stateFolder,
                        container.bundle.folder, container.id
                    ).run()
                    #expect(outcome.output == "0\n1 3\n1", "\(outcome)")
                }
            }
        }
    }
}
