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
                // The new procfs is of a pid namespace of its own; what is masked would be the host's all the same.
                let script = """
                    inside='unshare -U -r -m -n -p -f'
                    $inside id -u
                    for type in proc sysfs; do $inside mount -t $type $type /tmp && echo mounted $type; done
                    """
                let container = try bed.container(.busybox, arguments: ["sh", "-c", script])
                try container.bundle.edit { config in
                    config["linux"]["seccomp"] = .null
                    // Nobody maps root anew without further rights. user_namespaces(7).
                    config["process"]["user"] = ["uid": 1000, "gid": 1000]
                }
                let command = bed.runtime.command(
                    ["run"] + flags + ["--bundle", container.bundle.folder, container.id])
                let outcome = try command.run()
                #expect(outcome.output == "0", "\(outcome)")
            }
        }
    }
}
