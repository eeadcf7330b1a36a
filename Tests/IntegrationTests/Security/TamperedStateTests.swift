import Glibc
import Testing

extension Integration {
    /// A `state.json` that is not what the runtime wrote. No command waits for it, or kills or removes what is another's.
    @Suite(.serialized, .enabled(if: Runtime.isStasis))
    struct TamperedStates {
        private func running(_ bed: TestBed) throws(Failure) -> Container {
            let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
            try container.run()
            return container
        }

        private func path(_ container: Container) -> String {
            "\(container.runtime.stateFolder)/\(container.id)/state.json"
        }

        private func edit(_ container: Container, _ change: (inout JSONValue) -> Void) throws(Failure) {
            var state = try JSONValue(parsing: Files.text(of: path(container)) ?? "")
            change(&state)
            try Files.write(try state.text(), to: path(container))
        }

        /// Only its state goes: nobody can tell any more what is the container's.
        private func expectRefusals(_ container: Container, beside other: Container, _ occasion: String) throws {
            let pid = try other.pid()
            let runtime = container.runtime
            let list = try runtime.run("list", "--quiet", seconds: 20)
            #expect(list.status == 0 && list.output == other.id, "\(occasion): \(list)")
            #expect(list.errors.contains("load container \(container.id)"), "\(occasion): \(list)")
            for words in [
                ["state"], ["kill"], ["kill", "--all"], ["delete"], ["pause"], ["resume"], ["start"], ["ps"],
                ["exec", "--detach"], ["checkpoint", "--image-path", container.imageFolder("image")],
            ] {
                let more = words[0] == "exec" ? ["true"] : []
                let outcome = try runtime.command(words + [container.id] + more).run(seconds: 20)
                #expect(outcome.status != 0 && outcome.isOneComplaint, "\(occasion): \(outcome)")
            }
            let outcome = try runtime.run("delete", "--force", container.id, seconds: 20)
            #expect(
                outcome.status == 1 && outcome.errors.contains("only its state is removed"), "\(occasion): \(outcome)")
            #expect(Files.names(in: runtime.stateFolder) == [other.id], "\(occasion)")
            #expect(try runtime.run("delete", "--force", container.id).status == 0, "\(occasion)")
            #expect(try other.pid() == pid && other.status() == "running", "\(occasion)")
        }

        enum Damage: String, CaseIterable {
            case garbage, cut, empty, directory, link, pipe, device, otherId, wayOut, noCgroup, hugeNumber
        }

        private func inflict(
            _ damage: Damage, on container: Container, _ text: String, _ kept: String, _ other: String
        ) throws(Failure) {
            let path = path(container)
            switch damage {
            case .otherId: try edit(container) { $0["id"] = .string("../run/\(other)") }
            case .wayOut, .noCgroup:
                // An empty directory is what a runtime that believed this would remove. Nothing of the machine's is named
                // here, whose processes it would kill.
                let stray = (damage == .wayOut ? "/sys/fs/cgroup/../../.." : "") + Files.parent(of: kept) + "/empty"
                try edit(container) { $0["cgroups"]["paths"]["pids"] = .string(stray) }
            case .hugeNumber: try edit(container) { $0["initPid"] = 99_999_999_999 }
            default: try check(unlink(path), "unlink \(path)")
            }
            switch damage {
            case .garbage: try Files.write("garbage", to: path)
            case .cut: try Files.write(String(text.dropLast(text.count / 2)), to: path)
            case .empty: try Files.write("", to: path)
            case .directory: try Files.makeFolder(path + "/with/more")
            case .link: try check(symlink(kept, path), "link \(path)")
            case .pipe: try check(mkfifo(path, 0o600), "make \(path)")
            case .device: try check(mknod(path, S_IFCHR | 0o600, makedev(1, 5)), "make \(path)")
            default: break
            }
        }

