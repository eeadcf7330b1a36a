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
        bytes.append(integer: magic)
        bytes.append(text: point.utf8)
        return bytes
    }

    /// Of a directory, or of a file's content.
    static let end: [UInt8] = [0, 0, 0, 0]

    static func piece(_ bytes: ArraySlice<UInt8>, at offset: UInt64) -> [UInt8] {
        var piece: [UInt8] = []
        piece.append(integer: UInt32(bytes.count))
        piece.append(integer: offset)
        return piece + bytes
    }

    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        for number in [mode, user, group] { bytes.append(integer: number) }
        for time in [times.access, times.modification] {
            bytes.append(integer: Int64(time.tv_sec))
            bytes.append(integer: UInt64(time.tv_nsec))
        }
        bytes.append(integer: UInt64(size))
        bytes.append(text: name.utf8)
        bytes.append(integer: number)
        bytes.append(text: target.utf8)
        bytes.append(integer: UInt32(attributes.count))
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
}

extension [UInt8] {
    fileprivate mutating func exchange(at offset: Int, _ exchange: (UInt32) throws -> UInt32) throws {
        let old = (0..<4).reduce(UInt32(0)) { $0 | UInt32(self[offset + $1]) << (8 * $1) }
        let new = try exchange(old)
        for byte in 0..<4 { self[offset + byte] = UInt8(truncatingIfNeeded: new >> (8 * byte)) }
    }

    fileprivate mutating func append(text: some Collection<UInt8>) {
        append(integer: UInt32(text.count))
        append(contentsOf: text)
    }
}
