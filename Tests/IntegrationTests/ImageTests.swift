import Glibc
import Testing

extension Integration {
    /// The image folder as other tools see it, and images that another tool wrote.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct Images {
        /// Together these hold every kind of object.
        static let programs = [
            "memory", "threads", "process_tree", "signals", "credentials", "descriptors", "pipe", "eventfd", "epoll",
            "timerfd", "signalfd", "unix_socketpair", "tcp_listen", "interval_timer", "file_lock",
        ]

        private static let critFolder = Runtime.packageFolder + "/.build/crit/usr"  // unpacked by hack/test
        /// Where Python finds CRIU's own types of images.
        static let critModules = critFolder + "/lib/python3/dist-packages"

        /// Runs CRIU's own decoder.
        static func crit(_ arguments: String...) throws(Failure) -> Outcome {
            guard Files.exists(critFolder + "/bin/crit") else { throw Failure("crit is missing: hack/test fetches it") }
            var command = Command(["/usr/bin/python3", critFolder + "/bin/crit"] + arguments)
            command.environment.append("PYTHONPATH=\(critModules)")
            return try command.run()
        }

        /// Reads files as `crit decode` does, all in one Python.
        private static let decoder = """
            import sys, pycriu
            for path in sys.argv[1:]:
                with open(path, "rb") as file:
                    image = pycriu.images.load(file, True)
                assert image["magic"] and image["entries"] is not None, path
            """

        @Test("crit decodes every file", .timeLimit(.minutes(2)), arguments: programs)
        func decode(program: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: program)
                try container.run()
                try container.waitUntilReady()
                try container.checkpoint(to: "image")
                let folder = container.imageFolder("image")
                let images = Files.names(in: folder).filter { $0.hasSuffix(".img") && !$0.hasPrefix("pages-") }
                #expect(images.contains("inventory.img") && images.contains("pstree.img"))
                if program == "file_lock" { #expect(images.contains("filelocks.img")) }
                let paths = images.map { folder + "/" + $0 } + [container.bundle.folder + "/stats-dump"]
                var decode = Command(["/usr/bin/python3", "-c", Self.decoder] + paths)
                decode.environment.append("PYTHONPATH=\(Self.critModules)")
                try decode.run().succeeded()
                // Debian's crit knows no zombies: it looks for their memory and descriptors.
                for view in program == "process_tree" ? ["ps"] : ["ps", "fds", "mems", "rss"] {
                    let shown = try Self.crit("x", folder, view)
                    #expect(shown.status == 0 && !shown.output.isEmpty, "\(shown)")
                }
            }
        }

        @Test("only the owner can read an image folder, and it is flat", .timeLimit(.minutes(1)))
        func shape() throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: "counter")
                try container.run()
                try container.waitUntilReady()
                try container.checkpoint(to: "image")
                let folder = container.imageFolder("image")
                for name in Files.names(in: folder) {
                    #expect(try Files.mode(of: folder + "/" + name) == S_IFREG | 0o600, "\(name)")
                }
                let work = Files.names(in: container.bundle.folder)
                #expect(work.contains("dump.log") && work.contains("stats-dump"), "\(work)")
                try container.restore(from: "image")
                let after = Files.names(in: container.bundle.folder)
                #expect(after.contains("restore.log") && after.contains("stats-restore"), "\(after)")
            }
        }

        private static let sample = Files.parent(of: Runtime.packageFolder) + "/shared/criu-images/samples/holder"

        @Test("restores what CRIU dumped", .enabled(if: Files.exists(sample)), .timeLimit(.minutes(1)))
        func criuSample() throws {
            try TestBed.use { bed in
                let bundle = Bundle(existing: bed.folder + "/holder")
                try Files.makeFolder(bundle.rootfs)
                try Files.copy(Self.sample + "/config.json", to: bundle.configPath)
                try Command("tar", "-xzf", Self.sample + "/rootfs.tar.gz", "-C", bundle.rootfs).run().succeeded()
                try Command("cp", "-r", Self.sample + "/images", bundle.folder + "/image").run().succeeded()
                let container = bed.add(bundle, id: bed.token + "-holder")
                // It was dumped on a processor with AVX-512.
                guard Files.text(of: "/proc/cpuinfo")?.contains(" avx512f ") == true else {
                    #expect(try container.restoreCommand(from: "image").run().status == 1)
                    let log = Files.text(of: bundle.folder + "/restore.log") ?? ""
                    #expect(log.contains("which this processor does not know"), "\(log)")
                    return
                }
                try container.restore(from: "image")
                try bed.runtime.run("kill", container.id, "USR1").succeeded()
                let verdict = try container.waitForFile("verdict") { $0.hasSuffix("PASS\n") || $0.hasSuffix("FAIL\n") }
                #expect(verdict == "PASS\n")
            }
        }
    }
}
