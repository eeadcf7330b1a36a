import LinuxSystem

/// One line of /proc/PID/maps. proc_pid_maps(5).
struct MemoryMapLine: Equatable {
    var start: UInt64
    var end: UInt64
    /// As mmap(2) takes it.
    var protection: UInt32
    var isShared: Bool
    var offset: UInt64
    var device: Substring
    var inode: UInt64
    var name: Substring

    var range: Range<UInt64> { start..<end }
    /// The name of its link in /proc/PID/map_files.
    var link: String { String(start, radix: 16) + "-" + String(end, radix: 16) }

    init?(_ line: Substring) {
        let parts = line.parts(between: UInt8(ascii: " "), atMost: 6)
        guard parts.count >= 5, let dash = parts[0].utf8.firstIndex(of: UInt8(ascii: "-")),
            let start = UInt64(parts[0][..<dash], radix: 16),
            let end = UInt64(parts[0][parts[0].utf8.index(after: dash)...], radix: 16),
            let offset = UInt64(parts[2], radix: 16), let inode = UInt64(parts[4])
        else { return nil }
        self.start = start
        self.end = end
        let flags = Array(parts[1].utf8)
        guard flags.count >= 4 else { return nil }
        protection =
            (flags[0] == UInt8(ascii: "r") ? 1 : 0) | (flags[1] == UInt8(ascii: "w") ? 2 : 0)
            | (flags[2] == UInt8(ascii: "x") ? 4 : 0)
        isShared = flags[3] == UInt8(ascii: "s")
        self.offset = offset
        device = parts[3]
        self.inode = inode
        name = parts.count > 5 ? parts[5].trimmed : ""
    }

    /// Stands among the VmFlags of a mapping with a protection key, which smaps tells in a line of its own.
    static let keyed: Substring = "ProtectionKey"
}

/// The mappings of a process, in address order.
func memoryMap(of process: pid_t) throws -> [MemoryMapLine] {
    try readText("/proc/\(process)/maps").lines.compactMap { MemoryMapLine($0) }
}

/// What smaps tells of a mapping, by the letters of proc_pid_smaps(5), and ``MemoryMapLine/keyed``.
typealias MappingFlags = Set<Substring>

/// VmFlags of each mapping, which only /proc/PID/smaps tells; dear, so never read while the process stands still.
///
/// Read byte by byte, and in pieces: the file has 24 lines for each mapping, of which three matter. Mappings are many, sets
/// of flags few.
func mappingFlags(of process: pid_t) throws -> [Range<UInt64>: MappingFlags] {
    var flags: [Range<UInt64>: MappingFlags] = [:]
    var known: [String: MappingFlags] = [:]
    var current: Range<UInt64>?
    var isKeyed = false
    try forEachLine(of: "/proc/\(process)/smaps") { line in
        guard let first = line.first else { return }
        if first == UInt8(ascii: "V"), line.starts(with: "VmFlags:".utf8), let range = current {
            let words = String(decoding: line.dropFirst(8), as: UTF8.self) + (isKeyed ? " \(MemoryMapLine.keyed)" : "")
            if known[words] == nil { known[words] = Set(words.split(separator: " ")) }
            flags[range] = known[words]
        } else if first == UInt8(ascii: "P"), line.starts(with: "ProtectionKey:".utf8) {
            isKeyed = line.last != UInt8(ascii: "0") || line.dropLast().last != UInt8(ascii: " ")
        } else if first < UInt8(ascii: "A") || first > UInt8(ascii: "Z") {
            current = MemoryMapLine(Substring(decoding: line, as: UTF8.self))?.range
        }
    }
    return flags
}
