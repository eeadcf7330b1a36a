import LinuxSystem

/// A line of /proc/PID/mountinfo. proc_pid_mountinfo(5):
/// `36 35 98:0 /root /point options optional… - type source superoptions`
struct MountLine {
    let device: String
    /// The part of the file system that is mounted.
    let root: String
    let point: String
    let type: Substring
    let isReadOnly: Bool

    private init?(_ line: Substring) {
        let parts = line.split(separator: " ")
        guard let dash = parts.firstIndex(of: "-"), dash + 1 < parts.count, parts.count > 5 else { return nil }
        device = String(parts[2])
        root = unescaped(parts[3])
        point = unescaped(parts[4])
        type = parts[dash + 1]
        isReadOnly = parts[5].split(separator: ",").contains("ro")
    }

    /// - Parameter process: a pid, or `self`.
    static func all(of process: String) throws -> [MountLine] {
        try readText("/proc/\(process)/mountinfo").split(separator: "\n").compactMap { MountLine($0) }
    }

    /// The device of an open file's file system, as the lines have it.
    static func device(of file: CInt) throws -> String {
        let device = try status(of: file).st_dev
        return "\(clinux_major(device)):\(clinux_minor(device))"
    }
}

/// Blanks, tabs, newlines and backslashes are written as three octal digits.
private func unescaped(_ field: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = Array(field.utf8)[...]
    while let first = rest.first {
        let digits = rest.dropFirst().prefix(3)
        if first == UInt8(ascii: "\\"), digits.count == 3,
            let byte = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
        {
            bytes.append(byte)
            rest = rest.dropFirst(4)
        } else {
            bytes.append(first)
            rest = rest.dropFirst()
        }
    }
    return String(decoding: bytes, as: UTF8.self)
}
