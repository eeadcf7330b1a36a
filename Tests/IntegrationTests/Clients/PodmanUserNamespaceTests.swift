import Glibc
import Testing

extension Integration {
    /// podman's containers with a user namespace.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint && Files.exists("/usr/bin/podman"), "podman is missing"))
    struct PodmanUserNamespaces {
        private static let maps = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536"]

        private func use(_ body: (Podman) throws -> Void) throws {
            try TestBed.use({ try Podman($0) }, body)
        }

        private func expectMaps(_ podman: Podman, _ name: String) throws {
            let script = "cat /proc/1/uid_map /proc/1/gid_map; stat -c %u:%g /state/n"
            let seen = try podman.run("exec", name, "sh", "-c", script)
            let words = seen.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            #expect(words == "0 100000 65536 0 200000 65536 0:0")
        }

        @Test("a container with maps, checkpointed and restored twice", .timeLimit(.minutes(1)))
        func checkpoint() throws {
            try use { podman in
                let flags = ["-d", "--name", "c", "--tmpfs", "/t", "--tty"] + Self.maps
                try podman.container(flags + ["bb", "sh", "-c", ClientWorkload.counter]).succeeded()
                _ = try podman.count("c", beyond: 5)
                try podman.run("exec", "c", "sh", "-c", "echo kept >/t/file; chown 7:8 /t/file")
                try expectMaps(podman, "c")
                for _ in 1...2 {
                    let before = try podman.count("c", beyond: 0)
                    try podman.run("container", "checkpoint", "c")
                    try podman.run("container", "restore", "c")
                    #expect(try podman.count("c", beyond: before) < before + 500)
                    try expectMaps(podman, "c")
                    #expect(try podman.run("exec", "c", "stat", "-c", "%u:%g", "/t/file") == "7:8")
                    #expect(try podman.run("exec", "c", "cat", "/t/file") == "kept")
                }
            }
        }

        @Test("an archive of one comes back under another name with the same maps", .timeLimit(.minutes(1)))
        func archive() throws {
            try use { podman in
                try podman.container(["-d", "--name", "c"] + Self.maps + ["bb", "sh", "-c", ClientWorkload.counter])
                    .succeeded()
                let before = try podman.count("c", beyond: 5)
                let archive = podman.folder + "/c.tar"
                try podman.run("container", "checkpoint", "--export", archive, "c")
                try podman.run("rm", "c")
                try podman.run("container", "restore", "--import", archive, "--name", "second")
                #expect(try podman.count("second", beyond: before) < before + 500)
                try expectMaps(podman, "second")
            }
        }

        @Test("containers of a pod join its user namespace, and one of them again", .timeLimit(.minutes(1)))
        func pod() throws {
            try use { podman in
                let place = ["--network", "none", "--cgroup-parent", podman.cgroupParent]
                _ = try podman.run(["pod", "create", "--name", "pod"] + place + Self.maps)
                try podman.container("-d", "--pod", "pod", "--name", "member", "bb", "sleep", "100")
                try podman.counter("counter", "--pod", "pod")
                func namespace(_ name: String) throws -> String {
                    try podman.run("exec", name, "readlink", "/proc/1/ns/user")
                }
                #expect(try namespace("counter") == namespace("member"))
                let before = try podman.count("counter", beyond: 0)
                try podman.run("container", "checkpoint", "counter")
                try podman.run("container", "restore", "counter")
                #expect(try podman.count("counter", beyond: before) < before + 500)
                #expect(try namespace("counter") == namespace("member"))
                try expectMaps(podman, "counter")
                try podman.run("pod", "stop", "-t", "0", "pod")
            }
        }
    }
}
