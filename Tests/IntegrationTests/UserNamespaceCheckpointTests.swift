import Glibc
import Testing

extension Integration {
    /// Containers whose root is an ordinary user of the host, through checkpoint and restore.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct UserNamespaceCheckpoints {
        private static let workloads = Workload.supported
        private static let map = [
            IDRange(inner: 0, outer: 300_000, count: 1000), IDRange(inner: 1000, outer: 500_000, count: 79_000),
        ]

        private func container(
            in bed: TestBed, workload name: String, _ edit: (inout JSONValue) -> Void = { _ in }
        ) throws -> Container {
            let container = try bed.container(workload: name)
            try container.bundle.enterUserNamespace(Self.map)
            try container.bundle.edit(edit)
            return container
        }

        private func cycle(_ container: Container, in bed: TestBed, except mount: String? = nil) throws {
            try container.run()
            try container.waitUntilReady()
            try container.expectPass("before the checkpoint")
            for cycle in 1...2 {
                try container.checkpoint(to: "image\(cycle)")
                let left = bed.leakCheck.leaks().filter { $0 != mount.map { "mount at \($0)" } }
                guard left.isEmpty else { throw Failure("the checkpoint left: \(left)") }
                try container.restore(from: "image\(cycle)")
                try container.expectPass("after restore \(cycle)")
            }
        }

        @Test("survives two checkpoints", .timeLimit(.minutes(2)), arguments: workloads)
        func checkpointAndRestore(name: String) throws {
            try TestBed.use { bed in
                try cycle(try container(in: bed, workload: name), in: bed)
            }
        }

        @Test(
            "a program that is not root inside keeps its ids, pipes and sockets", .timeLimit(.minutes(1)),
            arguments: ["pipe", "unix_named", "unix_socketpair", "process_tree", "threads"])
        func otherUser(name: String) throws {
            try TestBed.use { bed in
                let container = try container(in: bed, workload: name) { config in
                    config["process"]["user"] = ["uid": 1005, "gid": 1007, "additionalGids": [5, 70000]]
                }
                try cycle(container, in: bed)
                let status = Files.text(of: "/proc/\(try container.pid())/status") ?? ""
                #expect(status.contains("Uid:\t500005\t500005\t500005\t500005"), "\(status)")
                #expect(status.contains("Groups:\t300005 569000 \n"), "\(status)")
                let folder = container.imageFolder("image2")
                let maps = Files.names(in: folder).filter { $0.hasPrefix("userns-") }
                let decoded = try Images.crit("decode", "-i", folder + "/" + (maps.first ?? "")).succeeded().output
                let map = try JSONValue(parsing: decoded)["entries"].elements.first?["uid_map"].elements ?? []
                #expect(map.map { $0["lower_first"].integer } == [300_000, 500_000], "\(decoded)")
                let core = try Images.crit("decode", "-i", folder + "/core-1.img").succeeded().output
                #expect(core.contains("\"uid\": 1005") && core.contains("70000"), "\(core)")
            }
        }

        @Test("a Landlock domain is told in there", .timeLimit(.minutes(1)), arguments: ["landlock", "landlock_heir"])
        func domain(name: String) throws {
            try TestBed.use { bed in
                let container = try container(in: bed, workload: "unsupported/" + name)
                try container.run()
                try container.waitUntilReady()
                let outcome = try container.checkpointCommand(to: "image", leaveRunning: true).run()
                #expect(outcome.status == 1 && outcome.errors.contains("is in a Landlock domain"), "\(outcome)")
                try container.expectPass("after a refused checkpoint")
            }
        }

        @Test(
            "files and sockets on a mount with the container's maps", .timeLimit(.minutes(1)),
            arguments: ["unix_named", "descriptors"])
        func idMappedMount(name: String) throws {
            try TestBed.use { bed in
                let container = try container(in: bed, workload: name)
                try bed.withTmpfs(at: container.stateInRootfs, options: "mode=755") {
                    try container.bundle.addMount("/state", source: container.stateInRootfs, ["bind", "idmap"])
                    try cycle(container, in: bed, except: container.stateInRootfs)
                    // What is the container's root's inside is the host's root's on the disk.
                    var status = stat()
                    #expect(lstat(container.stateInRootfs + "/verdict", &status) == 0 && status.st_uid == 0)
                    try container.delete()
                }
            }
        }

