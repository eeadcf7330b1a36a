import Testing

extension Integration.PodmanClient {
    @Test(
        "redis keeps its keys and its subscribers; a TCP connection and a lock want their flags",
        .timeLimit(.minutes(1)))
    func redis() throws {
        try use { podman in
            let host = ["/usr:/usr:ro", "/usr/lib:/lib:ro", "/usr/lib64:/lib64:ro"].flatMap { ["--volume", $0] }
            let program = """
                redis-server --save '' --unixsocket /state/socket &
                until redis-cli -s /state/socket set key kept; do sleep 0.05; done
                redis-cli -h 127.0.0.1 subscribe news &
                flock /state/lock sleep 1000 &
                exec redis-cli -s /state/socket subscribe news >/state/news
                """
            try podman.container(["-d", "--name", "redis"] + host + ["bb", "sh", "-c", program]).succeeded()
            func ask(_ words: String...) throws -> String {
                try podman.run(["exec", "redis", "redis-cli", "-s", "/state/socket"] + words)
            }
            func expectRefusal(of kind: String, _ flags: String...) throws {
                let outcome = try podman.command(["container", "checkpoint"] + flags + ["redis"]).run()
                #expect(outcome.status == 125 && outcome.errors.contains(kind), "\(outcome)")
                #expect(try ask("get", "key") == "kept")
            }
            try #require(until(seconds: 10) { (try? ask("publish", "news", "one")) == "2" })
            try expectRefusal(of: "--tcp-established", "--file-locks")
            try expectRefusal(of: "file-locks", "--tcp-established")

            try podman.run("container", "checkpoint", "--file-locks", "--tcp-established", "redis")
            try podman.run("container", "restore", "--file-locks", "--tcp-established", "redis")
            #expect(try ask("get", "key") == "kept")
            #expect(try ask("publish", "news", "three") == "2")
            #expect(
                until(seconds: 5) {
                    (try? podman.run("exec", "redis", "cat", "/state/news"))?.hasSuffix("three") == true
                })
            #expect(try podman.command(["exec", "redis", "flock", "-n", "/state/lock", "true"]).run().status == 1)
        }
    }

    @Test("checkpoints in rounds build on each other, and leave as archive", .timeLimit(.minutes(1)))
    func rounds() throws {
        try use { podman in
            try podman.counter("c")
            for _ in 1...2 {
                let before = try podman.count("c", beyond: 0)
                try podman.run("container", "checkpoint", "--pre-checkpoint", "c")
                _ = try podman.count("c", beyond: before)
                try podman.run("container", "checkpoint", "--with-previous", "c")
                let image = try podman.userdata("c") + "/checkpoint"
                #expect(Files.link(image + "/parent") == "../pre-checkpoint")
                #expect(try Files.bytes(of: image + "/parents.stasis").isEmpty == false)
                try podman.run("container", "restore", "c")
                _ = try podman.count("c", beyond: before)
            }
            let (previous, archive) = (podman.folder + "/previous.tar", podman.folder + "/c.tar")
            try podman.run("container", "checkpoint", "--pre-checkpoint", "--export", previous, "c")
            let before = try podman.count("c", beyond: 0)
            try podman.run("container", "checkpoint", "--with-previous", "--export", archive, "c")
            try podman.run("rm", "c")
            try podman.run("container", "restore", "--import-previous", previous, "--import", archive)
            _ = try podman.count("c", beyond: before)
        }
    }

    @Test("an init that is bound into a tmpfs is there after a restore", .timeLimit(.minutes(1)))
    func boundInit() throws {
        try use { podman in
            try podman.counter("c", "--init", "--tmpfs", "/run")
            func place() throws -> String { try podman.run("exec", "c", "cat", "/proc/1/cmdline", "/run/podman-init") }
            let before = try place()
            #expect(before.contains("podman-init") && before.utf8.count > 1000)
            for _ in 1...2 {
                let count = try podman.count("c", beyond: 0)
                try podman.run("container", "checkpoint", "c")
                try podman.run("container", "restore", "c")
                _ = try podman.count("c", beyond: count)
                #expect(try place() == before)
            }
        }
    }

    @Test("a container on a terminal goes on, with statistics and logs", .timeLimit(.minutes(1)))
    func checkpoint() throws {
        try use { podman in
            let program = "n=0; while read x; do n=$((n+1)); echo got $x $n; [ $x != end ] || exit 6; done"
            try podman.container("-d", "-i", "-t", "--name", "c", "--tmpfs", "/t", "bb", "sh", "-c", program)
            func say(_ word: String, for answer: String) throws {
                let attach = podman.command(["attach", "--detach-keys", "ctrl-x", "c"])
                try attach.onTerminal((says: "", gets: word), (says: answer, gets: "\u{18}")).run().succeeded()
            }
            try say("one", for: "got one 1")
            try podman.run("exec", "c", "sh", "-c", "echo kept >/t/file")
            for number in [2, 3] {
                let flags = ["--keep", "--print-stats", "--file-locks", "--tcp-established"]
                let dumped = try podman.run(["container", "checkpoint"] + flags + ["c"])
                #expect(try podman.inspect("c", ".State.Checkpointed") == "true")
                let restored = try podman.run(["container", "restore"] + flags + ["c"])
                let userdata = try podman.userdata("c")
                let written = try statistics(dumped, of: "checkpoint", in: userdata + "/stats-dump")
                let read = try statistics(restored, of: "restore", in: userdata + "/stats-restore")
                #expect(written["frozen_time"] != nil && read["restore_time"] != nil)
                #expect(written["pages_written"] == read["pages_restored"])
                #expect(Set(["dump.log", "restore.log"]).isSubset(of: Files.names(in: userdata)))
                try say("more", for: "got more \(number)")
                #expect(try podman.run("exec", "c", "cat", "/t/file") == "kept")
            }
            let end = try podman.command(["attach", "c"]).onTerminal((says: "", gets: "end")).run()
            #expect(try podman.run("wait", "c") == "6", "\(end)")
            let events = try podman.run("events", "--stream=false", "--format", "{{.Status}}").split(separator: "\n")
            #expect(events.filter { ["checkpoint", "restore"].contains($0) }.count == 4, "\(events)")
        }
    }

    /// The runtime's figures as `--print-stats` printed them. They are those of the file, and the times are possible.
    private func statistics(_ printed: String, of action: String, in file: String) throws -> [String: Int] {
        let printed = try JSONValue(parsing: printed)
        let container = printed["container_statistics"].elements.first ?? .null
        guard case .object(let figures) = container["criu_statistics"] else { throw Failure("no figures: \(printed)") }
        let decoded = try JSONValue(parsing: Integration.Images.crit("decode", "-i", file).succeeded().output)
        let entry = decoded["entries"].elements.first?[action == "restore" ? action : "dump"] ?? .null
        let runtime = container["runtime_\(action)_duration"].integer ?? 0
        #expect(runtime <= printed["podman_\(action)_duration"].integer ?? 0)
        for (name, value) in figures {
            #expect(value == entry[name] && value.integer ?? 0 > 0, "\(name): \(printed), \(entry)")
            if name.hasSuffix("_time") { #expect(value.integer ?? 0 < runtime, "\(name): \(printed)") }
        }
        return figures.compactMapValues { $0.integer }
    }

    @Test("checkpoints leave as archive and come back under other names", .timeLimit(.minutes(1)))
    func archives() throws {
        try use { podman in
            try podman.run("volume", "create", "data")
            // What it writes is in the image: a file of the rootfs may be open just then, and another rootfs does not have it.
            try podman.counter("c", "--volume", "data:/v", "--tmpfs", "/state")
            try podman.run("exec", "c", "sh", "-c", "echo written >/etc/own; echo data >/v/file")
            let archive = podman.folder + "/c.tar"
            func files(_ archive: String) throws -> [Substring] {
                try Command("tar", "-tf", archive).run().succeeded().output.split(separator: "\n")
            }
            let contents: Set<Substring> = ["rootfs-diff.tar", "volumes/data.tar"]
            for compression in ["none", "gzip", "zstd"] {
                let ignored = compression == "none" ? ["--ignore-rootfs", "--ignore-volumes"] : []
                let flags = ["--leave-running", "--compress", compression] + ignored
                try podman.run(
                    ["container", "checkpoint"] + flags + ["--export", archive + "." + compression, "c"])
            }
            #expect(try contents.isDisjoint(with: files(archive + ".none")))
            #expect(try contents.isSubset(of: files(archive + ".gzip")))
            let before = try podman.count("c", beyond: 0)
            try podman.run("container", "checkpoint", "--export", archive, "c")
            try podman.run("rm", "c")
            try podman.run("volume", "rm", "data")
            try podman.run("container", "restore", "--import", archive, "--name", "second")
            _ = try podman.count("second", beyond: before)
            #expect(try podman.run("exec", "second", "cat", "/etc/own", "/v/file") == "written\ndata")
            try podman.run("exec", "second", "sh", "-c", "echo newer >/v/file")
            // Beside each other, from one image of memory, without the changes of the root and of the volume.
            for (number, compression) in ["none", "gzip", "zstd"].enumerated() {
                try podman.run(
                    "container", "restore", "--ignore-rootfs", "--ignore-volumes", "--import",
                    archive + "." + compression, "--name", "copy\(number)")
                let own = try podman.command(["exec", "copy\(number)", "cat", "/v/file", "/etc/own"]).run()
                #expect(own.status == 1 && own.output == "newer", "\(own)")
            }
        }
    }

    @Test("a checkpoint becomes an image, which restores", .timeLimit(.minutes(1)))
    func image() throws {
        try use { podman in
            try podman.counter("c")
            let before = try podman.count("c", beyond: 0)
            try podman.run("container", "checkpoint", "--create-image", "saved", "c")
            let annotations = try podman.run("image", "inspect", "saved", "--format", "{{.Annotations}}")
            #expect(annotations.contains("checkpoint.criu.version:40200"), "\(annotations)")
            #expect(annotations.contains("checkpoint.runtime.name:stasis"), "\(annotations)")
            try podman.run("rm", "c")
            try podman.run("container", "restore", "--name", "again", "saved")
            _ = try podman.count("again", beyond: before)
        }
    }

    @Test("containers of a pod share it, and one is restored into another pod", .timeLimit(.minutes(1)))
    func pods() throws {
        try use { podman in
            for pod in ["one", "two"] {
                try podman.run(
                    "pod", "create", "--name", pod, "--network", "none", "--cgroup-parent", podman.cgroupParent)
            }
            try podman.container("-d", "--pod", "one", "--name", "member", "bb", "sleep", "100")
            try podman.counter("counter", "--pod", "one")
            func network(_ name: String) throws -> String {
                try podman.run("exec", name, "readlink", "/proc/1/ns/net")
            }
            #expect(try network("member") == network("counter"))
            try podman.run("pod", "pause", "one")
            #expect(try podman.inspect("member", ".State.Status") == "paused")
            try podman.run("pod", "unpause", "one")
            let archive = podman.folder + "/member.tar"
            let before = try podman.count("counter", beyond: 0)
            try podman.run("container", "checkpoint", "--export", archive, "counter")
            let two = try podman.run("pod", "inspect", "two", "--format", "{{.Id}}")
            try podman.run("container", "restore", "--import", archive, "--pod", two, "--name", "moved")
            _ = try podman.count("moved", beyond: before)
            #expect(try network("member") != network("moved"))
            try podman.run("pod", "stop", "-t", "0", "one", "two")
        }
    }
}
