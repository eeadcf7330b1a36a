import Glibc
import Testing

extension Integration {
    /// What the runtime has open must be out of an image's reach, and so must the process itself while it has it.
    @Suite(.serialized)
    struct LeakedDescriptors {
        /// Numbers that the runtime's own descriptors could have.
        private static let numbers = 3..<11
        private static let way = "../../../../../../../../../../../.."

        private func detached(_ container: Container) throws(Failure) -> Outcome {
            try container.bundle.edit { $0["process"]["args"] = ["sleep", "1000"] }
            try container.run()
            return try container.exec("true").succeeded()
        }

        /// A program outside of the container that says so.
        private func outside(_ bed: TestBed) throws(Failure) -> String {
            try Files.copy("/bin/busybox", to: bed.folder + "/busybox")
            return Self.way + bed.folder + "/busybox"
        }

        @Test("a program of the host is not reached through a descriptor (CVE-2024-21626)", .timeLimit(.minutes(1)))
        func program() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: [])
                let program = try outside(bed)
                for number in Self.numbers {
                    let words = ["/proc/self/fd/\(number)/\(program)", "echo", "escaped"]
                    try container.bundle.edit { $0["process"]["args"] = .strings(words) }
                    let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                    #expect(outcome.status != 0 && outcome.output.isEmpty, "\(outcome)")
                }
                _ = try detached(container)
                for number in Self.numbers {
                    let outcome = try container.exec("/proc/self/fd/\(number)/\(program)", "echo", "escaped")
                    #expect(outcome.status != 0 && outcome.output.isEmpty, "\(outcome)")
                }
            }
        }

        @Test("nor is it as a script's interpreter", .timeLimit(.minutes(1)))
        func interpreter() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: [])
                // An interpreter's path may have 255 bytes.
                let way = "/../../../../../../.." + bed.folder + "/busybox"
                try Files.copy("/bin/busybox", to: bed.folder + "/busybox")
                for number in Self.numbers {
                    try Files.write(
                        "#!/proc/self/fd/\(number)\(way) echo\n", to: "\(container.bundle.rootfs)/bin/s\(number)",
                        mode: 0o755)
                    try container.bundle.edit { $0["process"]["args"] = .strings(["/bin/s\(number)"]) }
                    let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                    #expect(outcome.status != 0 && outcome.output.isEmpty, "\(outcome)")
                }
                _ = try detached(container)
                for number in Self.numbers {
                    let outcome = try container.exec("/bin/s\(number)")
                    #expect(outcome.status != 0 && outcome.output.isEmpty, "\(outcome)")
                }
            }
        }

        @Test("no working directory is outside (CVE-2024-21626)", .timeLimit(.minutes(1)))
        func workingDirectory() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: [])
                try Files.write("secret", to: bed.folder + "/secret")
                let words = ["cat", Self.way + bed.folder + "/secret"]
                for number in Self.numbers {
                    try container.bundle.edit { config in
                        config["process"]["cwd"] = .string("/proc/self/fd/\(number)")
                        config["process"]["args"] = .strings(words)
                    }
                    let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                    #expect(outcome.status != 0 && outcome.output.isEmpty, "\(outcome)")
                }
                try container.bundle.edit { $0["process"]["cwd"] = "/" }
                _ = try detached(container)
                for number in Self.numbers {
                    let exec = ["exec", "--cwd", "/proc/self/fd/\(number)", container.id] + words
                    let outcome = try bed.runtime.command(exec).run()
                    #expect(outcome.status != 0 && outcome.output.isEmpty, "\(outcome)")
                }
            }
        }

        /// The caller passes a directory on by mistake: the kernel says that it cannot be reached from the root, also where
        /// a walk up from it meets the root's inode.
        @Test("nor one that the caller passes on", .timeLimit(.minutes(1)), arguments: ["", "/rootfs/state"])
        func passedOn(place: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["ls", "../secret"])
                try Files.write("", to: container.bundle.folder + "/secret")
                try container.bundle.edit { $0["process"]["cwd"] = "/proc/self/fd/3" }
                let run = ["run", "--preserve-fds", "1", "--bundle", container.bundle.folder, container.id]
                let words = bed.runtime.command(run).words
                let shell = "exec 3<\(container.bundle.folder)\(place); exec \"$@\""
                let outcome = try Command(["sh", "-c", shell, "sh"] + words).run()
                #expect(outcome.status == 1 && outcome.errors.contains("outside of container"), "\(outcome)")
            }
        }

        @Test("a process has the three standard streams and nothing else", .timeLimit(.minutes(1)))
        func nothingElse() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.run()
                #expect(Files.names(in: "/proc/\(try container.pid())/fd") == ["0", "1", "2"])
                let look = "for n in 3 4 5 6 7 8 9 10 11 12; do readlink /proc/$$/fd/$n; done; readlink /proc/$$/fd/0"
                #expect(try container.exec("sh", "-c", look).output == "/dev/null")
                try container.delete()
                try bed.runtime.run("create", "--bundle", container.bundle.folder, container.id).succeeded()
                let waiting = try container.pid()
                let open = Files.names(in: "/proc/\(waiting)/fd").compactMap { Files.link("/proc/\(waiting)/fd/\($0)") }
                // The fourth is the socket on which it waits for `start`.
                #expect(open.count == 4 && open[3].hasPrefix("socket:"), "\(open)")
                try bed.runtime.run("start", container.id).succeeded()
                #expect(until(seconds: 10) { Files.names(in: "/proc/\(waiting)/fd") == ["0", "1", "2"] })
                try bed.runtime.run("delete", "--force", container.id).succeeded()
            }
        }

        @Test(
            "a process that enters cannot be looked into before it is the container's (CVE-2016-9962)",
            .timeLimit(.minutes(1)))
        func entering() throws {
            try TestBed.use { bed in
                let container = try bed.container(.workload("hostile/runtime_process"), arguments: ["/workload"])
                try Files.copy("/bin/busybox", to: container.bundle.rootfs + "/bin/true")
                try container.run()
                try check(chmod(container.stateInRootfs, 0o777), "chmod")
                #expect(until(seconds: 10) { Files.exists(container.stateInRootfs + "/ready") })
                for _ in 0..<15 { try container.exec("true").succeeded() }
                let caught = Files.text(of: container.stateInRootfs + "/caught")
                #expect(caught == nil, "\(caught ?? "")")
            }
        }
    }
}
