import Testing

extension Integration {
    /// docker's users notice no difference between Debian's runc and stasis: the same scripts say the same with both.
    @Suite(
        .serialized,
        .enabled(if: Comparison.isPossible && Files.exists("/usr/sbin/dockerd"), "docker or runc is missing"))
    struct DockerWithBothRuntimes {
        private func compare(_ rows: [Comparison.Row], inFull: Bool = true, remapped: Bool = false) throws {
            try Docker.use(remapped: remapped) { try Comparison($0).compare(rows, inFull: inFull) }
        }

        private func facts(_ flags: Comparison.Row) -> Comparison.Row {
            ("run --rm -v $files:/f:ro \(flags.script) bb sh /f/facts.sh", flags.says + ["ended with 0"])
        }

        @Test("flags of run: what a process sees of its container", .timeLimit(.minutes(2)))
        func flags() throws {
            let rows: [Comparison.Row] = [
                ("", ["00000000a80425fb", "NoNewPrivs:\t0", "Seccomp:\t2"]),
                (
                    "--cap-drop all --cap-add net_raw --security-opt no-new-privileges",
                    ["CapEff:\t0000000000002000", "NoNewPrivs:\t1"]
                ),
                ("--security-opt seccomp=unconfined --oom-score-adj 500", ["Seccomp:\t0", "500"]),
                ("--security-opt seccomp=$files/seccomp.json --init", ["Seccomp:\t2", "docker-init"]),
                (
                    "--user 5:6 --group-add 7 -w /made/for/it -e A=1 --hostname named",
                    ["uid=5 gid=6 groups=6,7", "/made/for/it", "A=1", "named"]
                ),
                (
                    "--read-only --tmpfs /t:size=1m,mode=1770 --shm-size 2m",
                    ["/ / ro,", "1024k,mode=1770", "size=2048k"]
                ),
                (
                    "--network host --pid host --uts host --ipc host --cgroupns host",
                    ["pid is the host's", "uts is the host's", "ipc is the host's", "cgroup is the host's"]
                ),
                ("--cgroupns private --ipc none", ["/sys/fs/cgroup/"]),
                (
                    "--ipc shareable --sysctl kernel.shmmax=4096 --sysctl net.ipv4.ip_forward=1",
                    ["kernel.shmmax = 4096", "ip_forward = 1"]
                ),
                (
                    "--device /dev/full:/dev/x:r --device-cgroup-rule 'c 1:5 r' --ulimit nofile=77:77 --ulimit core=0",
                    ["/dev/x", "77                   77"]
                ),
                (
                    "--memory 64m --memory-swap 96m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --pids-limit 9",
                    ["67108864"]
                ),
                ("--cpuset-cpus 0 --cpu-period 50000 --cpu-quota 20000 --blkio-weight 500", ["20000"]),
                (
                    "-v $files:/v:ro -v vol-$c:/named --mount type=bind,src=$files,dst=/m --mount type=tmpfs,dst=/n",
                    [" /v ro,", " /named rw,", " /m rw,", " /n rw,"]
                ),
            ]
            try compare(rows.map(facts))
        }

