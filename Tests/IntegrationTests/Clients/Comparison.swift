import Testing

/// Scripts of a client's commands with Debian's runc and with the runtime under test, under one daemon.
/// What they have to work with is in Tests/Workloads/clients/prelude.sh.
struct Comparison {
    static let isPossible = Runtime.isStasis && Files.exists("/usr/sbin/runc")

    /// What a script says with both, where that is the same on every machine.
    typealias Row = (script: String, says: [String])
    /// Lines that were said, the last of them the exit status.
    typealias Result = (runc: [Substring], tested: [Substring])

    private static let scripts = Workload.folder + "/clients"
    private let files: String
    /// The client's commands, as `NAME=COMMAND`.
    private let commands: (_ runtime: String) -> [String]

    init(_ docker: Docker) throws(Failure) {
        files = docker.folder + "/files"
        commands = { name in
            let runtime = name == "runc" ? "runc" : Docker.runtime
            return [
                "docker=" + docker.command([]).line, "run=" + docker.container(["--runtime", runtime]).line,
            ]
        }
        try fill()
    }

    init(_ containerd: Containerd) throws(Failure) {
        files = containerd.folder + "/files"
        commands = { name in
            let executable = name == "runc" ? "/usr/sbin/runc" : Runtime.executableUnderTest
            return [
                "ctr=" + containerd.command([]).line, "run=" + containerd.run(with: executable).line,
                "image=" + Containerd.image,
            ]
        }
        try fill()
    }

    /// The files that scripts use, some of which are no programs.
    private func fill() throws(Failure) {
        try Files.copy(Self.scripts + "/facts.sh", to: files + "/facts.sh")
        let own = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"].map { "/proc/self/ns/" + $0 }
        try Files.write(own.compactMap(Files.link).joined(separator: "\n"), to: files + "/host_namespaces")
        try Files.write("x", to: files + "/plain")
        try Files.write("\u{7f}x", to: files + "/text", mode: 0o755)
        try Files.write("#!/nope\n", to: files + "/lost", mode: 0o755)
        let profile =
            #"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}"#
        try Files.write(profile, to: files + "/seccomp.json")
    }

    /// - Parameter inFull: whether to compare all that was said; otherwise the exit status.
    func compare(_ rows: [Row], inFull: Bool = true) throws(Failure) {
        var results = try results(of: rows.map(\.script))
        // What clients print of things that happen beside each other has no order: a difference counts that comes twice.
        let doubtful = rows.indices.filter { index in
            let (runc, tested) = results[index]
            return runc.last != tested.last || inFull && !Self.difference(runc, tested).isEmpty
        }
        for (index, second) in zip(doubtful, try self.results(of: doubtful.map { rows[$0].script })) {
            results[index] = second
        }
        for (row, (runc, tested)) in zip(rows, results) {
            #expect(runc.last == tested.last, "\(row.script)")
            if inFull { #expect(Self.difference(runc, tested) == [], "\(row.script)") }
            for text in row.says {
                let isSaid = [runc, tested].allSatisfy { $0.contains { $0.contains(text) } }
                #expect(isSaid, "\(text): \(row.script): \(tested.suffix(3))")
            }
        }
    }

    /// A script in Tests/Workloads/clients, with what its comments say that it says.
    static func row(_ name: String) -> Row {
        let script = "\(scripts)/\(name).sh"
        let lines = (Files.text(of: script) ?? "").split(separator: "\n")
        return (". " + script, lines.filter { $0.hasPrefix("# says: ") }.map { String($0.dropFirst("# says: ".count)) })
    }

    static func rows(in folder: String) -> [Row] {
        Files.names(in: "\(scripts)/\(folder)").map { row("\(folder)/\($0.dropLast(".sh".count))") }
    }

    /// Some scripts at a time beside each other: most of the time they wait.
    private func results(of scripts: [String]) throws(Failure) -> [Result] {
        var results: [Result] = []
        for start in stride(from: 0, to: scripts.count, by: 5) {
            let batch = scripts[start..<min(start + 5, scripts.count)]
            var words: [Command] = []
            for (number, script) in zip(start..., batch) {
                words += ["runc", "tested"].map { command(script, number: number, runtime: $0) }
            }
            let said = try Command.runTogether(words).map { Self.comparable($0.output) }
            for index in stride(from: 0, to: said.count, by: 2) { results.append((said[index], said[index + 1])) }
        }
        return results
    }

    private func command(_ script: String, number: Int, runtime: String) -> Command {
        var command = Command("sh", "-c", ". \(Self.scripts)/prelude.sh\n\(script)\nend $?")
        command.environment += ["c=c\(number)-\(runtime)", "files=" + files] + commands(runtime)
        return command
    }

    /// Without the runtime's name, what is different in each container, a line that docker prints now and then, and what
    /// specs/cli.md lists as different.
    private static func comparable(_ text: String) -> [Substring] {
        text.replacing(/\b(runc|stasis|tested)\b/, with: "RUNTIME")
            .replacing(/\b([0-9a-f]{64}|[0-9a-f]{12}|[A-Z0-9]{26})\b/, with: "ID")
            .replacing(/(snapshots\/|containerd-mount)\d+/, with: "N").replacing(/time="[^"]*"/, with: "time")
            .replacing(/tini \(\d+\)/, with: "tini")
            .replacing(/\x20master:\d+/, with: "")
            .replacing("/sys/fs/cgroup ro,", with: "/sys/fs/cgroup rw,")
            .replacing("drwxrwxrwt 65534 65534 0 0 /dev/mqueue", with: "drwxrwxrwt 0 65534 0 0 /dev/mqueue")
            .split(separator: "\n").filter { !$0.contains("error waiting for container: context canceled") }
    }

    /// Lines that only one of them said.
    private static func difference(_ runc: [Substring], _ tested: [Substring]) -> [String] {
        tested.difference(from: runc).map { change in
            switch change {
            case .remove(_, let line, _): "runc: \(line)"
            case .insert(_, let line, _): "tested: \(line)"
            }
        }
    }
}
