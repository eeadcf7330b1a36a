import Testing

extension Integration {
    /// containerd's users notice no difference between Debian's runc and stasis: scripts say the same with both.
    @Suite(
        .serialized,
        .enabled(if: Comparison.isPossible && Files.exists("/usr/bin/ctr"), "containerd or runc is missing"))
    struct ContainerdWithBothRuntimes {
        @Test("flags of run, programs that cannot start, and lives", .timeLimit(.minutes(2)))
        func scripts() throws {
            let flags: [Comparison.Row] = [
                ("", ["00000000a80425fb", "NoNewPrivs:\t1"]),
                ("--cap-add CAP_SYS_ADMIN --cap-drop CAP_CHOWN --allow-new-privs", ["a82425fa", "NoNewPrivs:\t0"]),
                ("--seccomp --read-only --cwd /tmp --env A=1", ["Seccomp:\t2", "/ / ro,", "/tmp", "A=1"]),
                ("--net-host --device /dev/full", ["net is the host's"]),
                ("--memory-limit 67108864 --cpus 0.5 --cpu-shares 512", ["67108864"]),
                ("--cpu-quota 20000 --cpu-period 50000 --no-pivot", []),
                ("--rootfs-propagation rslave", []), ("--rootfs-propagation rprivate", []),
            ]
            let cgroups = "--mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro"
            let mount = "--mount type=bind,src=$files,dst=/f,options=rbind:ro"
            let programs: [Comparison.Row] = [
                ("run --rm $image $c no-such", ["executable file not found in $PATH", "ended with 1"]),
                ("run --rm $image $c /no/such", ["stat /no/such: no such file or directory", "ended with 1"]),
                ("run --rm \(mount) $image $c /f/plain", ["permission denied", "ended with 1"]),
                ("run --rm \(mount) $image $c /f/text", ["exec format error", "ended with 1"]),
                ("run --rm $image $c sh -c 'kill -9 $$; exit 7'", ["ended with 7"]),
            ]
            try Containerd.use { containerd in
                try Comparison(containerd).compare(
                    flags.map {
                        (
                            "run --rm \(mount) \(cgroups) \($0.script) $image $c sh /f/facts.sh",
                            $0.says + ["ended with 0"]
                        )
                    }
                        + programs + Comparison.rows(in: "containerd"))
            }
        }
    }
}
