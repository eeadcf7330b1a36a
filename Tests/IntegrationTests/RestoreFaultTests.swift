import Glibc
import Testing

extension Integration {
    /// A restore that fails says in one line why, and leaves nothing: no process, mount, cgroup or state.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct RestoreFaults {
        enum Defect: String, CaseIterable {
            case missing, empty, halved, flipped, lengthened

            func apply(to bytes: [UInt8]) -> [UInt8]? {
                switch self {
                case .missing: return nil
                case .empty: return []
                case .halved: return Array(bytes[..<(bytes.count / 2)])
                case .flipped:
                    var changed = bytes
                    changed[bytes.count / 2] ^= 0x10
                    return changed
                case .lengthened: return bytes + [0x2a]
                }
            }
        }

        private func checkpointed(_ content: String, in bed: TestBed) throws(Failure) -> Container {
            let container = try bed.container(workload: content)
            try container.run()
            try container.waitUntilReady()
            try container.checkpoint(to: "image")
            return container
        }

        /// - Parameter says: what the complaint contains.
        private func expectRefusal(
            _ container: Container, in bed: TestBed, from image: String, _ what: String, says: String = ""
        ) throws {
            var command = container.restoreCommand(from: image)
            command.output = nil
            let outcome = try command.run()
            #expect(outcome.status == 1 && outcome.isOneComplaint, "\(what): \(outcome)")
            #expect(says.isEmpty || outcome.errors.contains(says), "\(what): \(outcome)")
            if outcome.status == 0 {
                try bed.runtime.run("delete", "--force", container.id).succeeded()
            }
            #expect(until(seconds: 5) { bed.leakCheck.leaks().isEmpty }, "\(what) left \(bed.leakCheck.leaks())")
        }

        @Test("an image file is damaged", .timeLimit(.minutes(4)), arguments: Defect.allCases)
        func damaged(defect: Defect) throws {
            try TestBed.use { bed in
                let container = try checkpointed("unix_socketpair", in: bed)
                let image = container.imageFolder("image")
                for name in Files.names(in: image) where name.hasSuffix(".img") {
                    let path = image + "/" + name
                    let whole = try Files.bytes(of: path)
                    if whole.isEmpty { continue }
                    try check(unlink(path), "remove \(path)")
                    if let damaged = defect.apply(to: whole) { try Files.write(damaged, to: path, mode: 0o600) }
                    try expectRefusal(container, in: bed, from: "image", "\(name) \(defect.rawValue)")
                    try Files.write(whole, to: path, mode: 0o600)
                }
                try container.restore(from: "image")
                try container.expectPass("the image as it was")
            }
        }

