import Glibc
import Testing

extension Integration {
    /// docker's containers with a user namespace each (`--userns-remap`).
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint && Files.exists("/usr/sbin/dockerd"), "docker is missing"))
    struct DockerUserNamespaces {
        /// docker 20.10 takes it for an error that containerd, from making the checkpoint, has the same content still.
        private func start(_ docker: Docker, from checkpoint: String) throws {
            var outcome: Outcome?
            let tries = until(seconds: 20) {
                outcome = try? docker.command(["start", "--checkpoint", checkpoint, "c1"]).run()
                return outcome?.errors.contains("already exists") == false
            }
            #expect(tries && outcome?.status == 0, "\(outcome.map { "\($0)" } ?? "")")
        }

        @Test("checkpoints of a remapped container with a terminal", .timeLimit(.minutes(1)))
        func checkpoint() throws {
            try TestBed.use { bed in
                let docker = try Docker(bed, remapped: true)
                defer { docker.end() }
                try docker.counter("c1", "-t", "--tmpfs", "/t")
                try docker.run("exec", "c1", "sh", "-c", "echo kept >/t/file; chown 7:8 /t/file")
                let look = "cut -c -32 /proc/1/uid_map; stat -c %u:%g /t/file /state/n; cat /t/file; id -u"
                let before = try docker.run("exec", "c1", "sh", "-c", look)
                #expect(
                    before.split(whereSeparator: \.isWhitespace) == ["0", "300000", "65536", "7:8", "0:0", "kept", "0"])
                for name in ["first", "second"] {
                    let count = try docker.count("c1", beyond: 0)
                    try docker.run("checkpoint", "create", "c1", name)
                    #expect(until(seconds: 10) { (try? docker.inspect("c1", ".State.Status")) == "exited" })
                    try start(docker, from: name)
                    #expect(try docker.count("c1", beyond: count) < count + 1000)
                    #expect(try docker.run("exec", "c1", "sh", "-c", look) == before)
                }
            }
        }
    }
}
