import LinuxSystem

/// A line of /proc/PID/mountinfo. proc_pid_mountinfo(5):
/// `36 35 98:0 /root /point options optional… - type source superoptions`
struct MountLine {
    let id: Int
    let parent: Int
    let device: String
    /// The part of the file system that is mounted.
    let root: String
    let point: String
    /// Of the mount, and of its file system, with their escapes.
    let options: Substring
    var superOptions: Substring
    let type: Substring
    /// What the file system was made of, or any text.
    let source: String
    /// The group whose members have each other's mounts, and the one whose mounts it gets. mount_namespaces(7)
    var sharedGroup: Substring?
    var masterGroup: Substring?
    let isUnbindable: Bool
    var isReadOnly: Bool { options.split(separator: ",").contains("ro") }

    init(
        id: Int, parent: Int, device: String, root: String, point: String, options: Substring, superOptions: Substring,
        type: Substring, source: String, sharedGroup: Substring?, masterGroup: Substring?, isUnbindable: Bool
    ) {
        (self.id, self.parent, self.device, self.root, self.point) = (id, parent, device, root, point)
        (self.options, self.superOptions, self.type, self.source) = (options, superOptions, type, source)
        (self.sharedGroup, self.masterGroup, self.isUnbindable) = (sharedGroup, masterGroup, isUnbindable)
    }

    /// The same mount elsewhere.
    init(_ line: MountLine, id: Int, parent: Int, device: String, root: String) {
        self.init(
            id: id, parent: parent, device: device, root: root, point: line.point, options: line.options,
            superOptions: line.superOptions, type: line.type, source: line.source, sharedGroup: line.sharedGroup,
            masterGroup: line.masterGroup, isUnbindable: line.isUnbindable)
    }

    private init?(_ line: Substring) {
        let parts = line.split(separator: " ", omittingEmptySubsequences: false)
        guard parts.count > 5, let dash = parts.firstIndex(of: "-"), dash > 5, dash + 1 < parts.count,
            let id = Int(parts[0]), let parent = Int(parts[1])
        else { return nil }
        (self.id, self.parent) = (id, parent)
        device = String(parts[2])
        root = unescaped(parts[3])
        point = unescaped(parts[4])
        options = parts[5]
        // A source may be empty, or have blanks, which are escaped.
        superOptions = dash + 3 < parts.count ? parts[dash + 3] : ""
        source = dash + 2 < parts.count ? unescaped(parts[dash + 2]) : ""
        type = parts[dash + 1]
        let propagation = parts[6..<dash]
        func group(_ tag: String) -> Substring? {
            propagation.first { $0.hasPrefix(tag) }.map { $0.dropFirst(tag.count) }
        }
        (sharedGroup, masterGroup) = (group("shared:"), group("master:"))
        isUnbindable = propagation.contains("unbindable")
    }

    static func all(in text: String) -> [MountLine] { text.split(separator: "\n").compactMap { MountLine($0) } }

    /// - Parameter process: a pid, or `self`.
    static func all(of process: String) throws -> [MountLine] {
        all(in: try readText("/proc/\(process)/mountinfo"))
    }

    /// The device of an open file's file system, as the lines have it.
    static func device(of file: CInt) throws -> String {
        let device = try status(of: file).st_dev
        return "\(clinux_major(device)):\(clinux_minor(device))"
    }
}

/// Blanks, tabs, newlines and backslashes are written as three octal digits.
func unescaped(_ field: Substring) -> String {
    guard field.utf8.contains(UInt8(ascii: "\\")) else { return String(field) }
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
