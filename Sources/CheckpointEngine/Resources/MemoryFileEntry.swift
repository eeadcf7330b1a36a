import CheckpointImages
import LinuxSystem

/// One file of a tmpfs, as `tmpfs-N.stasis` has it. All numbers are little-endian; a text is its length in a u32, then
/// its bytes. The content of a directory follows it, up to an end: no path is ever longer than a name.
///
/// ```
/// magic u32 | mount point text | directory
/// directory: entry (the mount point itself has no name) { directory | file }* end
/// file:  entry { length u32, offset u64, bytes }* 0 u32     the pieces of a regular file at its first name
/// entry: mode u32 | uid u32 | gid u32 | access and modification time: seconds i64, nanoseconds u64 each | size u64
///        name text | number among the files that have several names, the first is 1, or 0 u32
///        target text (of a symbolic link) | attributes u32 { name text, value text }*
/// end:   0 u32
/// ```
struct MemoryFileEntry {
    static let magic: UInt32 = 0x5354_4d47
    /// Bytes of a piece of content.
    static let pieceSize = 64 << 10
    /// Bytes of all attributes of a file.
    static let attributeLimit = 1 << 20

    var name: String
    var mode: UInt32
    var user: UInt32
    var group: UInt32
    var times: (access: timespec, modification: timespec)
    var size: Int
    /// The same for each of its names, 0 if there is only one.
    var number: UInt32 = 0
    var target = ""
    var attributes: [(name: String, value: [UInt8])] = []

    var isDirectory: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFDIR) }
    var isRegular: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFREG) }

    init(name: String, _ status: stat) {
        self.name = name
        mode = status.st_mode
        user = status.st_uid
        group = status.st_gid
        times = (status.st_atim, status.st_mtim)
        size = status.isRegular ? Int(status.st_size) : 0
    }

    static func header(_ point: String) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(number: magic)
        bytes.append(text: point.utf8)
        return bytes
    }

    /// Of a directory, or of a file's content.
    static let end: [UInt8] = [0, 0, 0, 0]

    static func piece(_ bytes: ArraySlice<UInt8>, at offset: UInt64) -> [UInt8] {
        var piece: [UInt8] = []
        piece.append(number: UInt32(bytes.count))
        piece.append(number: offset)
        return piece + bytes
    }

    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        for number in [mode, user, group] { bytes.append(number: number) }
        for time in [times.access, times.modification] {
            bytes.append(number: Int64(time.tv_sec))
            bytes.append(number: UInt64(time.tv_nsec))
        }
        bytes.append(number: UInt64(size))
        bytes.append(text: name.utf8)
        bytes.append(number: number)
        bytes.append(text: target.utf8)
        bytes.append(number: UInt32(attributes.count))
        for (name, value) in attributes {
            bytes.append(text: name.utf8)
            bytes.append(text: value)
        }
        return bytes
    }

    /// With other ids for its owner, in its POSIX ACLs, and for whose capabilities (version 3) it has.
    func exchangingIDs(
        user exchangeUser: (UInt32) throws -> UInt32, group exchangeGroup: (UInt32) throws -> UInt32
    ) throws -> MemoryFileEntry {
        var entry = self
        entry.user = try exchangeUser(user)
        entry.group = try exchangeGroup(group)
        for (index, (name, value)) in attributes.enumerated() {
            var value = value
            if name.hasPrefix("system.posix_acl_") {
                // Version 4, then entries: tag 2, permissions 2, id 4. ACL_USER is 2, ACL_GROUP 8.
                for start in stride(from: 4, to: value.count - 7, by: 8) where [2, 8].contains(value[start]) {
                    try value.exchange(at: start + 4, value[start] == 2 ? exchangeUser : exchangeGroup)
                }
            } else if name == "security.capability", value.count == 24 {
                // struct vfs_ns_cap_data
                try value.exchange(at: 20, exchangeUser)
            }
            entry.attributes[index].value = value
        }
        return entry
    }

    /// Owner, mode and attributes of an open file. An owner's change takes set-id bits and capabilities away, so it is first.
    func dress(_ file: CInt) throws {
        try system("chown") { fchown(file, user, group) }
        try system("chmod") { fchmod(file, mode & 0o7777) }
        for (name, value) in attributes { try setAttribute(file, name, value) }
    }

    /// The same for what is not to be opened.
    func dress(_ name: String, in directory: CInt) throws {
        try system("chown") { fchownat(directory, name, user, group, AT_SYMLINK_NOFOLLOW) }
        if mode & UInt32(S_IFMT) != UInt32(S_IFLNK) {
            // Just made here, and nobody else runs.
            try system("chmod") { fchmodat(directory, name, mode & 0o7777, 0) }
        }
        var values = [times.access, times.modification]
        try system("set times") { utimensat(directory, name, &values, AT_SYMLINK_NOFOLLOW) }
    }

    func setTimes(of file: CInt) throws {
        var values = [times.access, times.modification]
        try system("set times") { futimens(file, &values) }
    }
}

