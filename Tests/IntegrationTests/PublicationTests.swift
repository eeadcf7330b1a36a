import Glibc
import Testing

extension Integration {
    /// A new checkpoint takes the place of an older one, whatever happens meanwhile.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct Publications {
        private func running(in bed: TestBed) throws(Failure) -> Container {
            let container = try bed.container(workload: "counter")
            try container.run()
            try container.waitUntilReady()
            return container
        }

        /// The files of the checkpoint in a folder, by what is in them; where its publication was cut off, of the older one.
        private func checkpoint(in folder: String) throws -> [String: [UInt8]] {
            let isWhole = Files.exists(folder + "/inventory.img")
            let place = isWhole ? folder : folder + "/older.stasis"
            #expect(Files.exists(place + "/inventory.img"), "no checkpoint is left: \(Files.names(in: folder))")
            let listed = (Files.text(of: place + "/checksums.stasis") ?? "").split(separator: "\n").compactMap {
                $0.split(separator: " ").last.map(String.init)
            }
            var content: [String: [UInt8]] = [:]
            for name in listed + ["checksums.stasis"] { content[name] = try Files.bytes(of: place + "/" + name) }
            return content
        }

        @Test("files and folders of others stay, and fail nothing", .timeLimit(.minutes(1)))
        func others() throws {
            try TestBed.use { bed in
                let container = try running(in: bed)
                let folder = container.imageFolder("image")
                try Files.makeFolder(folder + "/x.img/inside.stasis")
                try Files.write("mine", to: folder + "/others.img")
                try container.checkpoint(to: "image", leaveRunning: true)
                try container.checkpoint(to: "image", leaveRunning: true)
                try container.checkpoint(to: "image")
                #expect(Files.isFolder(folder + "/x.img/inside.stasis"))
                #expect(Files.text(of: folder + "/others.img") == "mine")
                #expect(!Files.exists(folder + "/older.stasis") && !Files.exists(folder + "/next.stasis"))
                try container.restore(from: "image")
                try container.expectPass("after the restore")
            }
        }

        @Test(
            "a folder where an image has to go: the container runs on, and the older checkpoint is whole",
            .timeLimit(.minutes(1)))
        func occupied() throws {
            try TestBed.use { bed in
                let container = try running(in: bed)
                let folder = container.imageFolder("image")
                try container.checkpoint(to: "image", leaveRunning: true)
                let before = try checkpoint(in: folder)
                let names = Files.names(in: folder).count
                let other = try bed.container(workload: "threads")
                try other.run()
                try other.waitUntilReady()
                let core = try other.checkpointedNames().subtracting(before.keys).sorted().first ?? "core-2.img"
                try Files.makeFolder(folder + "/" + core)
                let command = ["checkpoint", "--image-path", folder, "--work-path", other.bundle.folder, other.id]
                let outcome = try bed.runtime.command(command).run()
                #expect(outcome.status == 1 && outcome.isOneComplaint && outcome.errors.contains(core), "\(outcome)")
                try other.expectPass("after the checkpoint that failed")
                #expect(try checkpoint(in: folder) == before && Files.names(in: folder).count == names + 1)
                try container.checkpoint(to: "elsewhere")
                try container.restore(from: "image")
                try container.expectPass("restored from the older checkpoint")
            }
        }

        @Test(
            "the engine is killed, or the disk fails, at every step", .timeLimit(.minutes(5)),
            arguments: ["kill", "28", "5"])
        func faults(fault: String) throws {
            try TestBed.use { bed in
                let container = try running(in: bed)
                let folder = container.imageFolder("image")
                let tool = try Workload.compiled("hostile/at_call")
                var step = 0
                while true {
                    step += fault == "kill" ? 3 : 7
                    try container.checkpoint(to: "image", leaveRunning: true)
                    let before = try checkpoint(in: folder)
                    let pid = try container.pid()
                    var command = container.checkpointCommand(to: "image")
                    command.words = [tool, String(step), fault] + command.words
                    let outcome = try command.run()
                    let after = try checkpoint(in: folder)
                    let isDone = outcome.status == 0 || outcome.status == 99
                    let hasEnded = until(seconds: isDone ? 10 : 0) { !LeakCheck.lives(pid) }
                    if after == before {
                        #expect(!hasEnded, "step \(step): the container is lost: \(outcome)")
                    } else {
                        // Complete and the newer one: all its own files.
                        #expect(after["checksums.stasis"] != before["checksums.stasis"], "step \(step)")
                        #expect(after["pages-1.img"] != before["pages-1.img"], "step \(step)")
                    }
                    #expect(hasEnded == isDone || after != before, "step \(step): \(outcome)")
                    if !hasEnded { try container.expectPass("step \(step)") }
                    try bed.runtime.run("delete", "--force", container.id).succeeded()
                    // Whatever is there can be restored.
                    try container.restore(from: "image")
                    try container.expectPass("restored after step \(step)")
                    if outcome.status == 99 { break }
                }
                #expect(step > 20)
            }
        }

        @Test("figures that cannot be written fail nothing", .timeLimit(.minutes(1)))
        func figures() throws {
            try TestBed.use { bed in
                let container = try running(in: bed)
                for name in ["stats-dump", "stats-restore"] {
                    try Files.makeFolder(container.bundle.folder + "/" + name)
                }
                let outcome = try container.checkpointCommand(to: "image").run()
                #expect(outcome.status == 0 && outcome.errors.contains("stats-dump"), "\(outcome)")
                let restored = try container.restoreCommand(from: "image").run()
                #expect(restored.status == 0, "\(restored)")
                try container.expectPass("after the restore")
            }
        }
    }
}

extension Container {
    /// The names of a checkpoint's images.
    fileprivate func checkpointedNames() throws -> Set<String> {
        try checkpoint(to: "names", leaveRunning: true)
        return Set(Files.names(in: imageFolder("names")))
    }
}
