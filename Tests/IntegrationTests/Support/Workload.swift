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
            .filter { picked?.contains($0) != false && canRun(folder + "/" + $0 + ".c") }
    }

    /// Whether this machine has what the program cannot do without: `// needs kernel: 6.10`, `// needs processor: ospke`.
    private static func canRun(_ source: String) -> Bool {
        let lines = (Files.text(of: source) ?? "").split(separator: "\n")
        func needed(_ what: String) -> Substring? {
            let prefix = "// needs \(what): "
            return lines.first { $0.hasPrefix(prefix) }?.dropFirst(prefix.count)
        }
        if let flag = needed("processor") {
            let flags = Files.text(of: "/proc/cpuinfo")?.split(separator: "\n").first { $0.hasPrefix("flags") }
            if flags?.split(separator: " ").contains(flag) != true { return false }
        }
        guard let kernel = needed("kernel") else { return true }
        func number(_ version: Substring) -> [Int] { version.split { !$0.isNumber }.prefix(2).compactMap { Int($0) } }
        let here = Files.text(of: "/proc/sys/kernel/osrelease") ?? ""
        return !number(here[...]).lexicographicallyPrecedes(number(kernel))
    }

    /// Whose C library a program runs on.
    enum Library: CaseIterable {
        /// Linked into it.
        case ownMachine
        /// Debian forky's, as `hack/test` fetches it: guard pages below each thread's stack, random numbers by the vdso.
        case forky

        static let forkyFolder = Runtime.packageFolder + "/.build/forky"
    }

    /// The path of the program, compiled now unless that was done since its sources changed.
    static func compiled(_ name: String, for library: Library = .ownMachine) throws(Failure) -> String {
        let folderName = library == .forky ? "/.build/workloads-dynamic/" : "/.build/workloads/"
        let program = Runtime.packageFolder + folderName + name
        try Files.makeFolder(Files.parent(of: program))
        let headers = Files.names(in: folder).filter { $0.hasSuffix(".h") }
        let sources = ["\(folder)/\(name).c"] + headers.map { "\(folder)/\($0)" }
        if sources.allSatisfy({ Files.changed($0) < Files.changed(program) }) { return program }
        let unfinished = "\(program).\(getpid())"
        let linking = library == .forky ? "-pie" : "-static"
        let common = [
            "gcc", linking, "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-I", folder, "-o", unfinished,
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
    /// `// tmpfs: /point`, `// sysctl: net.x=value`, `// cgroups: writable`.
    static func adapt(_ bundle: Bundle, to name: String) throws(Failure) {
        let more = (remark("capabilities", in: name) ?? "").split(separator: " ").map { JSONValue.string(String($0)) }
        let isFiltered = remark("seccomp", in: name) != "none"
        try bundle.edit { config in
            for set in ["bounding", "effective", "permitted"] {
                let granted = config["process"]["capabilities"][set].elements
                config["process"]["capabilities"][set] = .array(granted + more)
            }
            if !isFiltered { config["linux"]["seccomp"] = .null }
            if let setting = remark("sysctl", in: name)?.split(separator: "=", maxSplits: 1), setting.count == 2 {
                config["linux"]["sysctl"][String(setting[0])] = .string(String(setting[1]))
            }
            if remark("cgroups", in: name) == "writable" {
                config["mounts"] = .array(
                    config["mounts"].elements.map { mount in
                        guard mount["type"] == "cgroup" else { return mount }
                        var mount = mount
                        mount["options"] = .array(mount["options"].elements.filter { $0 != "ro" })
                        return mount
                    })
            }
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
