import Glibc
import Testing

extension Integration {
    /// The check that every other test ends with can fail.
    @Suite(.serialized)
    struct Leaks {
        @Test("sees a process", .timeLimit(.minutes(1)))
        func process() throws {
            try TestBed.use { bed in
                #expect(bed.leakCheck.leaks().isEmpty)
                var command = Command("sleep", "1000")
                command.environment.append("MARK=\(bed.token)")
                var left = try command.start()
                #expect(until(seconds: 5) { bed.leakCheck.leaks().count == 1 }, "\(bed.leakCheck.leaks())")
                #expect(throws: Failure.self) { try bed.expectNoLeaks(within: 0.1) }
                left.kill()
                #expect(bed.leakCheck.leaks().isEmpty)
            }
        }

        @Test("sees a mount, a cgroup, a network namespace and a state folder", .timeLimit(.minutes(1)))
        func kernelObjects() throws {
            try TestBed.use { bed in
                let mountPoint = bed.folder + "/mount"
                try Files.makeFolder(mountPoint)
                try check(mount("tmpfs", mountPoint, "tmpfs", 0, nil), "mount")
                #expect(bed.leakCheck.leaks() == ["mount at \(mountPoint)"])
                try check(umount2(mountPoint, 0), "umount")

                let hierarchy = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].first { Files.exists($0) } ?? ""
                let cgroup = "\(hierarchy)/\(bed.token)"
                try check(mkdir(cgroup, 0o755), "make \(cgroup)")
                #expect(bed.leakCheck.leaks() == ["cgroup \(cgroup)"])
                try check(rmdir(cgroup), "remove \(cgroup)")
                if hierarchy != "/sys/fs/cgroup" {
                    let plain = "/sys/fs/cgroup/\(bed.token)"
                    try check(mkdir(plain, 0o755), "make \(plain)")
                    #expect(bed.leakCheck.leaks().isEmpty, "a folder of the tmpfs is no cgroup")
                    try check(rmdir(plain), "remove \(plain)")
                }

                try Files.makeFolder("/run/netns")
                try Files.write("", to: "/run/netns/\(bed.token)")
                #expect(bed.leakCheck.leaks() == ["network namespace \(bed.token)"])
                try check(unlink("/run/netns/\(bed.token)"), "unlink")

                let state = bed.runtime.stateFolder + "/left"
                try Files.makeFolder(state)
                #expect(bed.leakCheck.leaks().count == 1)
                try check(rmdir(state), "remove \(state)")
            }
        }

        @Test("sees a container that nobody deleted, and sweeps it", .timeLimit(.minutes(1)))
        func container() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.run()
                let kinds = Set(bed.leakCheck.leaks().compactMap { $0.split(separator: " ").first.map(String.init) })
                #expect(kinds.isSuperset(of: ["process", "cgroup", "state"]), "\(bed.leakCheck.leaks())")
            }
        }

        @Test("a workload whose priority or limits were meddled with says FAIL", .timeLimit(.minutes(1)))
        func changedFact() throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: "counter")
                try container.run()
                try container.waitUntilReady()
                try container.expectPass("untouched")
                let pid = try container.pid()
                try check(setpriority(Int32(PRIO_PROCESS.rawValue), id_t(pid), 7), "renice \(pid)")
                #expect(try container.ask().contains("FAIL 2: no more 'stat field 18"))
                try container.expectPass("what it is now is what it was")
                try Command("prlimit", "--pid", "\(pid)", "--nofile=100:100").run().succeeded()
                #expect(try container.ask().contains("/proc/self/limits"))
            }
        }

        @Test("a workload whose memory was meddled with says FAIL", .timeLimit(.minutes(1)))
        func flippedByte() throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: "memory")
                try container.run()
                let notes = try container.waitUntilReady()
                try container.expectPass("untouched")
                let word = notes.split(separator: "\n").first?.split(separator: " ").last ?? ""
                let address = try #require(off_t(word.dropFirst(2), radix: 16), "\(notes)")
                let memory = try check(open("/proc/\(try container.pid())/mem", O_RDWR | O_CLOEXEC), "open its memory")
                defer { close(memory) }
                try check(pwrite(memory, "x", 1, address), "write its memory")
                #expect(try container.ask().hasPrefix("FAIL"))
            }
        }
    }
}
