import Glibc

/// An OCI bundle in a test's folder.
struct Bundle {
    let folder: String
    var rootfs: String { folder + "/rootfs" }
    var configPath: String { folder + "/config.json" }

    /// What the root file system holds.
    enum Content {
        /// Debian's static busybox and its links.
        case busybox
        /// A program of Tests/Workloads, as /workload.
        case workload(String, Workload.Library = .ownMachine)
        /// Programs of this machine with the libraries that `ldd` lists, at their own paths.
        case programs([String])
    }

    /// Writes the root file system, and `spec`'s configuration with what every test changes in it.
    init(folder: String, token: String, content: Content, arguments: [String], runtime: Runtime) throws(Failure) {
        self.folder = folder
        try Files.makeFolder(rootfs + "/state", mode: 0o777)
        for name in ["proc", "dev", "sys", "tmp", "etc"] { try Files.makeFolder(rootfs + "/" + name) }
        try Self.fill(rootfs, with: content)
        var spec = runtime.command(["spec"])
        spec.folder = folder
        try spec.run().succeeded()
        // The default profile of Debian's golang-github-containers-common, for the default capabilities on x86-64.
        let profile = try JSONValue(
            parsing: Files.text(of: Runtime.packageFolder + "/Tests/Workloads/seccomp.json") ?? "")
        try edit { config in
            config["process"]["terminal"] = false
            config["process"]["args"] = .strings(arguments)
            config["process"]["env"] = .array(
                config["process"]["env"].elements + [.string("STASIS_TEST=\(token)"), "HOME=/state"])
            config["root"]["readonly"] = false
            config["hostname"] = "stasis-test"
            config["linux"]["seccomp"] = profile
        }
    }

    /// A bundle that is there already.
    init(existing folder: String) {
        self.folder = folder
    }

    func edit(_ change: (inout JSONValue) -> Void) throws(Failure) {
        var config = try JSONValue(parsing: Files.text(of: configPath) ?? "")
        change(&config)
        try Files.write(try config.text(), to: configPath)
    }

    func dropCapabilities() throws(Failure) {
        try edit { config in
            for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
                config["process"]["capabilities"][set] = []
            }
        }
    }

    /// One more mount, after those that are there.
    func addMount(_ destination: String, type: String = "bind", source: String, _ options: [String] = ["bind"])
        throws(Failure)
    {
        let mount: JSONValue = [
            "destination": .string(destination), "type": .string(type), "source": .string(source),
            "options": .strings(options),
        ]
        try edit { $0["mounts"] = .array($0["mounts"].elements + [mount]) }
    }

    /// Takes the mount at a path out.
    func removeMount(_ destination: String) throws(Failure) {
        try edit { config in
            config["mounts"] = .array(config["mounts"].elements.filter { $0["destination"].string != destination })
        }
    }

    static func fill(_ rootfs: String, with content: Content) throws(Failure) {
        switch content {
        case .busybox:
            try Files.copy("/bin/busybox", to: rootfs + "/bin/busybox")
            for name in try Command("/bin/busybox", "--list").run().succeeded().output.split(separator: "\n")
            where name != "busybox" {
                try check(symlink("/bin/busybox", rootfs + "/bin/\(name)"), "link \(name)")
            }
        case .workload(let name, let library):
            try Files.copy(try Workload.compiled(name, for: library), to: rootfs + "/workload")
            if library == .forky {
                let libraries = "/usr/lib/x86_64-linux-gnu/"
                for name in ["ld-linux-x86-64.so.2", "libc.so.6"] {
                    try Files.copy(Workload.Library.forkyFolder + libraries + name, to: rootfs + libraries + name)
                }
                try check(symlink("usr/lib/x86_64-linux-gnu", rootfs + "/lib64"), "link /lib64")
            }
        case .programs(let paths):
            for path in paths {
                try Files.copy(Files.resolved(path), to: rootfs + path)
                for library in try libraries(of: path) where !Files.exists(rootfs + library) {
                    try Files.copy(library, to: rootfs + library)
                }
            }
        }
    }

    private static func libraries(of program: String) throws(Failure) -> [String] {
        let listed = try Command("ldd", program).run()
        guard listed.status == 0 else { return [] }  // a static program has none
        return listed.output.split(separator: "\n").compactMap { line in
            line.split(whereSeparator: \.isWhitespace).first { $0.hasPrefix("/") }.map(String.init)
        }
    }
}
