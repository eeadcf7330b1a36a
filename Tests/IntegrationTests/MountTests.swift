import Glibc
import Testing

extension Integration {
    /// What the options of config.json's mounts do.
    @Suite(.serialized, .enabled(if: Runtime.isStasis))
    struct MountOptions {
        /// The attributes of each mount in the container, by its place.
        private func attributes(_ mountinfo: String) -> [String: Set<Substring>] {
            var found: [String: Set<Substring>] = [:]
            for line in mountinfo.split(separator: "\n") {
                let fields = line.split(separator: " ")
                if fields.count > 5 { found[String(fields[4])] = Set(fields[5].split(separator: ",")) }
            }
            return found
        }

        /// Each recursive option, what is looked at, and whether it is there afterwards.
        private static let recursive: [(option: String, attribute: Substring, isSet: Bool)] = [
            ("rro", "ro", true), ("rrw", "ro", false), ("rnosuid", "nosuid", true), ("rsuid", "nosuid", false),
            ("rnodev", "nodev", true), ("rdev", "nodev", false), ("rnoexec", "noexec", true),
            ("rexec", "noexec", false), ("rnodiratime", "nodiratime", true), ("rdiratime", "nodiratime", false),
            ("rnosymfollow", "nosymfollow", true), ("rsymfollow", "nosymfollow", false),
            ("rnoatime", "noatime", true), ("ratime", "noatime", false), ("rrelatime", "relatime", true),
            ("rnorelatime", "noatime", false), ("rstrictatime", "relatime", false),
            ("rnostrictatime", "relatime", true),
        ]

