import CheckpointImages
import LinuxSystem

// A line of mountinfo as CRIU's image entry, and back. Nothing in an entry is trusted.
extension MountLine {
    private static let types: [Substring: Fstype] = [
        "proc": .proc, "sysfs": .sysfs, "devtmpfs": .devtmpfs, "tmpfs": .tmpfs, "devpts": .devpts, "cgroup": .cgroup,
        "mqueue": .mqueue, "overlay": .overlayfs, "cgroup2": .cgroup2,
    ]
    /// MS_ of mount(2): of a mount, and of a file system.
    private static let flags: [(word: Substring, flag: UInt32)] = [
        ("ro", 0x1), ("nosuid", 0x2), ("nodev", 0x4), ("noexec", 0x8), ("noatime", 0x400), ("nodiratime", 0x800),
        ("relatime", 0x20_0000), ("nosymfollow", 0x100),
    ]
    private static let superFlags: [(word: Substring, flag: UInt32)] = [
        ("ro", 0x1), ("sync", 0x10), ("dirsync", 0x80), ("mand", 0x40), ("lazytime", 0x200_0000),
    ]
    private static let propagation: (unbindable: UInt32, private: UInt32, slave: UInt32, shared: UInt32) = (
        0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000
    )

    /// - Parameter isOutside: whether config.json makes it.
    func entry(isOutside: Bool) -> MntEntry {
        let words = superOptions.split(separator: ",")
        return MntEntry.with {
            $0.fstype = UInt32((Self.types[type] ?? .auto).rawValue)
            $0.fsname = String(type)
            $0.mntID = UInt32(truncatingIfNeeded: id)
            let numbers = device.split(separator: ":").compactMap { UInt32($0) }
            $0.rootDev = numbers.count == 2 ? numbers[0] << 20 | numbers[1] : 0
            $0.parentMntID = UInt32(truncatingIfNeeded: parent)
            $0.flags = Self.set(options.split(separator: ","), Self.flags)
            $0.flags |= sharedGroup != nil ? Self.propagation.shared : masterGroup != nil ? Self.propagation.slave : 0
            if isUnbindable { $0.flags |= Self.propagation.unbindable }
            if $0.flags >> 17 & 0xf == 0 { $0.flags |= Self.propagation.private }
            $0.root = root
            $0.mountpoint = point
            $0.source = source
            $0.sbFlags = Self.set(words, Self.superFlags)
            let known = Set(Self.superFlags.map(\.word) + ["rw"])
            $0.options = words.filter { !known.contains($0) }.joined(separator: ",")
            if let sharedGroup { $0.sharedID = UInt32(sharedGroup) ?? 0 }
            if let masterGroup { $0.masterID = UInt32(masterGroup) ?? 0 }
            $0.extMount = isOutside
        }
    }

    private static func set(_ words: [Substring], _ table: [(word: Substring, flag: UInt32)]) -> UInt32 {
        table.reduce(0) { words.contains($1.word) ? $0 | $1.flag : $0 }
    }

    private static func words(_ set: UInt32, _ table: [(word: Substring, flag: UInt32)]) -> [Substring] {
        (set & 1 == 0 ? ["rw"] : []) + table.filter { set & $0.flag != 0 }.map(\.word)
    }

    init(_ entry: MntEntry) throws {
        for (text, limit) in [
            (entry.root, 4096), (entry.mountpoint, 4096), (entry.source, 4096), (entry.options, 65536),
        ] {
            guard text.utf8.count <= limit, !text.utf8.contains(0) else {
                throw CheckpointError("mount \(entry.mntID): a text that cannot be")
            }
        }
        for path in [entry.root, entry.mountpoint] {
            let parts = path.split(separator: "/")
            guard path.hasPrefix("/"), !parts.contains("."), !parts.contains(".."),
                path == "/" || path == "/" + parts.joined(separator: "/") || path.hasSuffix("//deleted")
            else { throw CheckpointError("mount \(entry.mntID): `\(path)` is no path from the root") }
        }
        let superWords = Self.words(entry.sbFlags, Self.superFlags) + entry.options.split(separator: ",")
        self.init(
            id: Int(entry.mntID), parent: Int(entry.parentMntID),
            device: "\(entry.rootDev >> 20):\(entry.rootDev & 0xf_ffff)", root: entry.root, point: entry.mountpoint,
            options: Self.words(entry.flags, Self.flags).joined(separator: ",")[...],
            superOptions: superWords.joined(separator: ",")[...], type: entry.fsname[...], source: entry.source,
            sharedGroup: entry.sharedID > 0 ? "\(entry.sharedID)" : nil,
            masterGroup: entry.masterID > 0 ? "\(entry.masterID)" : nil,
            isUnbindable: entry.flags & Self.propagation.unbindable != 0)
    }

    /// What binds the mount itself.
    var attributes: MountAttributes {
        let words = options.split(separator: ",")
        var set: MountAttributes = []
        let known: [(Substring, MountAttributes)] = [
            ("ro", .readOnly), ("nosuid", .noSetuid), ("nodev", .noDevices), ("noexec", .noExecute),
            ("noatime", .noAccessTime), ("nodiratime", .noDirectoryAccessTime), ("nosymfollow", .noFollowSymlinks),
        ]
        for (word, attribute) in known where words.contains(word) { set.insert(attribute) }
        if !words.contains("noatime"), !words.contains("relatime") { set.insert(.strictAccessTime) }
        return set
    }

    var isMapped: Bool { options.split(separator: ",").contains("idmapped") }

    /// Whether what was bound has been removed since.
    var isDeleted: Bool { root.hasSuffix("//deleted") }
}

extension MountAttributes {
    /// Of the mount that an open file is on. fstatvfs(3).
    init(of file: CInt) throws {
        var status = statvfs()
        try system("attributes of a mount") { fstatvfs(file, &status) }
        let flags = UInt(status.f_flag)
        self = []
        let known: [(UInt, MountAttributes)] = [
            (0x1, .readOnly), (0x2, .noSetuid), (0x4, .noDevices), (0x8, .noExecute), (0x400, .noAccessTime),
            (0x800, .noDirectoryAccessTime), (0x2000, .noFollowSymlinks),
        ]
        for (flag, attribute) in known where flags & flag != 0 { insert(attribute) }
        if flags & 0x400 == 0, flags & 0x1000 == 0 { insert(.strictAccessTime) }
    }
}
