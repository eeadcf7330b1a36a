import Glibc
import Testing

extension Integration.PodmanClient {
    /// uid and gid.
    private func owner(_ path: String) throws(Failure) -> [uid_t] {
        var status = stat()
        try check(stat(path, &status), "stat \(path)")
        return [status.st_uid, status.st_gid]
    }

    @Test("user namespaces: ids as mapped and as podman chooses, seen from inside and outside", .timeLimit(.minutes(1)))
    func userNamespaces() throws {
        try use(by: .rootBesideUsers) { podman in
            try podman.counter(
                "mapped", "--uidmap", "0:100000:65536", "--user", "5:6", "--volume", "data:/v:U", "--tmpfs",
                "/state:mode=777", "--tty")
            try podman.run("exec", "mapped", "touch", "/v/file")
            let file = try podman.run("volume", "inspect", "data", "--format", "{{.Mountpoint}}") + "/file"
            #expect(try owner(file) == [100_005, 100_006])
            let seen = ["stat", "-c", "%u:%g", "/v/file", "/dev/console", "/"]
            #expect(try podman.run(["exec", "mapped"] + seen) == "5:6\n5:5\n0:0")
            try podman.run("exec", "--user", "0", "mapped", "chown", "9:9", "/v/file")
            #expect(try owner(file) == [100_009, 100_009])
            #expect(try podman.run("exec", "-t", "mapped", "sh", "-c", "tty; id -u") == "/dev/pts/1\r\n5")
            #expect(try podman.run("top", "mapped", "huser", "user").contains("100005      5"))
            let map = ["cat", "/proc/self/uid_map"]
            let ids = try podman.run(["exec", "mapped"] + map)
            #expect(ids.split(separator: " ") == ["0", "100000", "65536"])
            let joining = ["--rm", "--userns", "container:mapped", "bb"] + map
            #expect(try podman.container(joining).succeeded().output == ids)
            try podman.run("pause", "mapped")
            try podman.run("unpause", "mapped")
            try podman.run("restart", "-t", "0", "mapped")
            #expect(try podman.run("exec", "mapped", "id", "-g") == "6")
            // Away with all of it, and back.
            let before = try podman.count("mapped", beyond: 5)
            let archive = podman.folder + "/mapped.tar"
            try podman.run("container", "checkpoint", "--export", archive, "mapped")
            try podman.run("rm", "mapped")
            try podman.run("volume", "rm", "data")
            try podman.run("container", "restore", "--import", archive, "--name", "again")
            _ = try podman.count("again", beyond: before)
            #expect(try podman.run(["exec", "again"] + seen) == "9:9\n5:5\n0:0")
            #expect(try podman.run(["exec", "again"] + map) == ids)
            #expect(try owner(file) == [100_009, 100_009])

            var first: [Int] = []
            for name in ["auto1", "auto2"] {
                try podman.container("-d", "--name", name, "--userns", "auto:size=1000", "bb", "sleep", "100")
                let ids = try podman.run(["exec", name] + map).split(separator: " ").compactMap { Int($0) }
                #expect(ids.count == 3 && ids[0] == 0 && ids[1] >= 400_000 && ids[2] == 1000, "\(ids)")
                first.append(ids[1])
            }
            #expect(abs(first[0] - first[1]) >= 1000)
        }
    }

    @Test("a user without rights: run, exec, logs, volumes, ports, ids, stop, exit codes", .timeLimit(.minutes(1)))
    func rootless() throws {
        try use(by: .user, ownNetwork: true) { podman in
            for (code, words) in [(7, ["sh", "-c", "exit 7"]), (126, ["/etc"]), (127, ["no-such-program"])] {
                let outcome = try podman.container(["--rm", "--network", "none", "bb"] + words)
                #expect(outcome.status == code, "\(outcome)")
            }
            let publish = Files.exists("/usr/bin/slirp4netns") && Files.exists("/dev/net/tun")
            let network = publish ? ["-p", "127.0.0.1:8080:80"] : ["--network", "none"]
            let program =
                "trap 'exit 3' TERM; echo kept >/v/file; httpd -p 80 -h /v; echo begun; while :; do sleep 0.05; done"
            let words = ["--volume", "data:/v", "bb", "sh", "-c", program]
            try podman.container(["-d", "--name", "web"] + network + words).succeeded()
            #expect(until(seconds: 5) { (try? podman.run("logs", "web")) == "begun" })
            if publish {
                let page = ["busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/file"]
                #expect(until(seconds: 10) { (try? podman.inNetwork(page)) == "kept" })
            }
            #expect(try podman.run("exec", "web", "sh", "-c", "id -u; touch /v/root") == "0")
            let other = ["exec", "--user", "5:5", "web", "sh", "-c", "exit $(id -u)"]
            #expect(try podman.command(other).run().status == 5)
            #expect(try podman.command(["exec", "web", "no-such-program"]).run().status == 127)
            #expect(try podman.run("exec", "-t", "web", "tty").hasPrefix("/dev/pts/0"))
            #expect(try podman.run("top", "web", "huser", "user", "args").contains("70123       root        httpd"))
            let refused = try podman.command(["container", "checkpoint", "web"]).run()
            #expect(refused.status == 125 && refused.errors.contains("requires root"), "\(refused)")
            try podman.run("restart", "-t", "5", "web")
            #expect(until(seconds: 5) { (try? podman.run("logs", "web")) == "begun\nbegun" })
            try podman.run("stop", "-t", "5", "web")
            #expect(try podman.inspect("web", ".State.ExitCode") == "3")
            try podman.run("rm", "web")

            let volume = try podman.run("volume", "inspect", "data", "--format", "{{.Mountpoint}}")
            #expect(try owner(volume + "/root") == [uid_t(OwnUser.id), uid_t(OwnUser.id)])
            let own = ["--network", "none", "--volume", "data:/v", "--userns", "keep-id", "bb"]
            let said = try podman.container(["--rm"] + own + ["sh", "-c", "id -u; echo own >/v/file; cat /v/file"])
            #expect(try said.succeeded().output == "\(OwnUser.id)\nown")
        }
    }

    @Test("a user with a cgroup of its own (v2) can pause", .timeLimit(.minutes(1)))
    func rootlessCgroup() throws {
        try use(by: .userWithCgroup) { podman in
            try podman.container("-d", "--name", "c", "bb", "sleep", "100")
            #expect(try podman.run("exec", "c", "cat", "/proc/self/cgroup").hasSuffix("0::/"))
            try podman.run("pause", "c")
            #expect(try podman.inspect("c", ".State.Status") == "paused")
            try podman.run("unpause", "c")
            try podman.run("stop", "-t", "0", "c")
            try podman.run("rm", "c")
        }
    }
}
