/// A flag as the command line's grammar knows it.
package struct CommandFlag: Sendable {
    package enum Kind: Sendable {
        case toggle, value, number
        /// Each use adds a value; commas do not separate.
        case list
    }

    package var name: String
    package var letter: String?
    package var kind: Kind

    init(_ name: String, _ letter: String? = nil, _ kind: Kind) {
        self.name = name
        self.letter = letter
        self.kind = kind
    }
}

/// What a command accepts. Names, letters and defaults are runc's.
package struct CommandSyntax: Sendable {
    package var name: String
    package var arguments: ClosedRange<Int>
    package var flags: [CommandFlag]
    /// From the first argument on, flags belong to somebody else: to the program that `exec` runs, or to ps.
    package var stopsAtArgument = false

    init(
        _ name: String, arguments: ClosedRange<Int>, stopsAtArgument: Bool = false, _ flags: [CommandFlag] = []
    ) {
        self.name = name
        self.arguments = arguments
        self.stopsAtArgument = stopsAtArgument
        self.flags = flags
    }

    /// Accepted before the command.
    package static let globalFlags: [CommandFlag] = [
        CommandFlag("debug", .toggle), CommandFlag("log", .value), CommandFlag("log-format", .value),
        CommandFlag("root", .value),
        CommandFlag("criu", .value), CommandFlag("systemd-cgroup", .toggle), CommandFlag("cgroup-manager", .value),
        CommandFlag("rootless", .value),
    ]

    package static let commands: [CommandSyntax] = [
        CommandSyntax("create", arguments: 1...1, creation),
        CommandSyntax(
            "run", arguments: 1...1,
            creation + [
                CommandFlag("detach", "d", .toggle), CommandFlag("keep", .toggle), CommandFlag("no-subreaper", .toggle),
            ]),
        CommandSyntax("start", arguments: 1...1),
        CommandSyntax("state", arguments: 1...1),
        CommandSyntax("pause", arguments: 1...1),
        CommandSyntax("resume", arguments: 1...1),
        CommandSyntax("features", arguments: 0...0),
        CommandSyntax("exec", arguments: 1...Int.max, stopsAtArgument: true, exec),
        CommandSyntax("kill", arguments: 1...2, stopsAtArgument: true, [CommandFlag("all", "a", .toggle)]),
        CommandSyntax("delete", arguments: 1...1, [CommandFlag("force", "f", .toggle)]),
        CommandSyntax(
            "list", arguments: 0...0, [CommandFlag("format", "f", .value), CommandFlag("quiet", "q", .toggle)]),
        CommandSyntax(
            "ps", arguments: 1...Int.max, stopsAtArgument: true, [CommandFlag("format", "f", .value)]),
        CommandSyntax(
            "spec", arguments: 0...0, [CommandFlag("bundle", "b", .value), CommandFlag("rootless", .toggle)]),
        CommandSyntax("checkpoint", arguments: 1...1, checkpoint),
        CommandSyntax("restore", arguments: 1...1, restore),
        CommandSyntax("events", arguments: 1...1, [CommandFlag("interval", .value), CommandFlag("stats", .toggle)]),
        CommandSyntax("update", arguments: 1...1, update),
    ]

    private static let creation: [CommandFlag] = [
        CommandFlag("bundle", "b", .value), CommandFlag("console-socket", .value), CommandFlag("pidfd-socket", .value),
        CommandFlag("pid-file", .value), CommandFlag("no-pivot", .toggle), CommandFlag("no-new-keyring", .toggle),
        CommandFlag("preserve-fds", .number),
    ]

    private static let exec: [CommandFlag] = [
        CommandFlag("console-socket", .value), CommandFlag("pidfd-socket", .value), CommandFlag("cwd", .value),
        CommandFlag("env", "e", .list),
        CommandFlag("tty", "t", .toggle), CommandFlag("user", "u", .value), CommandFlag("additional-gids", "g", .list),
        CommandFlag("process", "p", .value), CommandFlag("detach", "d", .toggle), CommandFlag("pid-file", .value),
        CommandFlag("process-label", .value), CommandFlag("apparmor", .value), CommandFlag("no-new-privs", .toggle),
        CommandFlag("cap", "c", .list), CommandFlag("preserve-fds", .number), CommandFlag("cgroup", .list),
        CommandFlag("ignore-paused", .toggle),
    ]

    private static let checkpoint: [CommandFlag] = [
        CommandFlag("image-path", .value), CommandFlag("work-path", .value), CommandFlag("parent-path", .value),
        CommandFlag("leave-running", .toggle), CommandFlag("tcp-established", .toggle),
        CommandFlag("tcp-close", .toggle), CommandFlag("tcp-skip-in-flight", .toggle),
        CommandFlag("link-remap", .toggle), CommandFlag("ext-unix-sk", .toggle), CommandFlag("shell-job", .toggle),
        CommandFlag("lazy-pages", .toggle), CommandFlag("status-fd", .number), CommandFlag("page-server", .value),
        CommandFlag("file-locks", .toggle), CommandFlag("pre-dump", .toggle),
        CommandFlag("manage-cgroups-mode", .value), CommandFlag("exec-policy", .value),
        CommandFlag("empty-ns", .list), CommandFlag("auto-dedup", .toggle),
    ]

    private static let restore: [CommandFlag] = [
        CommandFlag("console-socket", .value), CommandFlag("image-path", .value), CommandFlag("work-path", .value),
        CommandFlag("parent-path", .value), CommandFlag("tcp-established", .toggle), CommandFlag("tcp-close", .toggle),
        CommandFlag("ext-unix-sk", .toggle), CommandFlag("shell-job", .toggle), CommandFlag("file-locks", .toggle),
        CommandFlag("manage-cgroups-mode", .value), CommandFlag("bundle", "b", .value),
        CommandFlag("detach", "d", .toggle),
        CommandFlag("pid-file", .value), CommandFlag("no-subreaper", .toggle), CommandFlag("no-pivot", .toggle),
        CommandFlag("empty-ns", .list), CommandFlag("auto-dedup", .toggle), CommandFlag("lazy-pages", .toggle),
        CommandFlag("lsm-profile", .value), CommandFlag("lsm-mount-context", .value),
        CommandFlag("preserve-fds", .number),
    ]

    private static let update: [CommandFlag] =
        [CommandFlag("resources", "r", .value)]
        + [
            "blkio-weight", "cpu-period", "cpu-quota", "cpu-burst", "cpu-share", "cpu-rt-period",
            "cpu-rt-runtime",
            "cpuset-cpus", "cpuset-mems", "cpu-idle", "kernel-memory", "kernel-memory-tcp", "memory",
            "memory-reservation", "memory-swap", "pids-limit", "l3-cache-schema", "mem-bw-schema",
        ].map { CommandFlag($0, .value) }
}

extension CommandFlag {
    fileprivate init(_ name: String, _ kind: Kind) { self.init(name, nil, kind) }
}
