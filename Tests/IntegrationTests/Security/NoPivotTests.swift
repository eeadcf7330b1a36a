import Testing

extension Integration {
    /// `--no-pivot`: the host's root stays in the container's mount namespace, out of reach. What is mounted there counts.
    @Suite(.serialized, .enabled(if: Runtime.isStasis))
    struct NoPivot {
        @Test(
            "a user namespace inside cannot mount a procfs or sysfs without the container's masks",
            .timeLimit(.minutes(1)),
            arguments: [[], ["--no-pivot"]])
        func kernelFilesystems(flags: [String]) throws {
            try TestBed.use { bed in
                // The new procfs would be of a pid namespace of its own, whose masked files are the host's all the same.
                let script = """
                    for type in proc sysfs; do
                        unshare -U -r -m -n -p -f mount -t $type $type /tmp 2>/state/error && echo mounted $type
                        grep -q 'Operation not permitted' /state/error || cat /state/error
                    done
                    mount | grep -c 'on /proc type proc'
                    """
                let container = try bed.container(.busybox, arguments: ["sh", "-c", script])
                try container.bundle.edit { $0["linux"]["seccomp"] = .null }
                let command = bed.runtime.command(
                    ["run"] + flags + ["--bundle", container.bundle.folder, container.id])
                let outcome = try command.run()
                #expect(outcome.output == "1", "\(outcome)")
            }
        }
    }
}
