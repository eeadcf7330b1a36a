import LinuxSystem

/// What /proc/PID/status and /proc/PID/stat tell of a task. proc_pid_status(5), proc_pid_stat(5).
struct ProcessStatus {
    private let fields: [Substring: Substring]
    private let stat: [Substring]
    let task: pid_t

    /// - Parameter path: `/proc/PID` or `/proc/PID/task/TID`.
    init(_ task: pid_t, path: String? = nil) throws {
        self.task = task
        let path = path ?? "/proc/\(task)"
        var fields: [Substring: Substring] = [:]
        for line in try readText("\(path)/status").split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[line[..<colon]] = line[line.index(after: colon)...].trimmed
        }
        self.fields = fields
        // The second field is the command in parentheses, which may contain anything.
        let text = try readText("\(path)/stat")
        guard let close = text.lastIndex(of: ")") else { throw CheckpointError("\(path)/stat: no command in it") }
        stat = ["", ""] + text[text.index(after: close)...].split(separator: " ")
    }

    /// A field of /proc/PID/stat by its number in the man page.
    func stat(_ number: Int) throws -> UInt64 {
        guard number - 1 < stat.count, let value = UInt64(stat[number - 1].trimmed) else {
            throw CheckpointError("/proc/\(task)/stat: no field \(number)")
        }
        return value
    }

    var state: Character { fields["State"]?.first ?? "?" }
    var isZombie: Bool { state == "Z" || state == "X" }
    /// Whether it has SIGKILL, or is on its way out (PF_EXITING).
    var isKilled: Bool {
        let kill = UInt64(1) << UInt64(SIGKILL - 1)
        let pending = ["SigPnd", "ShdPnd"].contains { (UInt64(fields[$0] ?? "", radix: 16) ?? 0) & kill != 0 }
        return pending || ((try? stat(9)) ?? 0) & 0x4 != 0
    }
    /// Whether it has not executed a program since it was made (PF_FORKNOEXEC).
    var isFork: Bool { ((try? stat(9)) ?? 0) & 0x40 != 0 }
    var parent: pid_t { number("PPid", 0) }
    var tracer: pid_t { number("TracerPid", 0) }
    /// The ids in the innermost pid namespace.
    var innerPid: pid_t { last("NSpid") }
    var innerGroup: pid_t { last("NSpgid") }
    var innerSession: pid_t { last("NSsid") }
    var umask: UInt32 { UInt32(fields["Umask"] ?? "", radix: 8) ?? 0o22 }
    /// real, effective, saved, file system
    var users: [UInt32] { list("Uid") }
    var groups: [UInt32] { list("Gid") }
    var supplementaryGroups: [UInt32] { list("Groups") }
    var noNewPrivileges: Bool { fields["NoNewPrivs"] == "1" }
    /// 0 none, 1 strict, 2 filter
    var seccompMode: Int { Int(number("Seccomp", 0)) }
    /// How many filters, each of which must allow a call. Linux 5.9.
    var seccompFilters: Int? { fields["Seccomp_filters"].flatMap { Int($0) } }
    func capabilities(_ set: String) -> UInt64 { UInt64(fields["Cap" + set[...]] ?? "", radix: 16) ?? 0 }

    /// In the format of cpuset(7).
    var allowedCPUs: String? { fields["Cpus_allowed_list"].map(String.init) }
    /// In KiB.
    var lockedMemory: Int { Int(number("VmLck", 0)) }

    private func list(_ name: Substring) -> [UInt32] {
        (fields[name] ?? "").split(whereSeparator: { $0 == " " || $0 == "\t" }).compactMap { UInt32($0) }
    }
    private func last(_ name: Substring) -> pid_t { list(name).last.map { pid_t(truncatingIfNeeded: $0) } ?? 0 }
    private func number(_ name: Substring, _ index: Int) -> pid_t {
        pid_t(truncatingIfNeeded: list(name).first ?? 0)
    }
}

extension Substring {
    var trimmed: Substring {
        var text = self
        while let first = text.first, first.isWhitespace { text.removeFirst() }
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return text
    }
}

/// A process's command name, for messages.
func commandName(_ task: pid_t) -> String { (try? commandName(at: "/proc/\(task)")) ?? "?" }

/// A task's command name, which may have line ends of its own; one that is none follows it.
func commandName(at path: String) throws(SystemError) -> String {
    String(decoding: try readFile("\(path)/comm").dropLast(), as: UTF8.self)
}