        @Test("each recursive option reaches the mounts below", .timeLimit(.minutes(1)))
        func recursive() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["cat", "/proc/self/mountinfo"])
                // Two trees of two mounts: one without any attribute, one with all.
                let trees = [bed.folder + "/bare", bed.folder + "/full"]
                let all = "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"
                for (tree, flags) in zip(trees, ["rw,strictatime", all]) {
                    try Files.makeFolder(tree)
                    try Command("mount", "-t", "tmpfs", "t", tree).run().succeeded()
                    try Files.makeFolder(tree + "/below")
                    try Command("mount", "-t", "tmpfs", "-o", flags, "t", tree + "/below").run().succeeded()
                    try Command("mount", "-o", "remount,bind," + flags, tree).run().succeeded()
                }
                defer { for tree in trees { for path in [tree + "/below", tree] { umount2(path, 0) } } }
                try container.bundle.edit { config in
                    let mounts = Self.recursive.map { option, _, isSet -> JSONValue in
                        [
                            "destination": .string("/tmp/\(option)"), "type": "bind",
                            "source": .string(trees[isSet ? 0 : 1]), "options": ["rbind", .string(option)],
                        ]
                    }
                    config["mounts"] = .array(config["mounts"].elements + mounts)
                }
                let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                let found = attributes(try outcome.succeeded().output)
                for (option, attribute, isSet) in Self.recursive {
                    for place in ["/tmp/\(option)", "/tmp/\(option)/below"] {
                        #expect(found[place]?.contains(attribute) == isSet, "\(place): \(found[place] ?? [])")
                    }
                }
            }
        }

        private static let modes = [
            "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable",
        ]

        @Test(
            "mount events go where each propagation mode says", .timeLimit(.minutes(1)),
            arguments: ["", "rslave", "shared", "rshared"])
        func propagation(root: String) throws {
            try TestBed.use { bed in
                let shared = bed.folder + "/shared"
                try Files.makeFolder(shared)
                try Command("mount", "-t", "tmpfs", "t", shared).run().succeeded()
                try Command("mount", "--make-private", shared).run().succeeded()
                defer { umount2(shared, Int32(MNT_DETACH)) }
                for mode in Self.modes {
                    let tree = "\(shared)/\(mode)"
                    for path in [tree, "\(tree)/out", "\(tree)/in"] {
                        try Files.makeFolder(path)
                        guard path == tree else { continue }
                        try Command("mount", "-t", "tmpfs", "t", tree).run().succeeded()
                        try Command("mount", "--make-shared", tree).run().succeeded()
                    }
                }
                let script = """
                    for m in /tmp/*; do mount -t tmpfs t $m/out && touch $m/out/inner; done
                    echo >/state/ready; while [ ! -e /state/go ]; do sleep 0.05; done
                    echo $(ls /tmp/*/in/outer); grep -E ' /tmp/[a-z]* ' /proc/self/mountinfo >/state/mounts
                    """
                let container = try bed.container(.busybox, arguments: ["sh", "-c", script])
                try container.bundle.edit { config in
                    for set in ["bounding", "effective", "permitted"] {
                        config["process"]["capabilities"][set] = ["CAP_SYS_ADMIN"]
                    }
                    config["linux"]["seccomp"] = .null
                    config["linux"]["rootfsPropagation"] = root.isEmpty ? .null : .string(root)
                    let mounts = Self.modes.map { mode -> JSONValue in
                        [
                            "destination": .string("/tmp/\(mode)"), "type": "bind",
                            "source": .string("\(shared)/\(mode)"), "options": ["rbind", .string(mode)],
                        ]
                    }
                    config["mounts"] = .array(config["mounts"].elements + mounts)
                }
                var run = try bed.runtime.command(["run", "--bundle", container.bundle.folder, container.id]).start()
                defer { run.kill() }
                _ = try container.waitForFile("ready")
                let toHost = Self.modes.filter { Files.exists("\(shared)/\($0)/out/inner") }
                #expect(toHost == (root.contains("shared") ? ["shared", "rshared"] : []))
                for mode in Self.modes {
                    let place = "\(shared)/\(mode)/in"
                    try Command("mount", "-t", "tmpfs", "t", place).run().succeeded()
                    try Files.write("", to: place + "/outer")
                }
                try Files.write("", to: container.stateInRootfs + "/go")
                let ended = run.wait(seconds: 20)
                #expect(ended)
                let seen = run.outcome().output.split(separator: " ").map { $0.split(separator: "/")[1] }
                #expect(Set(seen) == ["slave", "rslave", "shared", "rshared"])
                let mounts = Files.text(of: container.stateInRootfs + "/mounts") ?? ""
                let unbindable = mounts.split(separator: "\n").filter { $0.contains(" unbindable ") }
                #expect(unbindable.count == 2, "\(mounts)")
            }
        }

        @Test(
            "the root itself has the propagation that is asked for", .timeLimit(.minutes(1)),
            arguments: [("private", ""), ("rshared", "shared:"), ("slave", ""), ("unbindable", "unbindable")])
        func rootPropagation(mode: String, field: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["grep", " / / ", "/proc/self/mountinfo"])
                try container.bundle.edit { config in
                    config["process"]["args"] = ["sh", "-c", "grep ' / rw' /proc/self/mountinfo"]
                    config["linux"]["rootfsPropagation"] = .string(mode)
                }
                let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                let fields = try outcome.succeeded().output.split(separator: " ")
                #expect(fields[6].hasPrefix(field.isEmpty ? "-" : field), "\(fields)")
            }
        }

        @Test("relative destinations, tmpcopyup, and binds of files, beneath what is there", .timeLimit(.minutes(1)))
        func destinations() throws {
            try TestBed.use { bed in
                let script = """
                    cat /rel/dest/file; cat /filled/a/b; stat -c '%u:%g %a' /filled/a/b; readlink /filled/link
                    touch /filled/new; grep -c ' /filled ' /proc/mounts; cat /etc/made
                    """
                let container = try bed.container(.busybox, arguments: ["sh", "-c", script])
                let rootfs = container.bundle.rootfs
                try Files.makeFolder(rootfs + "/filled/a")
                try Files.write("copied\n", to: rootfs + "/filled/a/b", mode: 0o644)
                try check(chown(rootfs + "/filled/a/b", 5, 6), "chown")
                try check(symlink("a/b", rootfs + "/filled/link"), "symlink")
                try Files.makeFolder(container.bundle.folder + "/beside")
                try Files.write("bound\n", to: container.bundle.folder + "/beside/file")
                try container.bundle.edit { config in
                    config["mounts"] = .array(
                        config["mounts"].elements + [
                            // A relative source is beneath the bundle.
                            ["destination": "rel/dest", "type": "bind", "source": "beside", "options": ["rbind"]],
                            ["destination": "/filled", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"]],
                            ["destination": "/etc/made", "source": "beside/file", "options": ["bind", "ro"]],
                        ])
                }
                let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                #expect(outcome.output == "bound\ncopied\n5:6 644\na/b\n1\nbound", "\(outcome)")
                #expect(!Files.exists(rootfs + "/filled/new"))
            }
        }
    }
}
