import LinuxSystem

/// What /proc/PID/status and /proc/PID/stat tell of a task. proc_pid_status(5), proc_pid_stat(5).
struct ProcessStatus {
    private let status: [UInt8]
    /// Where the lines of `status` are.
    private let lines: [Range<Int>]
    /// From the third field on, which is the first behind the command.
    private let stat: ArraySlice<UInt8>
    let task: pid_t

    /// - Parameter path: where the files are, if not in `/proc/PID`.
    init(_ task: pid_t, path: String? = nil) throws {
        let path = path ?? "/proc/\(task)"
        let status = try readFile("\(path)/status")
        self.init(task, status: status, stat: try Self.stat(at: path))
    }

    /// Of what only /proc/PID/stat tells: whether it lives.
    init(statOf task: pid_t) throws { self.init(task, status: [], stat: try Self.stat(at: "/proc/\(task)")) }

    private static func stat(at path: String) throws -> ArraySlice<UInt8> {
        // The second field is the command in parentheses, which may contain anything.
        let text = try readFile("\(path)/stat")
        guard let close = text.lastIndex(of: UInt8(ascii: ")")) else {
            throw CheckpointError("\(path)/stat: no command in it")
        }
        return text[(close + 1)...].dropFirst()
    }

    /// What tells one thread of a process from another: without stat, which is the process's.
    init(thread: pid_t, of process: pid_t) throws {
        try self.init(thread, status: readFile("/proc/\(process)/task/\(thread)/status"), stat: [])
    }

    private init(_ task: pid_t, status: [UInt8], stat: ArraySlice<UInt8>) {
        self.task = task
        self.status = status
        self.stat = stat
        var lines: [Range<Int>] = []
        var start = 0
        for index in status.indices where status[index] == UInt8(ascii: "\n") {
            lines.append(start..<index)
            start = index + 1
        }
        self.lines = lines + [start..<status.count]
    }

    /// A field of /proc/PID/stat by its number in the man page.
    func stat(_ number: Int) throws -> UInt64 {
        var rest = stat
        var field = 3
        while field < number, let blank = rest.firstIndex(of: UInt8(ascii: " ")) {
            rest = rest[(blank + 1)...]
            field += 1
        }
        let digits = rest.prefix { $0 > UInt8(ascii: " ") }
        guard field == number, let value = UInt64(String(decoding: digits, as: UTF8.self)) else {
            throw CheckpointError("/proc/\(task)/stat: no field \(number)")
        }
        return value
    }

    /// What stands behind `name:`. By bytes, and only what is asked for: there is such a file for every thread.
    private func field(_ name: String) -> Substring? {
        for line in lines where status[line].starts(with: name.utf8) {
            let rest = status[line].dropFirst(name.utf8.count)
            guard rest.first == UInt8(ascii: ":") else { continue }
            return String(decoding: rest.dropFirst(), as: UTF8.self)[...].trimmed
        }
        return nil
    }

    var state: Character { field("State")?.first ?? stat.first.map { Character(UnicodeScalar($0)) } ?? "?" }
    var isZombie: Bool { state == "Z" || state == "X" }
    /// Whether it has SIGKILL, which every thread of a process gets, or is on its way out (PF_EXITING).
    var isKilled: Bool {
        let kill = UInt64(1) << UInt64(SIGKILL - 1)
        return ((try? stat(31)) ?? 0) & kill != 0 || ((try? stat(9)) ?? 0) & 0x4 != 0
    }
    /// Whether it has not executed a program since it was made (PF_FORKNOEXEC).
    var isFork: Bool { ((try? stat(9)) ?? 0) & 0x40 != 0 }
    var parent: pid_t { number("PPid", 0) }
    var tracer: pid_t { number("TracerPid", 0) }
    /// The ids in the innermost pid namespace.
    var innerPid: pid_t { last("NSpid") }
    var innerGroup: pid_t { last("NSpgid") }
    var innerSession: pid_t { last("NSsid") }
    var umask: UInt32 { UInt32(field("Umask") ?? "", radix: 8) ?? 0o22 }
    /// real, effective, saved, file system
    var users: [UInt32] { list("Uid") }
    var groups: [UInt32] { list("Gid") }
    var supplementaryGroups: [UInt32] { list("Groups") }
    var noNewPrivileges: Bool { field("NoNewPrivs") == "1" }
    /// 0 none, 1 strict, 2 filter
    var seccompMode: Int { Int(number("Seccomp", 0)) }
    /// How many filters, each of which must allow a call. Linux 5.9.
    var seccompFilters: Int? { field("Seccomp_filters").flatMap { Int($0) } }
    func capabilities(_ set: String) -> UInt64 { UInt64(field("Cap" + set) ?? "", radix: 16) ?? 0 }

    /// In the format of cpuset(7).
    var allowedCPUs: String? { field("Cpus_allowed_list").map(String.init) }
    /// In KiB.
    var lockedMemory: Int { Int(number("VmLck", 0)) }

    private func list(_ name: String) -> [UInt32] {
        (field(name) ?? "").parts(between: UInt8(ascii: "\t"), or: UInt8(ascii: " ")).compactMap { UInt32($0) }
    }
    private func last(_ name: String) -> pid_t { list(name).last.map { pid_t(truncatingIfNeeded: $0) } ?? 0 }
    private func number(_ name: String, _ index: Int) -> pid_t {
        pid_t(truncatingIfNeeded: list(name).first ?? 0)
    }
}

extension StringProtocol where SubSequence == Substring {
    /// What stands between bytes of two values; nothing that is empty. Of what the kernel writes: to look for characters,
    /// which may be of several bytes, takes ten times as long.
    func parts(between separator: UInt8, or other: UInt8? = nil, atMost count: Int = .max) -> [Substring] {
        self[...].utf8.split(maxSplits: count - 1) { $0 == separator || $0 == other }.map { Substring($0) }
    }

    /// The lines of a file.
    var lines: [Substring] { parts(between: UInt8(ascii: "\n")) }
}

extension Substring {
    /// Without the blanks, tabs and ends of lines around it.
    var trimmed: Substring {
        func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || (9...13).contains(byte) }
        var bytes = utf8
        while let first = bytes.first, isBlank(first) { bytes.removeFirst() }
        while let last = bytes.last, isBlank(last) { bytes.removeLast() }
        return Substring(bytes)
    }
}

/// A process's command name, for messages.
func commandName(_ task: pid_t) -> String { (try? commandName(at: "/proc/\(task)")) ?? "?" }

/// A task's command name, which may have line ends of its own; one that is none follows it.
func commandName(at path: String) throws(SystemError) -> String {
    String(decoding: try readFile("\(path)/comm").dropLast(), as: UTF8.self)
}
