import Glibc
import Testing

extension Integration {
    /// Files that the runtime relies on and somebody else has put others in the place of: null, terminal, procfs.
    @Suite(.serialized, .enabled(if: Runtime.isStasis))
    struct SwappedFiles {
        /// A volume of an attacker's, as the container's /dev.
        private func volume(_ bed: TestBed, for container: Container) throws(Failure) -> String {
            let volume = bed.folder + "/volume"
            try Files.makeFolder(volume + "/pts")
            try container.bundle.removeMount("/dev/mqueue")
            try container.bundle.removeMount("/dev/shm")
            try container.bundle.removeMount("/dev/pts")
            try container.bundle.removeMount("/dev")
            try container.bundle.addMount("/dev", source: volume)
            return volume
        }

        @Test(
            "nothing but the null device masks a file (CVE-2025-31133)", .timeLimit(.minutes(1)),
            arguments: ["file", "link", "other device"])
        func null(kind: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: [])
                let null = try volume(bed, for: container) + "/null"
                try Files.write("secret\n", to: container.bundle.rootfs + "/etc/secret")
                try container.bundle.edit { $0["linux"]["maskedPaths"] = ["/etc/secret"] }
                try check(mknod(null, S_IFCHR | 0o666, makedev(1, 3)), "make \(null)")
                let read = "head -c 99 /etc/secret"
                let look = ["sh", "-c", "\(read); echo x 2>/state/e >/etc/secret; \(read)"]
                #expect(try container.runAttached(look).output == "")
                try check(unlink(null), "unlink \(null)")
                switch kind {
                case "file": try Files.write("prepared\n", to: null)
                case "link": try check(symlink("/etc/secret", null), "link \(null)")
                default: try check(mknod(null, S_IFCHR | 0o666, makedev(1, 5)), "make \(null)")
                }
                let outcome = try container.runAttached(look)
                #expect(outcome.status == 1 && outcome.errors.contains("is not the null device"), "\(outcome)")
            }
        }

        @Test("a masked directory is empty and stays so", .timeLimit(.minutes(1)))
        func maskedDirectory() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: [])
                try Files.write("secret\n", to: container.bundle.rootfs + "/etc/secret")
                try container.bundle.edit { $0["linux"]["maskedPaths"] = ["/etc"] }
                let outcome = try container.runAttached(["sh", "-c", "ls /etc; touch /etc/x || echo no"])
                #expect(outcome.output == "no", "\(outcome)")
            }
        }

        @Test(
            "a terminal comes from devpts (CVE-2025-52565)", .timeLimit(.minutes(1)),
            arguments: ["file", "pipe", "link"])
        func terminal(kind: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                let volume = try volume(bed, for: container)
                try check(mknod(volume + "/null", S_IFCHR | 0o666, makedev(1, 3)), "make null")
                try Files.write("", to: bed.folder + "/target")
                switch kind {
                case "file": try Files.write("", to: volume + "/pts/ptmx")
                case "pipe": try check(mkfifo(volume + "/pts/ptmx", 0o666), "make ptmx")
                default: try check(symlink("/proc/self/fd/0", volume + "/pts/ptmx"), "link ptmx")
                }
                try container.bundle.edit { $0["process"]["terminal"] = true }
                let outcome = try container.runAttached()
                #expect(outcome.status == 1 && outcome.errors.contains("set up console"), "\(outcome)")
            }
        }

        @Test("/dev/console is made inside, and is the terminal", .timeLimit(.minutes(1)))
        func console() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: [])
                let volume = try volume(bed, for: container)
                try check(mknod(volume + "/null", S_IFCHR | 0o666, makedev(1, 3)), "make null")
                try container.bundle.addMount("/dev/pts", type: "devpts", source: "devpts", ["ptmxmode=0666"])
                let target = bed.folder + "/target"
                try Files.write("untouched", to: target)
                try check(symlink("../../../../../.." + target, volume + "/console"), "link console")
                try container.bundle.edit { $0["process"]["terminal"] = true }
                let look = "stat -c %t:%T \(target) /dev/pts/0; grep -c console /proc/self/mountinfo"
                let outcome = try container.runAttached(["sh", "-c", look])
                #expect(
                    outcome.output.split(whereSeparator: \.isWhitespace).prefix(2) == ["88:0", "88:0"], "\(outcome)")
                #expect(Files.text(of: target) == "untouched")
            }
        }

        @Test("a kernel parameter goes to the kernel (CVE-2025-52881)", .timeLimit(.minutes(1)))
        func kernelParameter() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                let fake = container.bundle.rootfs + "/proc/sys/net/ipv4/ip_forward"
                try Files.makeFolder(Files.parent(of: fake))
                try Files.write("fake", to: fake)
                try container.bundle.removeMount("/proc")
                try container.bundle.edit { config in
                    config["linux"]["sysctl"] = ["net.ipv4.ip_forward": "1"]
                    config["linux"]["maskedPaths"] = []
                    config["linux"]["readonlyPaths"] = []
                }
                try container.run()
                let inside = "cat /proc/sys/net/ipv4/ip_forward"
                let namespace = "/proc/\(try container.pid())/ns/net"
                #expect(try Command("nsenter", "--net=\(namespace)", "sh", "-c", inside).run().output == "1")
                #expect(Files.text(of: fake) == "fake")
            }
        }

        @Test("a link of a container's procfs is not followed to one", .timeLimit(.minutes(1)))
        func parameterNames() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                for key in [
                    "net/../../1/attr/exec", "net.ipv4/../../kernel/core_pattern", "kernel.core_pattern", "../x",
                ] {
                    try container.bundle.edit { $0["linux"]["sysctl"] = .object([key: "x"]) }
                    let outcome = try container.runAttached()
                    #expect(outcome.status == 1 && outcome.isOneComplaint, "\(key): \(outcome)")
                }
            }
        }
    }
}

func makedev(_ major: UInt, _ minor: UInt) -> dev_t { major << 8 | minor }