        @Test("python3 with four threads, open files and a child", .timeLimit(.minutes(2)))
        func python() throws {
            try TestBed.use { bed in
                let script = "/threads_and_files.py"
                let container = try bed.container(.programs([]), arguments: ["/usr/bin/python3", script])
                try container.mountUsr()
                try Files.copy(Workload.folder + script, to: container.bundle.rootfs + script)
                try container.bundle.enterUserNamespace(Self.map)
                try cycle(container, in: bed)
            }
        }

        /// Fails, with one complaint in which all of the texts are, and leaves nothing.
        private func expectRefusal(_ container: Container, in bed: TestBed, _ texts: String...) throws {
            var command = container.restoreCommand(from: "image")
            command.output = nil
            let outcome = try command.run()
            #expect(outcome.status == 1 && outcome.isOneComplaint, "\(outcome)")
            for text in texts { #expect(outcome.errors.contains(text), "\(text): \(outcome)") }
            #expect(until(seconds: 5) { bed.leakCheck.leaks().isEmpty }, "\(bed.leakCheck.leaks())")
        }

        @Test("an image comes back under its own maps only, and a failure leaves nothing", .timeLimit(.minutes(1)))
        func otherMaps() throws {
            try TestBed.use { bed in
                let container = try container(in: bed, workload: "counter")
                try container.run()
                try container.waitUntilReady()
                try container.checkpoint(to: "image")
                let (own, other) = ("0:300000:1000,1000:500000:79000", "0:600000:65536")
                let config = Files.text(of: container.bundle.configPath) ?? ""
                try container.bundle.edit { config in
                    config["linux"]["gidMappings"] = [IDRange(inner: 0, outer: 600_000, count: 65536).json]
                }
                try expectRefusal(container, in: bed, own, other)
                try container.bundle.edit { config in
                    let others = config["linux"]["namespaces"].elements.filter { $0["type"].string != "user" }
                    config["linux"]["namespaces"] = .array(others)
                    config["linux"]["uidMappings"] = .null
                    config["linux"]["gidMappings"] = .null
                }
                try expectRefusal(container, in: bed, own, "config.json has no user namespace")
                try Files.write(config, to: container.bundle.configPath)
                // Met only when the tree has grown.
                let program = container.bundle.rootfs + "/workload"
                let bytes = try Files.bytes(of: program)
                try Files.write(bytes + [0], to: program, mode: 0o755)
                try expectRefusal(container, in: bed, "/workload", "bytes")
                try Files.write(bytes, to: program, mode: 0o755)
                let log = container.bundle.folder + "/out.log"
                try check(chown(log, 0, 0), "change owner of \(log)")
                try container.restore(from: "image")
                try container.expectPass("under its own")
                var status = stat()
                #expect(stat(log, &status) == 0 && status.st_uid == 300_000, "a stream of user \(status.st_uid)")
            }
        }

        @Test("a priority that only the host's root can give", .timeLimit(.minutes(1)))
        func priority() throws {
            try TestBed.use { bed in
                let container = try container(in: bed, workload: "counter")
                try container.run()
                try container.waitUntilReady()
                let process = __priority_which_t(PRIO_PROCESS.rawValue)
                try check(setpriority(process, id_t(try container.pid()), -5), "change the priority")
                try container.checkpoint(to: "image")
                // A capability inside counts for nothing there.
                try container.bundle.edit { config in
                    config["process"]["capabilities"]["bounding"] = ["CAP_SYS_NICE"]
                }
                try expectRefusal(
                    container, in: bed, "nice value is -5, but config.json gives 0; lower", "CAP_SYS_NICE")
                try container.bundle.edit { $0["process"]["scheduler"] = ["policy": "SCHED_OTHER", "nice": -5] }
                try container.restore(from: "image")
                #expect(getpriority(process, id_t(try container.pid())) == -5)
            }
        }

        @Test("a checkpoint without a user namespace does not come back in one", .timeLimit(.minutes(1)))
        func withoutMaps() throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: "counter")
                try container.run()
                try container.waitUntilReady()
                try container.checkpoint(to: "image")
                try container.bundle.enterUserNamespace(Self.map)
                try expectRefusal(container, in: bed, "has no user namespace", "0:300000:1000")
            }
        }

        @Test("a user namespace that is joined is the same again, or refused", .timeLimit(.minutes(1)))
        func joined() throws {
            try TestBed.use { bed in
                func owner(_ map: [IDRange]) throws -> Container {
                    let owner = try bed.container(.busybox, arguments: ["sleep", "1000"])
                    try owner.bundle.enterUserNamespace(map)
                    try owner.run()
                    return owner
                }
                let first = try owner(Self.map)
                let joining = try container(in: bed, workload: "counter")
                func join(_ other: Container) throws {
                    let path = "/proc/\(try other.pid())/ns/user"
                    try joining.bundle.edit { config in
                        config.add(namespace: "user", path: path)
                        config["linux"]["uidMappings"] = .null
                        config["linux"]["gidMappings"] = .null
                    }
                }
                try join(first)
                try joining.run()
                try joining.waitUntilReady()
                try joining.checkpoint(to: "image")
                try joining.restore(from: "image")
                try joining.expectPass("in the same namespace")
                let place = Files.link("/proc/\(try first.pid())/ns/user")
                #expect(Files.link("/proc/\(try joining.pid())/ns/user") == place)
                try joining.checkpoint(to: "image2")
                try first.delete()
                let second = try owner([IDRange(inner: 0, outer: 600_000, count: 65536)])
                try join(second)
                var command = joining.restoreCommand(from: "image2")
                command.output = nil
                let refused = try command.run()
                #expect(refused.status == 1 && refused.isOneComplaint, "\(refused)")
                #expect(refused.errors.contains("the new container has a user namespace with the users 0:600000:65536"))
                let left = until(seconds: 5) {
                    (try? bed.runtime.run("state", joining.id).status) == 1 && bed.leakCheck.processes().count == 1
                }
                #expect(left, "\(bed.leakCheck.leaks())")
            }
        }

        @Test("a user namespace of one id, which lets nobody change groups", .timeLimit(.minutes(1)))
        func fixedGroups() throws {
            try TestBed.use { bed in
                var holder = try Command("unshare", "--user", "--map-root-user", "sleep", "1000").start()
                defer { holder.kill() }
                let process = "/proc/\(holder.pid)"
                #expect(until(seconds: 10) { Files.text(of: process + "/setgroups") == "deny\n" })
                #expect(until(seconds: 10) { Files.text(of: process + "/gid_map")?.hasSuffix(" 1\n") == true })
                let container = try bed.container(workload: "counter")
                try container.bundle.edit { config in
                    config.add(namespace: "user", path: process + "/ns/user")
                    config["mounts"] = .array(
                        config["mounts"].elements.map { mount in
                            var mount = mount
                            let options = mount["options"].elements.filter { $0.string != "gid=5" }
                            mount["options"] = .array(options)
                            return mount
                        })
                }
                try cycle(container, in: bed)
            }
        }

        @Test("goes on after a checkpoint that leaves it running", .timeLimit(.minutes(2)), arguments: workloads)
        func leaveRunning(name: String) throws {
            try TestBed.use { bed in
                let container = try container(in: bed, workload: name)
                try container.run()
                try container.waitUntilReady()
                for cycle in 1...2 {
                    try container.checkpoint(to: "image\(cycle)", leaveRunning: true)
                    try container.expectPass("after checkpoint \(cycle)")
                }
            }
        }
    }
}

/// Ids of a user namespace and what they are outside.
struct IDRange {
    var inner: Int
    var outer: Int
    var count: Int

    var json: JSONValue {
        ["containerID": .integer(inner), "hostID": .integer(outer), "size": .integer(count)]
    }
}

extension Bundle {
    /// Gives the container a user namespace. Its files belong to its root, and nobody but the host's root can come near
    /// them.
    func enterUserNamespace(_ map: [IDRange] = [IDRange(inner: 0, outer: 300_000, count: 65536)]) throws(Failure) {
        try Command("chown", "-R", "\(map[0].outer):\(map[0].outer)", rootfs).run().succeeded()
        try check(chmod(folder, 0o700), "close the bundle")
        try edit { config in
            config.add(namespace: "user")
            config["linux"]["uidMappings"] = .array(map.map(\.json))
            config["linux"]["gidMappings"] = .array(map.map(\.json))
        }
    }
}
