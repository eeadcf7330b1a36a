import Glibc
import Testing

extension Integration {
    /// Where an image or a volume says that a mount's target is, it is inside the container.
    @Suite(.serialized, .enabled(if: Runtime.isStasis))
    struct MountTargets {
        /// A folder of the host that links lead to. Nothing may ever be in it.
        private func outside(_ bed: TestBed) throws(Failure) -> String {
            try Files.makeFolder(bed.folder + "/outside")
            return bed.folder + "/outside"
        }

        @Test(
            "a link of the image leads nowhere else (CVE-2024-45310)", .timeLimit(.minutes(1)),
            arguments: ["", "/../../../../../../../..", "/proc/self/root", "/proc/self/cwd", "/proc/self/fd/3"])
        func links(before: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: [])
                let outside = try outside(bed)
                let link = container.bundle.rootfs + "/link"
                try check(symlink(before + outside, link), "link \(link)")
                let file = bed.folder + "/file"
                try Files.write("bound\n", to: file)
                try container.bundle.addMount("/link/made/directory", type: "tmpfs", source: "tmpfs", [])
                try container.bundle.addMount("/link/made/file", source: file)
                let outcome = try container.runAttached(["cat", "/link/made/file"])
                // A link of the kernel's own is refused; any other is one within the image.
                #expect(outcome.status == 0 ? outcome.output == "bound" : outcome.isOneComplaint, "\(outcome)")
                #expect(Files.names(in: outside) == [])
            }
        }

        @Test(
            "nor does one that leads to what is there, outside (CVE-2021-30465)", .timeLimit(.minutes(1)),
            arguments: ["", "/../../../../../../../..", "../../../../../../../..", "/proc/self/root", "/proc/1/root"])
        func existing(before: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: [])
                let outside = try outside(bed)
                for name in ["directory", "directory/below", "volume"] { try Files.makeFolder("\(outside)/\(name)") }
                try Files.write("host\n", to: outside + "/file")
                try check(symlink(before + outside, container.bundle.rootfs + "/link"), "link /link")
                try Files.write("bound\n", to: bed.folder + "/file")
                try Files.makeFolder(bed.folder + "/volume")
                try container.bundle.addMount("/link/directory/below", type: "tmpfs", source: "tmpfs", [])
                try container.bundle.addMount("/link/file", source: bed.folder + "/file")
                try container.bundle.addMount("/link/volume", source: bed.folder + "/volume")
                // Seen inside, by the way that the link takes there.
                let look =
                    "touch /state/ran; grep -c ' /.*/outside/directory/below ' /proc/self/mountinfo; cat /link/file"
                let write = "touch /link/volume/written /link/directory/below/written"
                let outcome = try container.runAttached(["sh", "-c", "\(look); \(write)"])
                if Files.exists(container.stateInRootfs + "/ran") {
                    #expect(outcome.status == 0 && outcome.output == "1\nbound", "\(outcome)")
                    #expect(Files.names(in: bed.folder + "/volume") == ["written"])
                } else {
                    // A link of the kernel's own.
                    #expect(before.hasPrefix("/proc"), "\(outcome)")
                    #expect(outcome.status == 1 && outcome.isOneComplaint, "\(outcome)")
                }
                #expect(Files.names(in: outside) == ["directory", "file", "volume"])
                #expect(Files.names(in: outside + "/directory/below") + Files.names(in: outside + "/volume") == [])
                #expect(Files.text(of: outside + "/file") == "host\n")
            }
        }

        @Test("one that leads in circles is refused", .timeLimit(.minutes(1)))
        func circle() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: [])
                for (name, target) in [("a", "b"), ("b", "/a")] {
                    try check(symlink(target, container.bundle.rootfs + "/" + name), "link \(name)")
                }
                for number in 0..<200 {  // the last leads to nothing
                    let link = container.bundle.rootfs + "/chain\(number)"
                    try check(symlink("chain\(number + 1)", link), "link \(link)")
                }
                for start in ["/a", "/chain0"] {
                    try container.bundle.addMount(start + "/x", type: "tmpfs", source: "tmpfs", [])
                    let outcome = try container.runAttached(["true"])
                    #expect(outcome.status == 1 && outcome.errors.contains("symbolic links"), "\(outcome)")
                    try container.bundle.removeMount(start + "/x")
                }
            }
        }

        @Test("a link to what is not there yet is made, within the container", .timeLimit(.minutes(1)))
        func dangling() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: [])
                let link = container.bundle.rootfs + "/etc/resolv.conf"
                try check(symlink("../../../run/resolve/stub.conf", link), "link \(link)")
                try Files.write("nameserver\n", to: bed.folder + "/file")
                try container.bundle.addMount("/etc/resolv.conf", source: bed.folder + "/file")
                try container.bundle.addMount("/missing/../../other/./place", type: "tmpfs", source: "tmpfs", [])
                let look = "cat /run/resolve/stub.conf; grep -c ' /other/place ' /proc/self/mountinfo"
                #expect(try container.runAttached(["sh", "-c", look]).succeeded().output == "nameserver\n1")
            }
        }

        @Test("a directory of a volume becomes a link while it is mounted on (CVE-2021-30465)", .timeLimit(.minutes(1)))
        func race() throws {
            try TestBed.use { bed in
                let outside = try outside(bed)
                let volume = bed.folder + "/volume"
                try Files.makeFolder(volume + "/target")
                try check(symlink(outside, volume + "/link"), "link")
                let attacker = try bed.container(.workload("hostile/swapped_directory"), arguments: [])
                try attacker.bundle.addMount("/volume", source: volume)
                let swap = ["/workload", "/volume/target", "/volume/link"]
                try attacker.bundle.edit { $0["process"]["args"] = .strings(swap) }
                try attacker.run()
                let look = ["grep", "-c", " - tmpfs race ", "/proc/self/mountinfo"]
                let victim = try bed.container(.busybox, arguments: look)
                try victim.bundle.addMount("/volume", source: volume)
                for number in 0..<8 {
                    try victim.bundle.addMount("/volume/target/\(number)/below", type: "tmpfs", source: "race", [])
                    // What could be mounted on, and what would have to be made.
                    if number < 4 { try Files.makeFolder("\(outside)/\(number)/below") }
                }
                let end = monotonicSeconds() + 5
                while monotonicSeconds() < end, Files.names(in: outside).count == 4 {
                    let outcome = try victim.runAttached()
                    // Wherever they are, they are inside.
                    if outcome.status != 0 || outcome.output != "8" {
                        try #require(outcome.output.isEmpty && outcome.isOneComplaint, "\(outcome)")
                    }
                }
                #expect(Files.names(in: outside) == ["0", "1", "2", "3"])
                #expect(LeakCheck.lives(try attacker.pid()), "nobody attacked")
            }
        }

        @Test("nothing of the image or a volume stands in for procfs (CVE-2019-16884)", .timeLimit(.minutes(1)))
        func volumeOverProc() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                try Files.makeFolder(bed.folder + "/volume/self/attr")
                try Files.write("", to: bed.folder + "/volume/self/attr/exec")
                try check(symlink("/proc", container.bundle.rootfs + "/link"), "link")
                let config = Files.text(of: container.bundle.configPath) ?? ""
                for place in ["/proc", "/./proc/", "/proc/sys", "/proc/self/attr", "/link/sys", "/sys/../proc/1"] {
                    try container.bundle.addMount(place, source: bed.folder + "/volume")
                    let outcome = try container.runAttached()
                    #expect(outcome.status == 1 && outcome.errors.contains("cannot be mounted because"), "\(outcome)")
                    try Files.write(config, to: container.bundle.configPath)
                }
                // As lxcfs does it.
                try Files.write("7 7\n", to: bed.folder + "/uptime")
                try container.bundle.addMount("/proc/uptime", source: bed.folder + "/uptime")
                #expect(try container.runAttached(["cat", "/proc/uptime"]).output == "7 7")
            }
        }
    }
}
