import Glibc
import Testing

extension Integration {
    /// Checkpoints that build on others.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct Incremental {
        private func running(_ workload: String = "changing_memory", in bed: TestBed) throws(Failure) -> Container {
            let container = try bed.container(workload: workload)
            try container.run()
            try container.waitUntilReady()
            return container
        }

        private func size(of image: String, _ container: Container) throws -> Int {
            let folder = container.imageFolder(image)
            return try Files.names(in: folder).filter { $0.hasPrefix("pages-") }.reduce(0) {
                $0 + (try Files.bytes(of: folder + "/" + $1)).count
            }
        }

        private func figures(_ container: Container) throws -> JSONValue {
            let decoded = try Images.crit("decode", "-i", container.bundle.folder + "/stats-dump").succeeded()
            return try JSONValue(parsing: decoded.output)["entries"].elements.first?["dump"] ?? .null
        }

        private func preDump(_ container: Container, to image: String, on parent: String? = nil) throws {
            let flags = container.checkpointFlags
            defer { container.checkpointFlags = flags }
            container.checkpointFlags = ["--pre-dump"] + (parent.map { ["--parent-path", "../" + $0] } ?? [])
            let pid = try container.pid()
            try container.checkpointCommand(to: image).run().succeeded()
            #expect(try container.status() == "running" && container.pid() == pid)
        }

        private func checkpoint(
            _ container: Container, to image: String, on parent: String, leaveRunning: Bool = false
        ) throws {
            let flags = container.checkpointFlags
            defer { container.checkpointFlags = flags }
            container.checkpointFlags = flags + ["--parent-path", "../" + parent]
            try container.checkpoint(to: image, leaveRunning: leaveRunning)
        }

        @Test("what has not changed is not written again, and all of it comes back", .timeLimit(.minutes(2)))
        func generations() throws {
            try TestBed.use { bed in
                let container = try running(in: bed)
                try container.expectPass("before")
                try preDump(container, to: "first")
                try container.expectPass("after the first")
                for (image, parent) in [("second", "first"), ("third", "second")] {
                    try preDump(container, to: image, on: parent)
                    let told = try figures(container)
                    #expect(told["frozen_time"].integer == 0 && told["pages_skipped_parent"].integer ?? 0 > 6000)
                    try container.expectPass("after the \(image)")
                    // A quarter of the private memory was written meanwhile.
                    let written = try size(of: image, container)
                    #expect((8 << 20..<10 << 20).contains(written), "\(image): \(written)")
                    #expect(Files.link(container.imageFolder(image) + "/parent") == "../" + parent)
                }
                #expect(try size(of: "first", container) > 32 << 20)
                try checkpoint(container, to: "last", on: "third")
                let skipped = try figures(container)["pages_skipped_parent"].integer ?? 0
                #expect(skipped > 6000, "\(skipped)")
                #expect(try size(of: "last", container) < 26 << 20)
                for _ in 1...2 {
                    let early = try container.restoreCommand(from: "third").run()
                    #expect(early.status == 1, "\(early)")
                    let said = Files.text(of: container.bundle.folder + "/out.log") ?? ""
                    #expect(said.contains("a pre-dump has memory alone"), "\(said)")
                    try container.restore(from: "last")
                    try container.expectPass("after the restore")
                    try checkpoint(container, to: "next", on: "last")
                    // Shared memory, too, which the last one has.
                    #expect(try size(of: "next", container) < 14 << 20)
                    try container.restore(from: "next")
                    try container.expectPass("after another generation")
                    try container.checkpoint(to: "last")
                    #expect(!Files.exists(container.imageFolder("last") + "/parent"))
                }
            }
        }