        @Test("there is no image", .timeLimit(.minutes(1)), arguments: ["nowhere", "empty", "file"])
        func absent(kind: String) throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: "counter")
                if kind == "empty" { try Files.makeFolder(container.imageFolder(kind)) }
                if kind == "file" { try Files.write("", to: container.imageFolder(kind)) }
                try expectRefusal(container, in: bed, from: kind, kind)
            }
        }

        enum WrongBundle: String, CaseIterable {
            case noConfig, noRootfs, otherProgram, otherProgramOfSameSize, noPidNamespace, noFile
        }

        @Test("the bundle is another", .timeLimit(.minutes(1)), arguments: WrongBundle.allCases)
        func wrongBundle(kind: WrongBundle) throws {
            try TestBed.use { bed in
                let container = try checkpointed("descriptors", in: bed)
                let bundle = container.bundle
                switch kind {
                case .noConfig: try check(unlink(bundle.configPath), "remove the configuration")
                case .noRootfs: try bundle.edit { $0["root"]["path"] = "elsewhere" }
                case .otherProgram: try Files.copy("/bin/busybox", to: bundle.rootfs + "/workload")
                case .otherProgramOfSameSize:
                    // Another build of the program: the same length, and a build id that is not the dumped one's.
                    var bytes = try Files.bytes(of: bundle.rootfs + "/workload")
                    let name = Array("GNU\0".utf8)
                    let ids = bytes.indices.dropLast(24).filter { Array(bytes[$0..<$0 + 4]) == name }
                    for id in ids { bytes[id + 4] ^= 0xff }
                    try Files.write(bytes, to: bundle.rootfs + "/workload", mode: 0o755)
                case .noPidNamespace:
                    try bundle.edit { config in
                        let namespaces = config["linux"]["namespaces"].elements
                        config["linux"]["namespaces"] = .array(namespaces.filter { $0["type"] != "pid" })
                    }
                case .noFile: try check(unlink(bundle.rootfs + "/state/log"), "remove /state/log")
                }
                try expectRefusal(container, in: bed, from: "image", kind.rawValue)
            }
        }

        enum Narrow: String, CaseIterable {
            case processes, numbers
        }

        @Test("the pid namespace is too small", .timeLimit(.minutes(1)), arguments: Narrow.allCases)
        func smallPidNamespace(kind: Narrow) throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: "process_tree")
                let burn = "i=0; while [ $i -lt 400 ]; do (:); i=$((i + 1)); done; exec /workload"
                try Files.copy("/bin/busybox", to: container.bundle.rootfs + "/bin/sh")
                try container.bundle.edit { $0["process"]["args"] = ["/bin/sh", "-c", .string(burn)] }
                try container.run()
                try container.waitUntilReady()
                try container.expectPass("with high process ids")
                try container.checkpoint(to: "image")
                let config = Files.text(of: container.bundle.configPath) ?? ""
                try container.bundle.edit { config in
                    switch kind {
                    case .processes: config["linux"]["resources"]["pids"]["limit"] = 5
                    case .numbers: config["linux"]["sysctl"]["kernel.pid_max"] = "350"
                    }
                }
                try expectRefusal(container, in: bed, from: "image", kind.rawValue)
                try Files.write(config, to: container.bundle.configPath)
                try container.restore(from: "image")
                try container.expectPass("with room for all")
            }
        }

        @Test("the memory limit is too low for what the container held", .timeLimit(.minutes(1)))
        func lowMemoryLimit() throws {
            try TestBed.use { bed in
                let container = try checkpointed("memory", in: bed)
                try container.bundle.edit { $0["linux"]["resources"]["memory"]["limit"] = 1_500_000 }
                try expectRefusal(container, in: bed, from: "image", "memory", says: "its memory limit is too low")
            }
        }

        /// Moves the youngest process of a container that is being restored into a cgroup below the container's.
        private func restoreWhileSomebodyMoves(_ container: Container, in cgroup: String) throws -> Outcome {
            var command = container.restoreCommand(from: "image")
            command.output = nil
            var running = try command.start()
            while !running.hasEnded() {
                let members = (Files.text(of: cgroup + "/cgroup.procs") ?? "").split(separator: "\n")
                guard members.count > 2, let youngest = members.last else { continue }
                // The restore may have ended, or the process.
                mkdir(cgroup + "/aside", 0o755)
                try? Files.write(String(youngest), to: cgroup + "/aside/cgroup.procs")
                break
            }
            let hasEnded = running.wait(seconds: 20)
            #expect(hasEnded)
            return running.outcome()
        }

        @Test("somebody moves a process into another cgroup meanwhile", .timeLimit(.minutes(1)))
        func moved() throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: "process_tree")
                try container.run()
                try container.waitUntilReady()
                // A new cgroup of v1's cpuset takes nobody.
                let own = bed.leakCheck.cgroups().filter { !$0.contains("/cpuset/") }
                let cgroup = try #require(own.first { Files.text(of: $0 + "/cgroup.procs") != "" })
                try container.checkpoint(to: "image")
                var complaint = ""
                // Not every move comes between the start of the restore and its last look.
                for _ in 0..<50 where complaint.isEmpty {
                    let outcome = try restoreWhileSomebodyMoves(container, in: cgroup)
                    complaint = outcome.errors
                    if outcome.status == 0 { try bed.runtime.run("delete", "--force", container.id).succeeded() }
                    #expect(until(seconds: 5) { bed.leakCheck.leaks().isEmpty }, "left \(bed.leakCheck.leaks())")
                }
                #expect(complaint.contains("has other cgroups than its container"), "\(complaint)")
                try container.restore(from: "image")
                try container.expectPass("left alone")
            }
        }

        @Test("a process id is taken in the pid namespace that it joins", .timeLimit(.minutes(1)))
        func takenID() throws {
            try TestBed.use { bed in
                let host = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try host.run()
                let container = try bed.container(workload: "counter")
                let joined: JSONValue = ["type": "pid", "path": .string("/proc/\(try host.pid())/ns/pid")]
                try container.bundle.edit { config in
                    let others = config["linux"]["namespaces"].elements.filter { $0["type"] != "pid" }
                    config["linux"]["namespaces"] = .array(others + [joined])
                }
                try container.run()
                try container.waitUntilReady()
                try container.checkpoint(to: "image", leaveRunning: true)
                let copy = bed.add(container.bundle, id: container.id + "-copy")
                var command = copy.restoreCommand(from: "image")
                command.output = nil
                let outcome = try command.run()
                #expect(outcome.status == 1 && outcome.isOneComplaint, "\(outcome)")
                #expect(outcome.errors.contains("with process id"), "\(outcome)")
                try container.expectPass("after the refused restore")
            }
        }

        @Test("a container of that name runs already", .timeLimit(.minutes(1)))
        func twice() throws {
            try TestBed.use { bed in
                let container = try bed.container(workload: "counter")
                try container.run()
                try container.waitUntilReady()
                try container.checkpoint(to: "image", leaveRunning: true)
                var command = container.restoreCommand(from: "image")
                command.output = nil
                let outcome = try command.run()
                #expect(outcome.status == 1 && outcome.isOneComplaint, "\(outcome)")
                #expect(try container.status() == "running")
                try container.expectPass("after the refused restore")
            }
        }
    }
}
