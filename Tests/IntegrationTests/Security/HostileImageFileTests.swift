import Glibc
import LinuxSystem
import Testing

extension Integration {
    /// What an image opens, binds and claims for its processes is what they could have themselves.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct HostileImageFiles {
        private func held(in bed: TestBed, _ arguments: [String] = []) throws(Failure) -> Container {
            try bed.container(.workload("hostile/held"), arguments: ["/workload"] + arguments)
        }

        private func checkpoint(_ container: Container) throws(Failure) {
            try container.run()
            try container.waitUntilReady()
            try container.checkpoint(to: "image")
        }

        /// Puts another name of the same length into the images' open files.
        private func rename(_ old: String, to new: String, in container: Container) throws {
            try replace(Array(old.utf8), by: Array(new.utf8), in: container)
        }

        private func replace(
            _ old: [UInt8], by new: [UInt8], in container: Container, _ name: String = "files.img"
        ) throws {
            let image = container.imageFolder("image")
            var bytes = try Files.bytes(of: image + "/" + name)
            try #require(old.count == new.count)
            let places = bytes.indices.filter { bytes[$0...].starts(with: old) }
            try #require(!places.isEmpty)
            for place in places { bytes.replaceSubrange(place..<place + old.count, with: new) }
            try Files.write(bytes, to: image + "/" + name)
            unlink(image + "/checksums.stasis")
        }

        private func expectRefusal(_ container: Container, in bed: TestBed, _ words: String) throws {
            var command = container.restoreCommand(from: "image")
            command.output = nil
            let outcome = try command.run(seconds: 20)
            #expect(outcome.status == 1 && outcome.errors.contains(words), "\(outcome)")
            try bed.expectNoLeaks()
        }

        @Test("a restored file is opened by the task's rights", .timeLimit(.minutes(1)))
        func keptRights() throws {
            try TestBed.use { bed in
                let container = try held(in: bed)
                try checkpoint(container)
                try container.restore(from: "image")
                try container.expectPass("after the restore")
            }
        }

        @Test("what others read is written, and what others do is told, by the task's rights", .timeLimit(.minutes(1)))
        func told() throws {
            try TestBed.use { bed in
                let container = try bed.container(.workload("hostile/told"), arguments: ["/workload"])
                let state = container.bundle.rootfs + "/state"
                try checkpoint(container)
                /// Gives a file to somebody else.
                func give(_ name: String, _ mode: mode_t) throws {
                    try check(chown("\(state)/\(name)", 65_534, 65_534), "chown \(name)")
                    try check(chmod("\(state)/\(name)", mode), "chmod \(name)")
                }
                try give("fifo", 0o444)
                try expectRefusal(container, in: bed, "open /state/fifo: permission denied")
                try give("fifo", 0o666)
                try give("secret", 0o222)
                try expectRefusal(container, in: bed, "watch /state/secret: permission denied")
                try give("secret", 0o444)
                try container.restore(from: "image")
                try container.expectPass("after the restore")
            }
        }

        @Test("a program of root's does not get a name in the host's folders", .timeLimit(.minutes(1)))
        func nameless() throws {
            try TestBed.use { bed in
                let container = try bed.container(.workload("hostile/nameless"), arguments: ["/workload"])
                let folder = bed.folder + "/host"
                try Files.makeFolder(folder)
                try container.bundle.edit { config in
                    let mount: JSONValue = [
                        "destination": "/host", "type": "bind", "source": .string(folder), "options": ["bind"],
                    ]
                    config["mounts"] = .array(config["mounts"].elements + [mount])
                }
                try checkpoint(container)
                try container.restore(from: "image")
                try container.expectPass("as it was")
                try container.checkpoint(to: "image")
                // Its mode: 0100600 becomes 0104755.
                try replace([0x18, 0x80, 0x83, 0x02], by: [0x18, 0xed, 0x93, 0x02], in: container, "ghost-file-1.img")
                try container.restore(from: "image")
                try container.expectPass("with the mode of another")
                #expect(Files.names(in: folder).isEmpty)
            }
        }

