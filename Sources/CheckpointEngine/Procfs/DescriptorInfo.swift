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
        lines = try readText("/proc/\(process)/fdinfo/\(number)").lines.compactMap { line in
            guard let colon = line.utf8.firstIndex(of: UInt8(ascii: ":")) else { return nil }
            return (line[..<colon].trimmed, line[line.utf8.index(after: colon)...].trimmed)
        }
        var (position, flags, mount): (UInt64, UInt32, Int) = (0, 0, -1)
        for (key, value) in lines {
            switch key {
            case "pos": position = UInt64(value) ?? 0
            case "flags": flags = UInt32(value, radix: 8) ?? 0
            case "mnt_id": mount = Int(value) ?? -1
            default: break
            }
        }
        self.position = position
        self.flags = flags & ~UInt32(O_CLOEXEC)
        closesOnExec = flags & UInt32(O_CLOEXEC) != 0
        self.mount = mount
    }

    func value(_ key: Substring) -> Substring? { lines.first { $0.key == key }?.value }
}