        @Test("a parent that is gone or was changed is named, and nothing is left behind", .timeLimit(.minutes(2)))
        func damage() throws {
            try TestBed.use { bed in
                let container = try running(in: bed)
                try preDump(container, to: "first")
                try container.expectPass("after the first")
                try checkpoint(container, to: "second", on: "first", leaveRunning: true)
                try checkpoint(container, to: "last", on: "second")
                let first = container.imageFolder("first")
                let pages = try Files.bytes(of: first + "/pages-1.img")
                func expectRefusal(_ words: String...) throws {
                    let before = bed.leakCheck.leaks()
                    let outcome = try container.restoreCommand(from: "last").run()
                    let said = Files.text(of: container.bundle.folder + "/out.log") ?? ""
                    #expect(outcome.status == 1 && words.allSatisfy(said.contains), "\(words): \(said)")
                    #expect(bed.leakCheck.leaks() == before)
                    #expect(try bed.runtime.run("state", container.id).status == 1)
                }
                try check(rename(first, first + ".away"), "move")
                try expectRefusal("page 0x", "parent checkpoint ../first (2 of its chain): open first: no such file")
                try check(symlink("second", first), "link")
                try expectRefusal("cannot be its own parent")
                try check(unlink(first), "remove")
                try check(rename(first + ".away", first), "move")
                try Files.write(Array(pages.dropLast(4096)), to: first + "/pages-1.img")
                try expectRefusal("parent checkpoint ../first", "pages-1.img")
                var changed = pages
                for page in stride(from: 0, to: changed.count, by: 4096) { changed[page + 100] ^= 1 }
                try Files.write(changed, to: first + "/pages-1.img")
                try expectRefusal("pagemap-1.img: pages in parent checkpoints are not those that were there")
                try Files.write(pages, to: first + "/pages-1.img")
                try container.restore(from: "last")
                try container.expectPass("with the parents as they were")
            }
        }

        @Test("a parent that cannot be one refuses the checkpoint, and the container goes on", .timeLimit(.minutes(2)))
        func refused() throws {
            try TestBed.use { bed in
                let container = try running("counter", in: bed)
                try preDump(container, to: "first")
                let first = container.imageFolder("first")
                let cases = [
                    (first, "has to be relative"), ("../missing", "parent checkpoint ../missing: open missing"),
                    ("../last", "cannot be its own parent"), ("../../x", "leads out of the directory"),
                    ("..", "leads out of the directory"), ("../rootfs", "has no inventory.img"),
                ]
                try container.checkpoint(to: "last", leaveRunning: true)
                for preDump in [false, true] {
                    for (path, words) in cases {
                        container.checkpointFlags = ["--parent-path", path] + (preDump ? ["--pre-dump"] : [])
                        let outcome = try container.checkpointCommand(to: "last").run()
                        #expect(outcome.status == 1 && outcome.errors.contains(words), "\(path): \(outcome)")
                        try container.expectPass("after \(path)")
                    }
                }
                container.checkpointFlags = []
                #expect(!Files.exists(container.imageFolder("last") + "/parent"))
                try container.checkpoint(to: "image")
                try container.restore(from: "last")
                try container.expectPass("restored from the checkpoint that stayed")
            }
        }

        @Test(
            "a pre-dump takes what a checkpoint needs flags for, and what it refuses", .timeLimit(.minutes(2)),
            arguments: ["tcp_connection", "file_lock", "process_tree", "threads", "droppable_memory", "vfork"])
        func anything(name: String) throws {
            try TestBed.use { bed in
                let container = try running(name, in: bed)
                try preDump(container, to: "first")
                try container.expectPass("after the pre-dump")
                try bed.runtime.run("pause", container.id).succeeded()
                container.checkpointFlags.append("--pre-dump")
                try container.checkpointCommand(to: "paused").run().succeeded()
                container.checkpointFlags.removeLast()
                #expect(try container.status() == "paused")
                try bed.runtime.run("resume", container.id).succeeded()
                try container.expectPass("after another")
                try checkpoint(container, to: "last", on: "first")
                try container.restore(from: "last")
                try container.expectPass("after the restore")
            }
        }
    }
}
