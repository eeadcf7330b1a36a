import Testing

extension Integration {
    /// CRIU's configuration files: how users of docker and containerd, which pass no flags, say what may be carried over.
    @Suite(.serialized)
    struct EngineConfigurations {
        private func container(in bed: TestBed) throws -> Container {
            let container = try bed.container(workload: "file_lock")
            container.checkpointFlags = []
            let file = container.bundle.folder + "/engine.conf"
            try container.bundle.edit { $0["annotations"]["org.criu.config"] = .string(file) }
            try container.run()
            try container.waitUntilReady()
            return container
        }

        @Test(
            "the file that org.criu.config names allows what a flag would", .enabled(if: Runtime.canCheckpoint),
            .timeLimit(.minutes(1)))
        func annotated() throws {
            try TestBed.use { bed in
                let container = try container(in: bed)
                try Files.write(
                    "# locks of the database\n  file-locks # all kinds\nsoft-links\n",
                    to: container.bundle.folder + "/engine.conf")
                try container.checkpoint(to: "image")
                let log = Files.text(of: container.bundle.folder + "/dump.log") ?? ""
                #expect(log.contains("engine.conf: line 3 has no effect here"), "\(log)")
                try container.restore(from: "image")
                try container.expectPass("after the restore")
            }
        }

        @Test(
            "a named file that is missing stops the checkpoint", .enabled(if: Runtime.canCheckpoint),
            .timeLimit(.minutes(1)))
        func missing() throws {
            try TestBed.use { bed in
                let container = try container(in: bed)
                let outcome = try container.checkpointCommand(to: "image").run()
                #expect(outcome.status == 1 && outcome.errors.contains("annotation org.criu.config"), "\(outcome)")
                try container.expectPass("after a refused checkpoint")
            }
        }
    }
}
