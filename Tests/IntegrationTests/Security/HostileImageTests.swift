import Glibc
import Testing

extension Integration {
    /// Images that have prepared for the runtime what it makes or looks at.
    @Suite(.serialized, .enabled(if: Runtime.isStasis))
    struct HostileImages {
        private func remove(_ name: String, of container: Container) throws(Failure) -> String {
            let path = container.bundle.rootfs + "/" + name
            try check(rmdir(path), "remove \(path)")
            return path
        }

        @Test(
            "/proc and /sys must be directories (CVE-2019-19921, CVE-2023-27561, CVE-2023-28642)",
            .timeLimit(.minutes(1)), arguments: ["proc", "sys"])
        func redirected(name: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                let path = try remove(name, of: container)
                try Files.makeFolder(container.bundle.rootfs + "/fake")
                try check(symlink("/fake", path), "link \(path)")
                func expectRefusal() throws {
                    let outcome = try container.runAttached()
                    #expect(outcome.status == 1, "\(outcome)")
                    #expect(outcome.errors.contains("/\(name) must be an ordinary directory"), "\(outcome)")
                }
                try expectRefusal()
                try check(unlink(path), "unlink \(path)")
                try Files.write("", to: path)
                try expectRefusal()
            }
        }

        @Test("/dev that leads out of the image (CVE-2026-41579)", .timeLimit(.minutes(1)), arguments: [true, false])
        func devices(isMounted: Bool) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: [])
                let outside = bed.folder + "/outside"
                try Files.makeFolder(outside)
                let path = try remove("dev", of: container)
                try check(symlink("../../../../../../../.." + outside, path), "link \(path)")
                if !isMounted {
                    for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
                        try container.bundle.removeMount(place)
                    }
                }
                let outcome = try container.runAttached(["sh", "-c", "echo x >/dev/null; test -c \(outside)/null"])
                #expect(outcome.status == 0, "\(outcome)")
                #expect(Files.names(in: outside) == [])
            }
        }

        enum Node: String, CaseIterable {
            case file, pipe, otherDevice, link
        }

        @Test(
            "a device that is there must be the one that is wanted", .timeLimit(.minutes(1)), arguments: Node.allCases)
        func preparedNode(kind: Node) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                try container.bundle.edit { config in
                    config["mounts"] = .array(
                        config["mounts"].elements.filter { $0["destination"].string?.hasPrefix("/dev") != true })
                }
                let path = container.bundle.rootfs + "/dev/urandom"
                try check(mknod(path, S_IFCHR | 0o666, makedev(1, 9)), "make \(path)")
                #expect(try container.runAttached().status == 0)  // the right one
                try check(unlink(path), "unlink \(path)")
                switch kind {
                case .file: try Files.write("not random", to: path)
                case .pipe: try check(mkfifo(path, 0o666), "make \(path)")
                case .otherDevice: try check(mknod(path, S_IFCHR | 0o666, makedev(1, 5)), "make \(path)")
                case .link: try check(symlink("/dev/zero", path), "link \(path)")
                }
                let outcome = try container.runAttached()
                #expect(outcome.status == 1 && outcome.errors.contains("create device /dev/urandom"), "\(outcome)")
            }
        }

        @Test("a pipe stops nothing", .timeLimit(.minutes(1)))
        func pipes() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: [])
                let rootfs = container.bundle.rootfs
                for name in ["/etc/passwd", "/etc/group", "/program", "/bound"] {
                    try check(mkfifo(rootfs + name, 0o777), "make \(name)")
                }
                try container.bundle.edit { config in
                    let environment = config["process"]["env"].elements.filter { $0.string?.hasPrefix("HOME") != true }
                    config["process"]["env"] = .array(environment)
                    config["linux"]["maskedPaths"] = ["/program"]
                    config["linux"]["readonlyPaths"] = ["/etc/group"]
                }
                try Files.write("bound\n", to: bed.folder + "/file")
                try container.bundle.addMount("/bound", source: bed.folder + "/file")
                let outcome = try container.runAttached(["sh", "-c", "echo $HOME; cat /bound"])
                #expect(outcome.status == 0 && outcome.output == "/\nbound", "\(outcome)")
                try container.bundle.edit { $0["linux"]["maskedPaths"] = [] }
                let refused = try container.runAttached(["/program"])
                #expect(refused.status == 1 || refused.status == 126, "\(refused)")
            }
        }

        @Test("a rootfs that is a link is refused", .timeLimit(.minutes(1)))
        func linkedRoot() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                try check(symlink("/", container.bundle.folder + "/link"), "link")
                try container.bundle.edit { $0["root"]["path"] = "link" }
                let outcome = try container.runAttached()
                #expect(outcome.status == 1 && outcome.errors.contains("invalid rootfs"), "\(outcome)")
            }
        }
    }
}
