import CheckpointImages
import LinuxSystem

/// One file of a tmpfs, as `tmpfs-N.stasis` has it. All numbers are little-endian; a text is its length in a u32, then
/// its bytes.
///
/// ```
/// magic u32 | mount point text | entry*
/// entry: mode u32 | uid u32 | gid u32 | access and modification time: seconds i64, nanoseconds u64 each | size u64
///        path text (from the mount point, empty for itself) | number of an earlier entry that is the same file, or −1, u32
///        target text (of a symbolic link)
///        attributes u32 { name text, value text }*  extents u32 { offset u64, bytes text }*
/// ```
struct MemoryFileEntry {
    static let magic: UInt32 = 0x5354_4d46

    var path: String
    var mode: UInt32
    var user: UInt32
    var group: UInt32
    var times: (access: timespec, modification: timespec)
    var size: Int
    var link: UInt32?
    var target = ""
    var attributes: [(name: String, value: [UInt8])] = []
    var extents: [(offset: UInt64, bytes: ArraySlice<UInt8>)] = []

    var isDirectory: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFDIR) }
    var isRegular: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFREG) }

    init(path: String, _ status: stat) {
        self.path = path
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

    func append(to bytes: inout [UInt8]) {
        for number in [mode, user, group] { bytes.append(number: number) }
        for time in [times.access, times.modification] {
            bytes.append(number: Int64(time.tv_sec))
            bytes.append(number: UInt64(time.tv_nsec))
        }
        bytes.append(number: UInt64(size))
        bytes.append(text: path.utf8)
        bytes.append(number: link ?? .max)
        bytes.append(text: target.utf8)
        bytes.append(number: UInt32(attributes.count))
        for (name, value) in attributes {
            bytes.append(text: name.utf8)
            bytes.append(text: value)
        }
        bytes.append(number: UInt32(extents.count))
        for (offset, content) in extents {
            bytes.append(number: offset)
            bytes.append(text: content)
        }
    }

    /// - Parameter earlier: the entries before this one.
    fileprivate init(_ reader: inout ByteReader, earlier: [MemoryFileEntry]) throws {
        (mode, user, group) = (try reader.number(), try reader.number(), try reader.number())
        func time() throws -> timespec {
            let (seconds, nanoseconds): (Int64, UInt64) = (try reader.number(), try reader.number())
            guard nanoseconds < 1_000_000_000 else { throw CheckpointError("a time that cannot be") }
            return timespec(tv_sec: Int(seconds), tv_nsec: Int(nanoseconds))
        }
        times = (try time(), try time())
        let length: UInt64 = try reader.number()
        path = try reader.text()
        let first: UInt32 = try reader.number()
        target = try reader.text()
        guard length < 1 << 46, path.utf8.count < 4096, target.utf8.count < 4096, !target.utf8.contains(0) else {
            throw CheckpointError("a size or name that cannot be")
        }
        size = Int(length)
        // The mount point itself comes first, and only there.
        let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        let isName = parts.allSatisfy { part in
            !part.isEmpty && part.count < 256 && !part.contains(0) && String(part) != "." && String(part) != ".."
        }
        guard path.isEmpty ? earlier.isEmpty && isDirectory : isName && !earlier.isEmpty else {
            throw CheckpointError("a path that leads elsewhere")
        }
        let kinds = [S_IFDIR, S_IFREG, S_IFLNK, S_IFIFO, S_IFSOCK].map { UInt32($0) }
        guard kinds.contains(mode & UInt32(S_IFMT)), mode >> 16 == 0 else {
            throw CheckpointError("\(path): this kind of file (mode \(String(mode, radix: 8))) may not be there")
        }
        if first != .max {
            guard Int(first) < earlier.count, !earlier[Int(first)].isDirectory else {
                throw CheckpointError("\(path): a link to no file")
            }
            link = first
        }
        let attributeCount: UInt32 = try reader.number()
        for _ in 0..<attributeCount {
            let (name, value) = (try reader.text(), try reader.bytes())
            guard MemoryFileSystem.isCarried(name), !name.utf8.contains(0) else {
                throw CheckpointError("\(path): an attribute that may not be set")
            }
            attributes.append((name, Array(value)))
        }
        let extentCount: UInt32 = try reader.number()
        for _ in 0..<extentCount {
            let offset: UInt64 = try reader.number()
            let content = try reader.bytes()
            guard isRegular, offset <= length, UInt64(content.count) <= length - offset else {
                throw CheckpointError("\(path): content behind its end")
            }
            extents.append((offset, content))
        }
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

/// The content of one `tmpfs-N.stasis`, read and looked over.
struct MemoryFileTree {
    let point: String
    let entries: [MemoryFileEntry]

    init(point: String, entries: [MemoryFileEntry]) { (self.point, self.entries) = (point, entries) }

    init(_ bytes: [UInt8]) throws {
        var reader = ByteReader(rest: bytes[...])
        guard try reader.number() as UInt32 == MemoryFileEntry.magic else { throw CheckpointError("is no such image") }
        point = try reader.text()
        var entries: [MemoryFileEntry] = []
        while !reader.rest.isEmpty { entries.append(try MemoryFileEntry(&reader, earlier: entries)) }
        guard !entries.isEmpty else { throw CheckpointError("has no files in it") }
        self.entries = entries
    }
}

/// Takes numbers and texts from untrusted bytes.
private struct ByteReader {
    var rest: ArraySlice<UInt8>

    mutating func number<N: FixedWidthInteger>() throws -> N {
        let size = MemoryLayout<N>.size
        guard rest.count >= size else { throw CheckpointError("ends in the middle of an entry") }
        var value: N = 0
        for (index, byte) in rest.prefix(size).enumerated() { value |= N(truncatingIfNeeded: byte) << (8 * index) }
        rest = rest.dropFirst(size)
        return value
    }

    mutating func bytes() throws -> ArraySlice<UInt8> {
        let count: UInt32 = try number()
        guard rest.count >= Int(count) else { throw CheckpointError("ends in the middle of an entry") }
        defer { rest = rest.dropFirst(Int(count)) }
        return rest.prefix(Int(count))
    }

    mutating func text() throws -> String {
        let bytes = try bytes()
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw CheckpointError("a name that is not UTF-8")
        }
        return text
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
