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
        let parts = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
        guard parts.count >= 5, let dash = parts[0].firstIndex(of: "-"),
            let start = UInt64(parts[0][..<dash], radix: 16),
            let end = UInt64(parts[0][parts[0].index(after: dash)...], radix: 16),
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
}

/// The mappings of a process, in address order.
func memoryMap(of process: pid_t) throws -> [MemoryMapLine] {
    try readText("/proc/\(process)/maps").split(separator: "\n").compactMap { MemoryMapLine($0) }
}

/// What smaps tells of a mapping, as far as it matters, by the letters of proc_pid_smaps(5): a bit for each pair.
struct MappingFlags: Equatable {
    private static let names = ["gd", "nr", "lo", "io", "ht", "sr", "rr", "dc", "dd", "mg", "hg", "nh", "wf"]
    private var bits: UInt16 = 0

    init(_ words: Substring = "") {
        for word in words.split(separator: " ") {
            if let bit = Self.names.firstIndex(of: String(word)) { bits |= 1 << UInt16(bit) }
        }
    }

    func contains(_ name: String) -> Bool {
        Self.names.firstIndex(of: name).map { bits & 1 << UInt16($0) != 0 } ?? false
    }
}

/// VmFlags of each mapping, which only /proc/PID/smaps tells; dear, so never read while the process stands still.
///
/// Read byte by byte, and in pieces: the file has 24 lines for each mapping, of which two matter.
func mappingFlags(of process: pid_t) throws -> [Range<UInt64>: MappingFlags] {
    var flags: [Range<UInt64>: MappingFlags] = [:]
    var current: Range<UInt64>?
    try forEachLine(of: "/proc/\(process)/smaps") { line in
        guard let first = line.first else { return }
        if first == UInt8(ascii: "V"), line.starts(with: "VmFlags:".utf8), let range = current {
            flags[range] = MappingFlags(Substring(decoding: line.dropFirst(8), as: UTF8.self))
        } else if first < UInt8(ascii: "A") || first > UInt8(ascii: "Z") {
            current = MemoryMapLine(Substring(decoding: line, as: UTF8.self))?.range
        }
    }
    return flags
}
