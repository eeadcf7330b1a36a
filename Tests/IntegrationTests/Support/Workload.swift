import Glibc

/// The programs of Tests/Workloads, each named after the kernel object that it holds.
enum Workload {
    static let folder = Runtime.packageFolder + "/Tests/Workloads"

    /// Everything that must survive; a new source file is a new test. `WORKLOADS` in the environment picks some.
    static let supported = names(in: folder)

    /// What a checkpoint refuses for now. To move one to the supported: move its source file up.
    static let unsupported = names(in: folder + "/unsupported").map { "unsupported/" + $0 }

    private static func names(in folder: String) -> [String] {
        let picked = getenv("WORKLOADS").map { String(cString: $0).split(separator: " ").map(String.init) }
        return Files.names(in: folder).filter { $0.hasSuffix(".c") }.map { String($0.dropLast(2)) }
            .filter { picked?.contains($0) != false }
    }

    /// The path of the program, compiled now unless that was done since its sources changed.
    static func compiled(_ name: String) throws(Failure) -> String {
        let program = Runtime.packageFolder + "/.build/workloads/" + name
        try Files.makeFolder(Files.parent(of: program))
        let sources = ["\(folder)/\(name).c", "\(folder)/workload.h", "\(folder)/facts.h"]
        if sources.allSatisfy({ Files.changed($0) < Files.changed(program) }) { return program }
        let unfinished = "\(program).\(getpid())"
        let common = [
            "gcc", "-static", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-I", folder, "-o", unfinished,
        ]
        let own = (remark("compiler", in: name) ?? "").split(separator: " ").map(String.init)
        try Command(common + own + [sources[0]]).run().succeeded()
        try check(rename(unfinished, program), "rename \(unfinished)")
        return program
    }

    /// What follows `key` in a source file's comment `// key: value`.
    static func remark(_ key: String, in name: String) -> String? {
        let prefix = "// \(key): "
        return Files.text(of: "\(folder)/\(name).c")?.split(separator: "\n").first { $0.hasPrefix(prefix) }
            .map { String($0.dropFirst(prefix.count)) }
    }
}

extension Workload {
    /// Gives a bundle what the program's source asks for: `// capabilities: CAP_A CAP_B`, `// seccomp: none`,
    /// `// tmpfs: /point`.
    static func adapt(_ bundle: Bundle, to name: String) throws(Failure) {
        let more = (remark("capabilities", in: name) ?? "").split(separator: " ").map { JSONValue.string(String($0)) }
        let isFiltered = remark("seccomp", in: name) != "none"
        try bundle.edit { config in
            for set in ["bounding", "effective", "permitted"] {
                let granted = config["process"]["capabilities"][set].elements
                config["process"]["capabilities"][set] = .array(granted + more)
            }
            if !isFiltered { config["linux"]["seccomp"] = .null }
            if let point = remark("tmpfs", in: name) {
                let mount = JSONValue.object([
                    "destination": .string(point), "type": .string("tmpfs"), "source": .string("tmpfs"),
                    "options": .array([.string("nosuid"), .string("mode=0775")]),
                ])
                config["mounts"] = .array(config["mounts"].elements + [mount])
            }
        }
    }
}
