import Glibc
import Testing

extension Integration {
    /// Names and files that a caller passes on from somebody else. Nothing is waited for, and nothing outside is touched.
    @Suite(.serialized, .enabled(if: Runtime.isStasis))
    struct HostileArguments {
        /// Fails with one line, in time, and leaves nothing.
        private func expectRefusal(_ command: Command, in bed: TestBed, _ words: String = "") throws {
            let outcome = try command.run(seconds: 20)
            #expect(outcome.status == 1 && outcome.isOneComplaint && outcome.errors.contains(words), "\(outcome)")
            try bed.expectNoLeaks()
        }

        private func create(_ container: Container, _ flags: String...) -> Command {
            container.runtime.command(["create", "--bundle", container.bundle.folder] + flags + [container.id])
        }

        @Test(
            "an id is no path", .timeLimit(.minutes(1)), arguments: ["..", ".", "a/b", "../x", "/etc", "a b", "a\nb"])
        func ids(id: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                // Beside and above the state's folder.
                let states = [bed.folder + "/state.json", bed.folder + "/x/state.json"]
                for state in states {
                    try Files.makeFolder(Files.parent(of: state))
                    try Files.write("{}", to: state)
                }
                for words in [
                    ["create", "--bundle", container.bundle.folder], ["run", "--bundle", container.bundle.folder],
                    ["start"], ["state"], ["kill"], ["delete"], ["delete", "--force"], ["pause"], ["ps"],
                    ["restore", "--bundle", container.bundle.folder], ["checkpoint"],
                ] {
                    let outcome = try bed.runtime.command(words + ["--", id]).run(seconds: 20)
                    #expect(outcome.status != 0 && outcome.isOneComplaint, "\(outcome)")
                }
                #expect(states.allSatisfy { Files.text(of: $0) == "{}" })
            }
        }