        @Test("the kernel's messages are not a container's", .timeLimit(.minutes(1)))
        func kernelMessages() throws {
            try TestBed.use { bed in
                let container = try held(in: bed)
                // It may be granted: the task does not have it.
                try container.bundle.edit { config in
                    let bounding = config["process"]["capabilities"]["bounding"].elements
                    config["process"]["capabilities"]["bounding"] = .array(bounding + ["CAP_SYSLOG"])
                }
                try checkpoint(container)
                try rename("/state/log", to: "/proc/kmsg", in: container)
                try expectRefusal(container, in: bed, "open /proc/kmsg: operation not permitted")
            }
        }

        @Test("nor is the memory of the host's processes", .timeLimit(.minutes(1)))
        func memoryOfOthers() throws {
            try TestBed.use { bed in
                var command = Command(["sleep", "1000"])
                command.output = bed.folder + "/sleep.out"
                var other = try command.start()
                defer { other.kill() }
                let target = "/proc/\(other.pid)/mem"
                let name = "/state/" + String(repeating: "m", count: target.utf8.count - 7)
                let container = try held(in: bed, [name])
                try container.bundle.edit { config in
                    config["linux"]["namespaces"] = .array(
                        config["linux"]["namespaces"].elements.filter { $0["type"].string != "pid" })
                }
                try checkpoint(container)
                try rename(name, to: target, in: container)
                // Its number must be free again.
                #expect(
                    until(seconds: 20) {
                        !Files.exists("/proc/\(Files.text(of: container.bundle.folder + "/pid") ?? "")")
                    })
                try expectRefusal(container, in: bed, "open \(target): permission denied")
            }
        }

        @Test("a low port asks for its right", .timeLimit(.minutes(1)))
        func ports() throws {
            try TestBed.use { bed in
                let container = try held(in: bed)
                try container.bundle.dropCapabilities()
                try checkpoint(container)
                // Field 7 of the entry: 15036, and 80 in as many bytes.
                try replace([0x38, 0xbc, 0x75], by: [0x38, 0xd0, 0x00], in: container)
                try expectRefusal(
                    container, in: bed, "bind to 0.0.0.0:80 in the container's network: permission denied")
            }
        }

        @Test("so does a raw socket", .timeLimit(.minutes(1)))
        func rawSockets() throws {
            try TestBed.use { bed in
                let container = try held(in: bed)
                try container.bundle.dropCapabilities()
                try checkpoint(container)
                // Fields 4 to 6 of the entry: a stream of TCP that listens, and a raw socket of TCP's packets.
                try replace([0x20, 1, 0x28, 6, 0x30, 10], by: [0x20, 3, 0x28, 6, 0x30, 7], in: container)
                try expectRefusal(container, in: bed, "make a socket of protocol 6: operation not permitted")
            }
        }

        @Test("sockets in a mount of the host's stay whose they are", .timeLimit(.minutes(1)))
        func foreignSockets() throws {
            try TestBed.use { bed in
                let folder = bed.folder + "/shared"
                try Files.makeFolder(folder, mode: 0o777)
                let container = try held(in: bed)
                try container.bundle.addMount("/mount", source: folder)
                try checkpoint(container)
                try rename("/state/sock", to: "/mount/sock", in: container)
                let socket = try check(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0), "socket")
                defer { close(socket) }
                try bind(socket, folder + "/sock")
                let inode = try status(at: AT_FDCWD, folder + "/sock").st_ino
                func expectUntouched(_ words: String) throws {
                    try expectRefusal(container, in: bed, words)
                    let now = try status(at: AT_FDCWD, folder + "/sock")
                    #expect(now.st_ino == inode)
                }
                // As the image's was, but somebody listens.
                try check(chmod(folder + "/sock", 0o755), "mode")
                try check(listen(socket, 1), "listen")
                try expectUntouched("/mount/sock: somebody else has this socket")
                // Nobody does, but its mode is another.
                try check(chmod(folder + "/sock", 0o700), "mode")
                try expectUntouched("/mount/sock: this socket in a mount of the host's is not the one")
                // In a folder that the container may not enter.
                try check(chmod(folder + "/sock", 0o755), "mode")
                try check(chmod(folder, 0o700), "mode")
                try check(chown(folder, 4242, 4242), "owner")
                try expectUntouched("/mount/sock: permission denied")
                // The one of the checkpoint, which nobody has any more.
                try check(chown(folder, 0, 0), "owner")
                let before = try status(at: AT_FDCWD, folder + "/sock").st_ctim
                close(dup2(open("/dev/null", O_RDONLY), socket))
                try container.restore(from: "image")
                let after = try status(at: AT_FDCWD, folder + "/sock").st_ctim
                #expect((after.tv_sec, after.tv_nsec) > (before.tv_sec, before.tv_nsec))
            }
        }

        @Test("nobody waits for a connection that went elsewhere", .timeLimit(.minutes(1)))
        func twoListeners() throws {
            try TestBed.use { bed in
                let container = try bed.container(.workload("hostile/two_listeners"), arguments: ["/workload"])
                try checkpoint(container)
                try rename("/state/mail\0", to: "/state//sock", in: container)
                try expectRefusal(container, in: bed, "a unix socket that listens leads to another one")
            }
        }

        private func bind(_ socket: CInt, _ path: String) throws {
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            let bound = withUnsafePointer(to: &address) { address in
                address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            try check(bound, "bind to \(path)")
        }

        @Test("limits end where the configuration's do", .timeLimit(.minutes(1)))
        func limits() throws {
            try TestBed.use { bed in
                let container = try held(in: bed)
                let config = Files.text(of: container.bundle.configPath) ?? ""
                try checkpoint(container)
                try container.bundle.edit { config in
                    config["process"]["rlimits"] = [["type": "RLIMIT_NOFILE", "hard": 64, "soft": 64]]
                }
                try expectRefusal(container, in: bed, "but config.json gives 64; raise it in process.rlimits")
                try Files.write(config, to: container.bundle.configPath)
                try container.bundle.edit { $0["process"]["oomScoreAdj"] = 500 }
                try expectRefusal(container, in: bed, "but config.json gives 500; lower process.oomScoreAdj")
                try Files.write(config, to: container.bundle.configPath)
                try container.restore(from: "image")
            }
        }

        /// Directories within each other, and a file in the innermost.
        private func nest(_ depth: Int, in folder: String) throws {
            var directory = try openAt(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY)
            for _ in 0..<depth {
                try check(mkdirat(directory.raw, "d", 0o755), "mkdir")
                directory = try openAt(directory.raw, "d", O_RDONLY | O_DIRECTORY)
            }
            let file = try openAt(directory.raw, "file", O_WRONLY | O_CREAT, mode: 0o644)
            try writeAll(file.raw, Array("in".utf8))
        }

        private func path(_ depth: Int) -> String { "/deep/" + String(repeating: "d/", count: depth) + "file" }

        @Test("a tmpfs may be nested as deep as paths reach", .timeLimit(.minutes(2)))
        func nestedFolders() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["/bin/sleep", "1000"])
                try container.bundle.addMount("/deep", type: "tmpfs", source: "tmpfs", ["nosuid"])
                try container.run()
                try nest(1900, in: "/proc/\(try container.pid())/root/deep")
                try container.checkpoint(to: "image")
                try container.restore(from: "image")
                #expect(try container.exec("/bin/cat", path(1900)).output == "in")
            }
        }

        @Test("an image's folders are copied up as deep as paths reach", .timeLimit(.minutes(2)))
        func copiedUp() throws {
            try TestBed.use { bed in
                for (depth, isTaken) in [(1900, true), (5000, false)] {
                    let container = try bed.container(.busybox, arguments: ["/bin/cat", path(1900)])
                    let folder = container.bundle.rootfs + "/deep"
                    try Files.makeFolder(folder)
                    try nest(depth, in: folder)
                    try container.bundle.addMount("/deep", type: "tmpfs", source: "tmpfs", ["nosuid", "tmpcopyup"])
                    let outcome = try container.runAttached()
                    if isTaken {
                        #expect(outcome.status == 0 && outcome.output == "in", "\(outcome)")
                    } else {
                        #expect(
                            outcome.status != 0 && outcome.errors.contains("bytes: file name too long"), "\(outcome)")
                    }
                }
            }
        }
    }
}