        @Test("programs that cannot start or may not do what they do", .timeLimit(.minutes(1)))
        func programs() throws {
            try compare([
                ("run --rm bb no-such", ["executable file not found in $PATH", "ended with 127"]),
                ("run --rm bb /no/such", ["stat /no/such: no such file or directory", "ended with 127"]),
                ("run --rm -v $files:/f bb /f/plain", ["permission denied", "ended with 126"]),
                ("run --rm -v $files:/f bb /f/text", ["exec format error", "ended with 1"]),
                ("run --rm -v $files:/f bb /f/lost", ["no such file or directory", "ended with 1"]),
                ("run --rm --init bb no-such", ["exec no-such failed", "ended with 127"]),
                ("run --rm --no-such-flag bb true", ["ended with 125"]),
                ("run --rm --user no-such bb true", ["ended with 125"]),
                ("run --rm -w /etc/passwd bb true", ["/etc/passwd is not a directory", "ended with 125"]),
                ("run --rm --network container:no-such bb true", ["ended with 125"]),
                ("run --rm --device /dev/zero:/etc/x bb stat -c %t:%T /etc/x", ["1:5"]),
                ("run --rm --read-only bb touch /x", ["Read-only file system", "ended with 1"]),
                ("run --rm --user 5 bb touch /x", ["Permission denied", "ended with 1"]),
                ("run --rm --cap-drop mknod bb mknod /x c 1 1", ["Operation not permitted", "ended with 1"]),
                ("run --rm bb sh -c 'mknod /x b 7 7 && cat /x'", ["Operation not permitted", "ended with 1"]),
                (
                    "run --rm --security-opt seccomp=$files/seccomp.json bb mkdir /x",
                    ["Operation not permitted", "ended with 1"]
                ),
                ("run --rm --pids-limit 1 bb sh -c 'ls; ls'", ["can't fork", "ended with 2"]),
                (
                    // Two pipes: which of them docker reads first is its affair.
                    "echo words | run --rm -i bb sh -c 'cat; echo >&2 worse; exit 9' 2>$files/$c; code=$?; "
                        + "cat $files/$c; (exit $code)",
                    ["words", "worse", "ended with 9"]
                ),
                ("run --rm --init bb sh -c 'kill -9 $$'", ["ended with 137"]),
            ])
        }

        /// Errors of the file system are told in stasis's own words; docker looks for a few of runc's (`specs/cli.md`).
        @Test("containers that cannot be made: exit codes and docker's hints", .timeLimit(.minutes(1)))
        func mistakes() throws {
            let isFile = "Are you trying to mount a directory onto a file"
            try compare(
                [
                    ("run --rm -v $files/plain:/etc bb true", ["not a directory", isFile, "ended with 125"]),
                    ("run --rm -v $files:/etc/passwd bb true", ["not a directory", isFile, "ended with 125"]),
                    ("run --rm -v $files:/proc/x bb true", ["cannot be mounted because it is inside /proc"]),
                    ("run --rm -v $files/plain:/proc/version bb true", ["cannot be mounted because it is inside"]),
                    ("run --rm --sysctl net.no.such=1 bb true", ["no such file or directory", "ended with 127"]),
                    (
                        "run --rm --sysctl kernel.shmmax=1 --ipc host bb true",
                        ["not allowed in the hosts ipc namespace"]
                    ),
                    ("run --rm --hostname $(printf %070d 0) bb true", ["invalid argument", "ended with 125"]),
                    ("run --rm --ulimit nofile=9000000:9000000 bb true", []),
                ], inFull: false)
        }

        @Test("lives of containers", .timeLimit(.minutes(3)))
        func lives() throws { try compare(Comparison.rows(in: "docker")) }

        @Test("containers whose root is a user's subordinate on the host (--userns-remap)", .timeLimit(.minutes(2)))
        func remapped() throws {
            let isMapped = "         0     300000      65536"
            let rows: [Comparison.Row] = [
                ("", [isMapped]), ("--user 5:6 --init --read-only --tmpfs /t", [isMapped, "uid=5 gid=6"]),
                ("--cap-drop all --security-opt no-new-privileges -v vol-$c:/named", [isMapped, " /named rw,"]),
                ("--cgroupns private --ipc shareable --memory 64m", [isMapped, "67108864"]),
                ("--userns host", ["         0          0 4294967295", "user is the host's"]),
            ]
            let programs: [Comparison.Row] = [
                ("run --rm bb no-such", ["executable file not found in $PATH", "ended with 127"]),
                ("run --rm -v $files:/f bb touch /f/new", ["Permission denied", "ended with 1"]),
                ("run --rm --userns host -v $files:/f bb touch /f/new", ["ended with 0"]),
                ("run --rm -v $files:/f bb stat -c %u:%g /f", ["65534:65534"]),
                ("run --rm --privileged bb true", ["privileged mode is incompatible with user namespaces"]),
                ("run --rm --network host bb true", ["cannot share the host's network namespace"]),
            ]
            let lives = ["remapped/volume", "docker/exec", "docker/signals", "docker/memory", "docker/pod"]
                .map(Comparison.row)
            try compare(rows.map(facts) + programs + lives, remapped: true)
        }
    }
}
