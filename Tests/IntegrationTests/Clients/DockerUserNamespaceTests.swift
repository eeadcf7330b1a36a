import Glibc
import Testing

extension Integration {
    /// docker's containers with a user namespace each (`--userns-remap`).
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint && Files.exists("/usr/sbin/dockerd"), "docker is missing"))
    struct DockerUserNamespaces {
        @Test("checkpoints of a remapped container with a terminal", .timeLimit(.minutes(1)))
        func checkpoint() throws {
            try Docker.use(remapped: true) { docker in
                try docker.counter("c1", "-t", "--tmpfs", "/t")
                try docker.run("exec", "c1", "sh", "-c", "echo kept >/t/file; chown 7:8 /t/file")
                let look = "cut -c -32 /proc/1/uid_map; stat -c %u:%g /t/file /state/n; cat /t/file; id -u"
                let before = try docker.run("exec", "c1", "sh", "-c", look)
                #expect(
                    before.split(whereSeparator: \.isWhitespace) == ["0", "300000", "65536", "7:8", "0:0", "kept", "0"])
                for name in ["first", "second"] {
                    let count = try docker.count("c1", beyond: 0)
                    try docker.checkpoint("c1", name)
                    try docker.restore("c1", from: name)
                    #expect(try docker.count("c1", beyond: count) < count + 1000)
                    #expect(try docker.run("exec", "c1", "sh", "-c", look) == before)
                }
            }
        }
    }
}
