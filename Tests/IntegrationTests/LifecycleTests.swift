import Glibc
import Testing

extension Integration {
    /// What every OCI runtime does: runc passes this suite too (`STASIS=/usr/sbin/runc`).
    @Suite(.serialized)
    struct Lifecycle {
        @Test("create, start, state, kill, delete", .timeLimit(.minutes(1)))
        func states() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try bed.runtime.run("create", "--bundle", container.bundle.folder, container.id).succeeded()
                defer { _ = try? bed.runtime.run("delete", "--force", container.id) }
                #expect(try container.status() == "created")
                try bed.runtime.run("start", container.id).succeeded()
                let state = try container.state()
                #expect(state["status"] == "running")
                #expect(state["id"].string == container.id)
                #expect(state["bundle"].string == container.bundle.folder)
                #expect(LeakCheck.lives(try container.pid()))
                try bed.runtime.run("kill", container.id, "KILL").succeeded()
                #expect(until(seconds: 10) { (try? container.status()) == "stopped" })
                try bed.runtime.run("delete", container.id).succeeded()
                let gone = try bed.runtime.run("state", container.id)
                #expect(gone.status == 1 && gone.errors.contains("does not exist"))
            }
        }

        @Test(
            "an attached run ends as its program ends", .timeLimit(.minutes(1)),
            arguments: [("exit 0", Int32(0)), ("exit 7", 7), ("kill -TERM $$; sleep 5", 143)])
        func exitCodes(script: String, status: Int32) throws {
            try TestBed.use { bed in
                let trap = "trap 'trap - TERM; exit 143' TERM; "  // a namespace's first process ignores the default
                let container = try bed.container(.busybox, arguments: ["sh", "-c", trap + script])
                let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                #expect(outcome.status == status, "\(outcome)")
            }
        }

        @Test("standard input, output and error are the caller's", .timeLimit(.minutes(1)))
        func standardStreams() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sh", "-c", "cat; echo complaint >&2"])
                let input = bed.folder + "/input"
                try Files.write("from outside\n", to: input)
                var command = bed.runtime.command(["run", "--bundle", container.bundle.folder, container.id])
                command.input = input
                let outcome = try command.run().succeeded()
                #expect(outcome.output == "from outside")
                #expect(outcome.errors == "complaint")
            }
        }

        @Test("exec joins the container and returns the command's status", .timeLimit(.minutes(1)))
        func exec() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.run()
                let outcome = try container.exec("sh", "-c", "hostname; readlink /proc/1/exe; exit 9")
                #expect(outcome.status == 9, "\(outcome)")
                #expect(outcome.output == "stasis-test\n/bin/busybox")
                let missing = try container.exec("/no/such/program")
                #expect(missing.status != 0 && missing.errors.contains("no such file or directory"), "\(missing)")
            }
        }

        @Test("pause stops every process, resume lets it go on", .timeLimit(.minutes(1)))
        func pause() throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: "counter")
                try container.run()
                try container.waitUntilReady()
                try bed.runtime.run("pause", container.id).succeeded()
                #expect(try container.status() == "paused")
                let count = Files.text(of: container.stateInRootfs + "/counter")
                usleep(200_000)
                #expect(Files.text(of: container.stateInRootfs + "/counter") == count)
                try bed.runtime.run("resume", container.id).succeeded()
                #expect(try container.status() == "running")
                try container.expectPass("after resume")
            }
        }

        @Test("list and ps show the container", .timeLimit(.minutes(1)))
        func listings() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try container.run()
                let list = try JSONValue(
                    parsing: try bed.runtime.run("list", "--format", "json").succeeded().output)
                #expect(list.elements.map { $0["id"].string } == [container.id])
                let processes = try JSONValue(
                    parsing: try bed.runtime.run("ps", "--format", "json", container.id).succeeded().output)
                #expect(processes.elements.compactMap(\.integer) == [Int(try container.pid())])
            }
        }

        @Test(
            "a bundle that cannot run is one error and leaves nothing", .timeLimit(.minutes(1)),
            arguments: ["no program", "no rootfs", "no config"])
        func refusedBundles(defect: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["/no/such/program"])
                if defect == "no rootfs" { try container.bundle.edit { $0["root"]["path"] = "elsewhere" } }
                if defect == "no config" {
                    try check(unlink(container.bundle.configPath), "remove \(container.bundle.configPath)")
                }
                let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                #expect(outcome.status == 1 && !outcome.errors.isEmpty, "\(outcome)")
                try bed.expectNoLeaks()
            }
        }

        @Test("too little memory for the set-up is said", .enabled(if: Runtime.isStasis), .timeLimit(.minutes(1)))
        func tooLittleMemory() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["true"])
                try container.bundle.edit { $0["linux"]["resources"] = ["memory": ["limit": 4096]] }
                let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                #expect(outcome.status == 1 && outcome.errors.contains("memory limit too low?"), "\(outcome)")
                try bed.expectNoLeaks()
            }
        }

        @Test("the default bundle runs as it is", .timeLimit(.minutes(1)))
        func defaultBundle() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: [])
                var spec = bed.runtime.command(["spec"])
                try check(unlink(container.bundle.configPath), "remove \(container.bundle.configPath)")
                spec.folder = container.bundle.folder
                try spec.run().succeeded()
                try container.bundle.edit { config in  // its shell wants a terminal, which a test has not
                    config["process"]["terminal"] = false
                    config["process"]["args"] = ["id", "-u"]
                }
                #expect(
                    try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id).succeeded().output
                        == "0")
            }
        }
    }
}