extension [UInt8] {
    fileprivate mutating func exchange(at offset: Int, _ exchange: (UInt32) throws -> UInt32) throws {
        let old = (0..<4).reduce(UInt32(0)) { $0 | UInt32(self[offset + $1]) << (8 * $1) }
        let new = try exchange(old)
        for byte in 0..<4 { self[offset + byte] = UInt8(truncatingIfNeeded: new >> (8 * byte)) }
    }

    fileprivate mutating func append<N: FixedWidthInteger>(number: N) {
        Swift.withUnsafeBytes(of: number.littleEndian) { append(contentsOf: $0) }
    }

    fileprivate mutating func append(text: some Collection<UInt8>) {
        append(number: UInt32(text.count))
        append(contentsOf: text)
    }
}

/// Takes one `tmpfs-N.stasis` apart, piece by piece; nothing in it is trusted. ``MemoryFileEntry`` draws it.
struct MemoryFileReader {
    /// What comes next. After a directory its content does, up to its end.
    enum Item {
        case entry(MemoryFileEntry)
        case end
    }

    private(set) var point = ""
    private let size: UInt64
    private let read: (PayloadPlace) throws -> [UInt8]
    private var offset: UInt64 = 0
    private var window: ArraySlice<UInt8> = []
    private(set) var depth = 0
    /// Of the file whose content comes next.
    private var open: MemoryFileEntry?
    private var numbers: UInt32 = 0
    /// Whether the file that came last has a name already.
    private(set) var isFurtherName = false
    private var hasBegun = false

    /// Directories in each other.
    static let deepest = 65_536

    /// - Parameter read: some bytes of the image.
    init(size: UInt64, read: @escaping (PayloadPlace) throws -> [UInt8]) throws {
        self.size = size
        self.read = read
        guard try number() as UInt32 == MemoryFileEntry.magic else { throw CheckpointError("is no such image") }
        point = try text(limit: 4096)
    }

    /// Passes over content that nobody has read. `nil` after the end of the mount point itself, where the image must end, too.
    mutating func next() throws -> Item? {
        try content { _, _ in }
        if hasBegun, depth == 0 {
            guard offset == size, window.isEmpty else { throw CheckpointError("goes on behind its end") }
            return nil
        }
        let mode: UInt32 = try number()
        if mode == 0, hasBegun {
            depth -= 1
            return .end
        }
        let entry = try entry(mode)
        hasBegun = true
        if entry.isDirectory {
            depth += 1
            guard depth <= Self.deepest else { throw CheckpointError("more than \(Self.deepest) directories in each other") }
        }
        if entry.isRegular, !isFurtherName { open = entry }
        return .entry(entry)
    }

    /// The pieces of the regular file that came last, unless it is a further name of one.
    mutating func content(_ body: (_ offset: UInt64, _ bytes: ArraySlice<UInt8>) throws -> Void) throws {
        guard let file = open else { return }
        while true {
            let count: UInt32 = try number()
            if count == 0 { break }
            let start: UInt64 = try number()
            guard count <= MemoryFileEntry.pieceSize, start <= UInt64(file.size),
                UInt64(count) <= UInt64(file.size) - start
            else { throw CheckpointError("\(file.name): content behind its end") }
            try body(start, try take(Int(count)))
        }
        open = nil
    }

