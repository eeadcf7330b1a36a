import Testing

extension Integration {
    /// Containers with a terminal, through checkpoint and restore.
    @Suite(.serialized)
    struct Terminals {
        private func container(in bed: TestBed) throws -> Container {
            let container = try bed.container(workload: "terminal/console")
            try container.bundle.edit { config in config["process"]["terminal"] = .bool(true) }
            return container
        }

        @Test(
            "a terminal handed to a supervisor survives two restores and goes on after --leave-running",
            .enabled(if: Runtime.canCheckpoint), .timeLimit(.minutes(1)), arguments: [false, true])
        func supervised(inUserNamespace: Bool) throws {
            try TestBed.use { bed in
                let container = try container(in: bed)
                if inUserNamespace { try container.bundle.enterUserNamespace() }
                let socket = container.bundle.folder + "/console"
                let bundle = ["--bundle", container.bundle.folder]
                let detached = ["--detach", "--console-socket", socket]
                var words = ["/usr/bin/python3", Workload.folder + "/terminal/supervisor.py", socket]
                words.append(container.stateInRootfs + "/verdict")
                words += bed.runtime.command(["kill", container.id, "USR1"]).words
                words += ["--"] + bed.runtime.command(["run"] + bundle + detached + [container.id]).words
                words += ["--", "+"] + container.checkpointCommand(to: "image0", leaveRunning: true).words
                for cycle in 1...2 {
                    words += ["--", "+"] + container.checkpointCommand(to: "image\(cycle)").words
                    let image = ["--image-path", container.imageFolder("image\(cycle)")]
                    words += ["--"]
                    words += bed.runtime.command(["restore"] + bundle + detached + image + [container.id]).words
                }
                let outcome = try Command(words).run(seconds: 50)
                _ = try bed.runtime.run("delete", "--force", container.id)
                #expect(outcome.status == 0 && outcome.output.hasPrefix("PASS"), "\(outcome)")
                for name in ["tty-info.img", "files.img"] {
                    let decoded = try Images.crit("decode", "-i", container.imageFolder("image2") + "/" + name)
                    #expect(decoded.status == 0 && decoded.output.contains("TTY"), "\(decoded)")
                }
            }
        }
    }
}
