import Glibc

/// How a command ended, and what it said.
struct Outcome: CustomStringConvertible {
    let command: String
    /// As a shell counts: the exit status, or 128 + the signal.
    let status: Int32
    let output: String
    let errors: String

    var description: String {
        "`\(command)` ended with \(status)\(output.isEmpty ? "" : ", said: \(output)")"
            + (errors.isEmpty ? "" : ", complained: \(errors)")
    }

    /// An error is one line, nothing more.
    var isOneComplaint: Bool { !errors.isEmpty && !errors.contains("\n") }

    /// The outcome itself where the command succeeded.
    @discardableResult
    func succeeded() throws(Failure) -> Outcome {
        guard status == 0 else { throw Failure(description) }
        return self
    }
}

/// A program to start. Its output goes to files: a pipe would be held open by the containers that it leaves behind.
struct Command {
    var words: [String]
    var input = "/dev/null"
    var folder: String?
    /// Where standard output and error go; nil collects them for the outcome.
    var output: String?
    var environment: [String] = Command.inheritedEnvironment

    init(_ words: String...) {
        self.words = words
    }

    init(_ words: [String]) {
        self.words = words
    }

    static var inheritedEnvironment: [String] {
        ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root"]
    }

    var line: String { words.joined(separator: " ") }

    /// Starts the program and waits until it ends; after `seconds` it is killed, and that is a failure.
    func run(seconds: Double = 60) throws(Failure) -> Outcome {
        try Self.runTogether([self], seconds: seconds)[0]
    }

    /// The same for commands that run beside each other.
    static func runTogether(_ commands: [Command], seconds: Double = 60) throws(Failure) -> [Outcome] {
        var all: [RunningCommand] = []
        defer { for index in all.indices { all[index].kill() } }
        for command in commands { all.append(try command.start()) }
        var outcomes: [Outcome] = []
        for index in all.indices {
            let hasEnded = all[index].wait(seconds: seconds)
            if !hasEnded { all[index].kill() }
            let outcome = all[index].outcome()
            guard hasEnded else {
                throw Failure(
                    "`\(outcome.command)` did not end within \(seconds) s; it said: \(outcome.output) \(outcome.errors)"
                )
            }
            outcomes.append(outcome)
        }
        return outcomes
    }

    func start() throws(Failure) -> RunningCommand {
        let said = output.map { try? Self.open($0) } ?? Self.scratchFile()
        let complained = output == nil ? Self.scratchFile() : said.map { dup($0) }
        guard let said, let complained else { throw Failure("cannot open the output of `\(line)`") }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, said, 1)
        posix_spawn_file_actions_adddup2(&actions, complained, 2)
        for inherited in Files.names(in: "/proc/self/fd").compactMap({ Int32($0) }) where inherited > 2 {
            posix_spawn_file_actions_addclose(&actions, inherited)  // swift test's own, not all closed by exec
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var pid: pid_t = 0
        let all = (folder.map { ["env", "--chdir", $0] } ?? []) + words
        let arguments = all.map { strdup($0) } + [nil]
        let variables = environment.map { strdup($0) } + [nil]
        defer { for string in arguments + variables { free(string) } }
        let code = posix_spawnp(&pid, all[0], &actions, &attributes, arguments, variables)
        guard code == 0 else { throw .call("start `\(line)`", errno: code) }
        return RunningCommand(command: self, pid: pid, said: said, complained: complained)
    }

    private static func open(_ path: String) throws(Failure) -> Int32 {
        try check(Glibc.open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o644), "open \(path)")
    }

    /// A file without a name.
    private static func scratchFile() -> Int32? {
        var template = Array("/tmp/stasis-test-output-XXXXXX".utf8CString)
        let file = mkstemp(&template)
        if file < 0 { return nil }
        unlink(template)
        return file
    }
}

/// A started program, to be waited for.
struct RunningCommand {
    let command: Command
    let pid: pid_t
    fileprivate let said: Int32
    fileprivate let complained: Int32
    private(set) var status: Int32?

    fileprivate init(command: Command, pid: pid_t, said: Int32, complained: Int32) {
        (self.command, self.pid, self.said, self.complained) = (command, pid, said, complained)
    }

    /// Whether it ended within that time.
    mutating func wait(seconds: Double) -> Bool {
        until(seconds: seconds) { hasEnded() }
    }

    mutating func hasEnded() -> Bool {
        if status != nil { return true }
        var raw: Int32 = 0
        guard waitpid(pid, &raw, WNOHANG) == pid else { return false }
        status = raw & 0x7f == 0 ? (raw >> 8) & 0xff : 128 + raw & 0x7f
        return true
    }

    mutating func kill(_ signal: Int32 = SIGKILL) {
        guard status == nil else { return }
        Glibc.kill(pid, signal)
        _ = wait(seconds: 20)
    }

    /// To be asked once, after the end.
    func outcome() -> Outcome {
        defer {
            close(said)
            close(complained)
        }
        let isCollected = command.output == nil
        return Outcome(
            command: command.line, status: status ?? -1,
            output: isCollected ? Self.content(said) : "", errors: isCollected ? Self.content(complained) : "")
    }

    private static func content(_ file: Int32) -> String {
        (Files.text(of: "/proc/self/fd/\(file)") ?? "").trimmingEnd()
    }
}

extension String {
    fileprivate func trimmingEnd() -> String {
        var rest = self[...]
        while rest.last?.isWhitespace == true { rest.removeLast() }
        return String(rest)
    }
}

/// Polls until the condition holds; false when it does not within `seconds`.
func until(seconds: Double, _ holds: () -> Bool) -> Bool {
    let deadline = monotonicSeconds() + seconds
    var pause: UInt32 = 500
    while !holds() {
        if monotonicSeconds() > deadline { return false }
        usleep(pause)
        pause = min(pause * 2, 20000)
    }
    return true
}

func monotonicSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