    private mutating func entry(_ mode: UInt32) throws -> MemoryFileEntry {
        var status = stat()
        status.st_mode = mode
        (status.st_uid, status.st_gid) = (try number(), try number())
        func time(_ reader: inout Self) throws -> timespec {
            let (seconds, nanoseconds): (Int64, UInt64) = (try reader.number(), try reader.number())
            guard nanoseconds < 1_000_000_000 else { throw CheckpointError("a time that cannot be") }
            return timespec(tv_sec: Int(seconds), tv_nsec: Int(nanoseconds))
        }
        (status.st_atim, status.st_mtim) = (try time(&self), try time(&self))
        let length: UInt64 = try number()
        guard length < 1 << 46 else { throw CheckpointError("a size that cannot be") }
        var entry = MemoryFileEntry(name: try text(limit: 255), status)
        entry.size = Int(length)
        let bytes = entry.name.utf8
        guard hasBegun ? !bytes.isEmpty : bytes.isEmpty && entry.isDirectory,
            !bytes.contains(0), !bytes.contains(UInt8(ascii: "/")), entry.name != ".", entry.name != ".."
        else { throw CheckpointError("a name that leads elsewhere") }
        let kinds = [S_IFDIR, S_IFREG, S_IFLNK, S_IFIFO, S_IFSOCK].map { UInt32($0) }
        guard kinds.contains(mode & UInt32(S_IFMT)), mode >> 16 == 0 else {
            throw CheckpointError("\(entry.name): this kind of file (mode \(String(mode, radix: 8))) may not be there")
        }
        entry.number = try number()
        isFurtherName = entry.number > 0 && entry.number <= numbers
        if entry.number > numbers {
            guard entry.number == numbers + 1, !entry.isDirectory else {
                throw CheckpointError("\(entry.name): a link to no file")
            }
            numbers += 1
        }
        entry.target = try text(limit: 4095)
        guard !entry.target.utf8.contains(0) else { throw CheckpointError("\(entry.name): a target that cannot be") }
        try readAttributes(of: &entry)
        return entry
    }

    private mutating func readAttributes(of entry: inout MemoryFileEntry) throws {
        var total = 0
        for _ in 0..<(try number() as UInt32) {
            let name = try text(limit: 255)
            let value = Array(try bytes(limit: 64 << 10))
            total += name.utf8.count + value.count
            guard MemoryFileSystem.isCarried(name), !name.utf8.contains(0), total <= MemoryFileEntry.attributeLimit else {
                throw CheckpointError("\(entry.name): an attribute that may not be set")
            }
            entry.attributes.append((name, value))
        }
    }

    private mutating func number<N: FixedWidthInteger>() throws -> N {
        var value: N = 0
        for (index, byte) in try take(MemoryLayout<N>.size).enumerated() {
            value |= N(truncatingIfNeeded: byte) << (8 * index)
        }
        return value
    }

    private mutating func bytes(limit: Int) throws -> ArraySlice<UInt8> {
        let count: UInt32 = try number()
        guard count <= limit else { throw CheckpointError("a name or value of \(count) bytes") }
        return try take(Int(count))
    }

    private mutating func text(limit: Int) throws -> String {
        guard let text = String(validating: try bytes(limit: limit), as: UTF8.self) else {
            throw CheckpointError("a name that is not UTF-8")
        }
        return text
    }

    private mutating func take(_ count: Int) throws -> ArraySlice<UInt8> {
        if window.count < count {
            let missing = UInt64(count - window.count)
            guard size - offset >= missing else { throw CheckpointError("ends in the middle of an entry") }
            let more = max(missing, min(size - offset, UInt64(MemoryFileEntry.pieceSize)))
            window = (window + (try read(PayloadPlace(offset: offset, count: more))))[...]
            offset += more
        }
        defer { window = window.dropFirst(count) }
        return window.prefix(count)
    }
}

/// One `tmpfs-N.stasis`, looked over once and read again when its files are made.
final class MemoryFileImage {
    private let name: String
    private let file: RawImage
    private(set) var point = ""

    init(_ name: String, _ file: consuming RawImage) throws {
        self.name = name
        self.file = file
        var reader = try reader()
        while try reader.next() != nil {}
        point = reader.point
    }

    func reader() throws -> MemoryFileReader {
        try MemoryFileReader(size: file.size) { [unowned self] in try file.bytes($0, name) }
    }
}
