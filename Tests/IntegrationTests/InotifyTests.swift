import Testing

extension Integration {
    /// What a workload of inotify cannot have by itself.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct Inotify {
        /// Files of overlay are not opened by the handles that the kernel tells of them.
        @Test("watches on overlay come back by path", .timeLimit(.minutes(1)))
        func overlay() throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: "inotify")
                let layers = container.bundle.folder + "/layers"
                for name in ["lower/watched/deep", "upper", "work"] { try Files.makeFolder("\(layers)/\(name)") }
                try Files.write("from below", to: "\(layers)/lower/watched/deep/file")
                try container.bundle.addMount(
                    "/state/layered", type: "overlay", source: "overlay",
                    ["lowerdir=\(layers)/lower", "upperdir=\(layers)/upper", "workdir=\(layers)/work"])
                try Files.makeFolder(container.bundle.rootfs + "/state/layered")
                try container.run()
                try container.waitUntilReady()
                try container.expectPass("before the checkpoint")
                for cycle in 1...2 {
                    try container.checkpoint(to: "image\(cycle)")
                    try container.restore(from: "image\(cycle)")
                    try container.expectPass("after restore \(cycle)")
                }
            }
        }
    }
}
