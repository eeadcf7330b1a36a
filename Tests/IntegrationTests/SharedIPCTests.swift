import Testing

extension Integration {
    /// System V objects in an IPC namespace that others may use, too.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct SharedIPC {
        @Test(
            "what is in a namespace that is joined is refused by name", .timeLimit(.minutes(1)),
            arguments: [
                "system_v_segment": "shared memory segment", "system_v_semaphores": "semaphore set",
                "system_v_messages": "message queue",
            ])
        func joined(workload: String, name: String) throws {
            try TestBed.use { bed in
                var holder = try Command("unshare", "-i", "sleep", "100").start()
                defer { holder.kill() }
                let file = "/proc/\(holder.pid)/ns/ipc"
                #expect(until(seconds: 10) { Files.link(file) != Files.link("/proc/self/ns/ipc") })
                let container = try bed.container(workload: workload)
                try container.bundle.edit { config in
                    let others = config["linux"]["namespaces"].elements.filter { $0["type"] != "ipc" }
                    config["linux"]["namespaces"] = .array(others + [["type": "ipc", "path": .string(file)]])
                    config["linux"]["sysctl"] = .null
                }
                try container.run()
                try container.waitUntilReady()
                let outcome = try container.checkpointCommand(to: "image").run()
                #expect(outcome.status == 1 && outcome.errors.contains("System V \(name)"), "\(outcome)")
                #expect(outcome.errors.contains("shares its IPC namespace"), "\(outcome)")
                try container.expectPass("after a refused checkpoint")
            }
        }
    }
}