        @Test("one that cannot be read", .timeLimit(.minutes(2)), arguments: Damage.allCases)
        func unreadable(damage: Damage) throws {
            try TestBed.use { bed in
                let other = try running(bed)
                let container = try running(bed)
                let pid = try container.pid()
                let text = Files.text(of: path(container)) ?? ""
                let kept = bed.folder + "/kept"
                try Files.write(text, to: kept)
                try Files.makeFolder(bed.folder + "/empty")
                try inflict(damage, on: container, text, kept, other.id)
                try expectRefusals(container, beside: other, damage.rawValue)
                #expect(Files.text(of: kept) == text && Files.isFolder(bed.folder + "/empty"))
                #expect(LeakCheck.lives(pid), "it was killed by a state that nobody could read")
                try other.delete()
                bed.leakCheck.sweep()  // the container is nobody's now
            }
        }

        enum Stranger: String, CaseIterable {
            case number, startTime, process, container
        }

        @Test("one that names another process", .timeLimit(.minutes(1)), arguments: Stranger.allCases)
        func otherProcess(stranger: Stranger) throws {
            try TestBed.use { bed in
                let other = try running(bed)
                let container = try running(bed)
                var victim = try Command("sleep", "1000").start()
                defer { victim.kill() }
                let pid = stranger == .container ? try other.pid() : victim.pid
                let own = try container.pid()
                try edit(container) { state in
                    if stranger != .startTime { state["initPid"] = .integer(Int(pid)) }
                    if stranger != .number { state["initStartTime"] = .integer(startTime(pid)) }
                }
                let runtime = bed.runtime
                if stranger != .container { #expect(try container.status() == "stopped") }
                for words in [
                    ["kill", container.id, "KILL"], ["exec", container.id, "true"], ["pause", container.id],
                ]
                where stranger != .container || words[0] != "exec" {
                    let outcome = try runtime.command(words).run(seconds: 20)
                    #expect(outcome.status != 0 && outcome.isOneComplaint, "\(outcome)")
                }
                // Its own are found by the cgroup.
                try runtime.run("delete", "--force", container.id, seconds: 20).succeeded()
                #expect(until(seconds: 10) { !LeakCheck.lives(own) })
                let isSpared = !victim.hasEnded()
                #expect(isSpared)
                #expect(try other.status() == "running")
            }
        }

        private func startTime(_ pid: pid_t) -> Int {
            let fields = Files.text(of: "/proc/\(pid)/stat")?.split(separator: ")").last?.split(separator: " ") ?? []
            return fields.count > 19 ? Int(fields[19]) ?? 0 : 0
        }

        @Test("one that names another container's cgroup", .timeLimit(.minutes(1)))
        func otherCgroup() throws {
            try TestBed.use { bed in
                let other = try running(bed)
                let container = try running(bed)
                let own = try container.pid()
                let theirs = try JSONValue(parsing: Files.text(of: path(other)) ?? "")["cgroups"]
                try edit(container) { $0["cgroups"] = theirs }
                for words in [["kill", "--all", container.id, "KILL"], ["pause", container.id]] {
                    let outcome = try bed.runtime.command(words).run(seconds: 20)
                    #expect(outcome.status == 1 && outcome.errors.contains("is container \(other.id)'s"), "\(outcome)")
                }
                let deleted = try bed.runtime.run("delete", "--force", container.id, seconds: 20).succeeded()
                #expect(deleted.errors.contains("it is left alone"), "\(deleted)")
                #expect(until(seconds: 10) { !LeakCheck.lives(own) }, "its own process is known by number and start")
                #expect(try other.status() == "running")
                try other.exec("true").succeeded()
                try other.delete()
                bed.leakCheck.sweep()  // the cgroup that nobody knew
            }
        }

        @Test("a stopped container's cgroup is another's by now", .timeLimit(.minutes(1)))
        func successor() throws {
            try TestBed.use { bed in
                let old = try bed.container(.busybox, arguments: ["true"])
                let new = try bed.container(.busybox, arguments: ["sleep", "1000"])
                for container in [old, new] {
                    try container.bundle.edit { $0["linux"]["cgroupsPath"] = .string("/\(bed.token)-shared") }
                }
                try old.run()
                #expect(until(seconds: 10) { (try? old.status()) == "stopped" })
                try new.run()
                let outcome = try bed.runtime.run("kill", "--all", old.id, "KILL")
                #expect(outcome.status == 1 && outcome.isOneComplaint, "\(outcome)")
                try old.delete()
                #expect(try new.status() == "running")
                try new.exec("true").succeeded()
            }
        }
    }
}
