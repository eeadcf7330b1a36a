import LinuxSystem

/// /proc/PID/fdinfo/N. proc_pid_fdinfo(5).
struct DescriptorInfo {
    let position: UInt64
    /// Without O_CLOEXEC, which belongs to the descriptor and not to the open file.
    let flags: UInt32
    let closesOnExec: Bool
    let mount: Int
    /// Every line, by its key; some kinds have several with the same.
    let lines: [(key: Substring, value: Substring)]

    init(process: pid_t, number: CInt) throws {
        lines = try readText("/proc/\(process)/fdinfo/\(number)").split(separator: "\n").compactMap { line in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            return (line[..<colon].trimmed, line[line.index(after: colon)...].trimmed)
        }
        var values: [Substring: Substring] = [:]
        for line in lines { values[line.key] = line.value }
        position = values["pos"].flatMap { UInt64($0) } ?? 0
        let flags = values["flags"].flatMap { UInt32($0, radix: 8) } ?? 0
        self.flags = flags & ~UInt32(O_CLOEXEC)
        closesOnExec = flags & UInt32(O_CLOEXEC) != 0
        mount = values["mnt_id"].flatMap { Int($0) } ?? -1
    }

    func value(_ key: Substring) -> Substring? { lines.first { $0.key == key }?.value }
}