        @Test(
            "cgroupsPath leads nowhere else", .timeLimit(.minutes(1)), arguments: ["../../..", "/../..", "a/../../.."])
        func cgroupsPath(way: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.bundle.edit { $0["linux"]["cgroupsPath"] = .string(way) }
                try expectRefusal(create(container), in: bed, "is the machine's own cgroup")
                try container.bundle.edit { $0["linux"]["cgroupsPath"] = .string("\(way)/\(bed.token)-x") }
                try container.run()
                let groups = (Files.text(of: "/proc/\(try container.pid())/cgroup") ?? "").split(separator: "\n")
                #expect(groups.allSatisfy { $0.hasSuffix("/\(bed.token)-x") && !$0.contains("..") }, "\(groups)")
                #expect(!Files.exists("/sys/fs/\(bed.token)-x") && !Files.exists("/sys/fs/cgroup/\(bed.token)-x"))
            }
        }

        enum Place: String, CaseIterable {
            case pipe, file, directory, link, dangling

            func prepare(_ path: String, target: String) throws(Failure) {
                switch self {
                case .pipe: try check(mkfifo(path, 0o600), "make \(path)")
                case .file: try Files.write("old", to: path)
                case .directory: try Files.makeFolder(path)
                case .link:
                    try Files.write("old", to: target)
                    try check(symlink(target, path), "link \(path)")
                case .dangling: try check(symlink(target, path), "link \(path)")
                }
            }
        }

        @Test("a pid file takes the place of what is there, whole", .timeLimit(.minutes(1)), arguments: Place.allCases)
        func pidFile(place: Place) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                let (path, target) = (bed.folder + "/pidfile", bed.folder + "/target")
                try place.prepare(path, target: target)
                let before = Files.names(in: bed.folder)
                if place == .directory {
                    try expectRefusal(create(container, "--pid-file", path), in: bed, "pidfile")
                    #expect(Files.isFolder(path))
                    return #expect(Files.names(in: bed.folder).filter { $0 != "run" } == before)
                }
                // Whoever reads the old file reads on in the old one.
                let old = bed.folder + "/old"
                try check(link(path, old), "link \(old)")
                let kept = Files.text(of: place == .file ? old : target)
                try create(container, "--pid-file", path).run(seconds: 20).succeeded()
                #expect(Files.text(of: path) == "\(try container.pid())")
                #expect(try Files.mode(of: path) & S_IFMT == S_IFREG)
                #expect(Files.text(of: place == .file ? old : target) == kept)
                #expect(try Files.mode(of: old) & S_IFMT != S_IFREG || place == .file)
                try bed.runtime.run("delete", "--force", container.id).succeeded()
            }
        }

        @Test(
            "a socket that is something else", .timeLimit(.minutes(1)), arguments: ["console", "pidfd"],
            Place.allCases)
        func sockets(kind: String, place: Place) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                try container.bundle.edit { $0["process"]["terminal"] = .bool(kind == "console") }
                let path = bed.folder + "/socket"
                try place.prepare(path, target: bed.folder + "/target")
                try expectRefusal(create(container, "--\(kind)-socket", path), in: bed, "connect to \(path)")
                #expect(Files.text(of: bed.folder + "/target") == (place == .link ? "old" : nil))
            }
        }

        @Test("a socket on which nobody takes a connection", .timeLimit(.minutes(1)), arguments: ["console", "pidfd"])
        func deafSocket(kind: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                try container.bundle.edit { $0["process"]["terminal"] = .bool(kind == "console") }
                let path = bed.folder + "/socket"
                try bed.withService("hostile/deaf_socket.py", path) {
                    let outcome = try create(container, "--\(kind)-socket", path).run(seconds: 20)
                    #expect(outcome.status == 1 && outcome.errors.contains("connect to \(path)"), "\(outcome)")
                }
                try bed.expectNoLeaks()
            }
        }

        @Test("a log that nobody reads", .timeLimit(.minutes(1)), arguments: Place.allCases)
        func log(place: Place) throws {
            try TestBed.use { bed in
                let (path, target) = (bed.folder + "/log", bed.folder + "/target")
                try place.prepare(path, target: target)
                func failing() throws -> Outcome {
                    var command = bed.runtime.command(["state", "nobody"])
                    command.words.insert(contentsOf: ["--log", path, "--log-format", "json"], at: 1)
                    return try command.run(seconds: 20)
                }
                let outcome = try failing()
                #expect(outcome.status == 1 && outcome.isOneComplaint, "\(outcome)")
                switch place {
                case .pipe:
                    // One that is full, and whose reader does not read.
                    let end = try check(open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC), "open \(path)")
                    defer { close(end) }
                    let filler = [UInt8](repeating: 0, count: 4096)
                    while write(end, filler, filler.count) > 0 {}
                    #expect(try failing().errors.contains("does not exist"))
                case .file: #expect(Files.text(of: path)?.hasPrefix("old{") == true)
                case .link: #expect(Files.text(of: target)?.hasPrefix("old{") == true)
                case .dangling: #expect(Files.text(of: target)?.hasPrefix("{") == true)
                case .directory: #expect(outcome.errors.contains("directory"), "\(outcome)")
                }
            }
        }

        @Test("config.json is no configuration", .timeLimit(.minutes(2)))
        func configuration() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                let path = container.bundle.configPath
                func expectRefusal(_ words: String, prepare: () throws(Failure) -> Void) throws {
                    try check(unlink(path), "unlink \(path)")
                    try prepare()
                    for command in ["create", "run"] {
                        let words = [command, "--bundle", container.bundle.folder, container.id]
                        let outcome = try bed.runtime.command(words).run(seconds: 20)
                        #expect(outcome.status == 1 && outcome.isOneComplaint, "\(outcome.errors.prefix(500))")
                    }
                    let outcome = try create(container).run(seconds: 20)
                    #expect(outcome.errors.contains(words), "\(outcome.errors.prefix(500))")
                    try bed.expectNoLeaks()
                }
                try expectRefusal("not a regular file") { () throws(Failure) in
                    try check(mkfifo(path, 0o600), "make \(path)")
                }
                try expectRefusal("not a regular file") { () throws(Failure) in
                    try check(symlink("/dev/zero", path), "link \(path)")
                }
                try expectRefusal("too large") { () throws(Failure) in
                    try Files.write("", to: path)
                    try check(truncate(path, 1 << 30), "lengthen \(path)")
                }
                for opening in ["[", "{\"a\":", "{\"linux\":{\"resources\":{\"unified\":["] {
                    try expectRefusal("nested too deeply") { () throws(Failure) in
                        try Files.write(String(repeating: opening, count: 100_000), to: path)
                    }
                }
                try check(unlink(path), "unlink \(path)")
                try Files.makeFolder(path)
                #expect(try create(container).run(seconds: 20).errors.contains("directory"))
            }
        }
    }
}
