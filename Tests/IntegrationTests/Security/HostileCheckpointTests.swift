import Glibc
import Testing

extension Integration {
    /// A checkpoint is data from anywhere: it gets nothing of the host, and no more than config.json grants.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct HostileCheckpoints {
        private func checkpointed(_ workload: String, in bed: TestBed) throws(Failure) -> Container {
            let container = try bed.container(workload: workload)
            try container.run()
            try container.waitUntilReady()
            try container.checkpoint(to: "image")
            return container
        }

        private func expectRefusal(_ container: Container, in bed: TestBed, _ words: String) throws {
            var command = container.restoreCommand(from: "image")
            command.output = nil
            let outcome = try command.run(seconds: 20)
            #expect(outcome.status == 1 && outcome.errors.contains(words), "\(outcome)")
            try bed.expectNoLeaks()
        }

        @Test("an image file is something else (containerd CVE-2026-53489)", .timeLimit(.minutes(1)))
        func strangers() throws {
            try TestBed.use { bed in
                let container = try checkpointed("counter", in: bed)
                let image = container.imageFolder("image")
                for name in ["pstree.img", "pages-1.img", "core-1.img"] {
                    let path = image + "/" + name
                    try check(rename(path, bed.folder + "/real"), "move \(path)")
                    try check(symlink(bed.folder + "/real", path), "link \(path)")
                    try expectRefusal(container, in: bed, "is a symbolic link")
                    try check(unlink(path), "unlink \(path)")
                    try check(mkfifo(path, 0o600), "make \(path)")
                    try expectRefusal(container, in: bed, "is not a regular file")
                    try check(unlink(path), "unlink \(path)")
                    try check(mkdir(path, 0o700), "make \(path)")
                    try expectRefusal(container, in: bed, "is not a regular file")
                    try check(rmdir(path), "remove \(path)")
                    try check(rename(bed.folder + "/real", path), "move \(path) back")
                }
                try check(unlink(image + "/checksums.stasis"), "remove the checksums")
                try check(truncate(image + "/pstree.img", 300 << 20), "lengthen pstree.img")
                try expectRefusal(container, in: bed, "are not read")
            }
        }

        /// Of a few pages, and of so many that the file is read past the page cache.
        @Test("a bit of memory is another", .timeLimit(.minutes(1)), arguments: ["counter", "cost/memory"])
        func memory(workload: String) throws {
            try TestBed.use { bed in
                let container = try checkpointed(workload, in: bed)
                let path = container.imageFolder("image") + "/pages-1.img"
                let file = try check(open(path, O_RDWR | O_CLOEXEC), "open \(path)")
                defer { close(file) }
                let size = try check(lseek(file, 0, SEEK_END), "seek in \(path)")
                for place in [0, size / 2, size - 1] {
                    var byte: UInt8 = 0
                    for isDamage in [true, false] {
                        try check(pread(file, &byte, 1, place), "read \(path)")
                        byte ^= 0x10
                        try check(pwrite(file, &byte, 1, place), "write \(path)")
                        if isDamage { try expectRefusal(container, in: bed, "pages-1.img: is damaged") }
                    }
                }
                try container.restore(from: "image")
            }
        }

        @Test("images are their owner's alone", .timeLimit(.minutes(1)))
        func secrets() throws {
            try TestBed.use { bed in
                let container = try checkpointed("counter", in: bed)
                let image = container.imageFolder("image")
                #expect(try Files.mode(of: image) == S_IFDIR | 0o700)
                for name in Files.names(in: image) {
                    #expect(try Files.mode(of: image + "/" + name) == S_IFREG | 0o600, "\(name)")
                }
            }
        }

        @Test("the configuration has the last word (containerd CVE-2026-53492)", .timeLimit(.minutes(1)))
        func rights() throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: "counter")
                try container.bundle.edit { config in
                    config["process"]["noNewPrivileges"] = false
                    config["linux"]["seccomp"] = .null
                }
                try container.run()
                try container.waitUntilReady()
                try container.checkpoint(to: "image")
                let config = Files.text(of: container.bundle.configPath) ?? ""
                try container.bundle.dropCapabilities()
                try expectRefusal(container, in: bed, "which config.json does not grant")
                try Files.write(config, to: container.bundle.configPath)
                try container.bundle.edit { config in
                    config["process"]["noNewPrivileges"] = true
                    config["linux"]["seccomp"] = [
                        "defaultAction": "SCMP_ACT_ALLOW",
                        "syscalls": [["names": ["kexec_load"], "action": "SCMP_ACT_ERRNO"]],
                    ]
                }
                try container.restore(from: "image")
                let status = Files.text(of: "/proc/\(try container.pid())/status") ?? ""
                #expect(status.contains("NoNewPrivs:\t1\n") && status.contains("Seccomp:\t2\n"), "\(status)")
            }
        }

        @Test("nor has an image ids that the configuration does not give", .timeLimit(.minutes(1)))
        func users() throws {
            try TestBed.use { bed in
                let container = try checkpointed("counter", in: bed)
                let config = Files.text(of: container.bundle.configPath) ?? ""
                for field in ["uid", "gid"] {
                    try container.bundle.edit { config in
                        config["process"]["noNewPrivileges"] = true
                        config["process"]["user"][field] = 1000
                    }
                    let kind = field == "uid" ? "user" : "group"
                    try expectRefusal(container, in: bed, "has \(kind) id 0, which config.json does not give it")
                    try Files.write(config, to: container.bundle.configPath)
                }
                try container.restore(from: "image")
            }
        }

        @Test("a name of an image leads nowhere else (CRI-O CVE-2024-8676)", .timeLimit(.minutes(1)))
        func names() throws {
            try TestBed.use { bed in
                let container = try checkpointed("descriptors", in: bed)
                let outside = bed.folder + "/outside"
                let log = container.stateInRootfs + "/log"
                try Files.write(try Files.bytes(of: log), to: outside)
                let before = try Files.bytes(of: outside)
                // The rootfs, which came with the image, leads to a file just like the one that was open.
                for way in ["../../../../../../../..", "", "/proc/self/root", "/proc/1/root"] {
                    try check(unlink(log), "unlink \(log)")
                    try check(symlink(way + outside, log), "link \(log)")
                    try expectRefusal(container, in: bed, "/state/log")
                    #expect(try Files.bytes(of: outside) == before)
                }
            }
        }
    }
}
