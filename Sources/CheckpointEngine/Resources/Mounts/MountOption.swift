import LinuxSystem

/// An option of a file system, as fsconfig(2) takes it: only of the types and kinds that a restore makes. None of them leads
/// to a device, to a server, or out of the container.
struct MountOption: Equatable {
    let key: String
    /// `nil` for a flag.
    let value: String?

    private enum Kind { case text, flag, user, group, paths }

    /// Ids are those that the container sees. What the kernel shows of the others' options is none that can be set.
    private static let types: [Substring: [Substring: Kind]?] = [
        "tmpfs": [
            "size": .text, "nr_inodes": .text, "mode": .text, "uid": .user, "gid": .group, "huge": .text, "mpol": .text,
            "inode32": .flag, "inode64": .flag, "noswap": .flag,
        ],
        "proc": ["hidepid": .text, "gid": .group, "subset": .text],
        "devpts": ["gid": .group, "mode": .text, "ptmxmode": .text, "max": .text],
        "overlay": [
            "lowerdir": .paths, "lowerdir+": .paths, "datadir+": .paths, "upperdir": .paths, "workdir": .paths,
            "xino": .text, "index": .text, "metacopy": .text, "redirect_dir": .text, "nfs_export": .text, "uuid": .text,
            "verity": .text, "volatile": .flag, "userxattr": .flag, "default_permissions": .flag,
        ],
        "sysfs": nil, "mqueue": nil, "cgroup2": nil,
    ]
    private static let superFlags: Set<Substring> = ["ro", "sync", "dirsync", "lazytime"]
    private static let meaningless: Set<Substring> = ["rw", "seclabel"]
    /// fsconfig(2) takes no longer text.
    private static let longest = 255

    /// Whether all mounts of a type in one namespace are of one file system.
    static func isShared(_ type: Substring) -> Bool { types[type].map { $0 == nil } ?? false }

    /// The options of the file system, without what says nothing.
    static func words(_ line: MountLine) -> Set<Substring> {
        Set(line.superOptions.split(separator: ",")).subtracting(meaningless)
    }

    /// What makes a file system like it.
    static func all(_ line: MountLine) throws -> [MountOption] {
        guard let known = types[line.type] else {
            throw CheckpointError("no restore makes one of this type")
        }
        // What all mounts of a namespace have is not set by one.
        guard let known else { return [] }
        return try line.superOptions.split(separator: ",").compactMap { try parse($0, known) }
    }

    /// What makes it of what it was. An option that is gone cannot be taken back.
    static func changes(_ old: MountLine, _ new: MountLine) throws -> [MountOption] {
        if words(old) == words(new) { return [] }
        guard let known = types[new.type], known != nil || isReadOnlyOnly(old, new) else {
            throw CheckpointError("no restore changes one of this type")
        }
        let (then, now) = (words(old), words(new))
        let keys = Set(now.map { $0.prefix { $0 != "=" } })
        if let gone = then.subtracting(now).first(where: { $0 != "ro" && !keys.contains($0.prefix { $0 != "=" }) }) {
            throw CheckpointError("no restore takes `\(gone)` away")
        }
        var options = try now.subtracting(then).sorted().compactMap { try parse($0, known ?? [:]) }
        if then.contains("ro"), !now.contains("ro") { options.append(MountOption(key: "rw", value: nil)) }
        return options
    }

    private static func isReadOnlyOnly(_ old: MountLine, _ new: MountLine) -> Bool {
        words(old).symmetricDifference(words(new)) == ["ro"]
    }

    private static func parse(_ word: Substring, _ known: [Substring: Kind]?) throws -> MountOption? {
        if meaningless.contains(word) { return nil }
        if superFlags.contains(word) { return MountOption(key: String(word), value: nil) }
        guard let known else { return nil }
        let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let value = parts.count == 2 ? unescaped(parts[1]) : nil
        guard let kind = known[parts[0]], (kind == .flag) == (value == nil) else {
            throw CheckpointError("no restore sets its option `\(word)`")
        }
        if let value {
            let suits =
                switch kind {
                case .user, .group: UInt32(value) != nil
                case .paths: layers(value).allSatisfy { $0.hasPrefix("/") }
                default: true
                }
            guard value.utf8.count <= longest, !value.utf8.contains(0), suits else {
                throw CheckpointError("its option `\(parts[0])` has a value that cannot be set")
            }
        }
        return MountOption(key: String(parts[0]), value: value)
    }

    /// A line's options with other ids.
    static func exchangingIDs(
        _ line: MountLine, user: (UInt32) -> UInt32, group: (UInt32) -> UInt32
    ) -> Substring {
        guard let table = types[line.type], let known = table else { return line.superOptions }
        return line.superOptions.split(separator: ",").map { word in
            let parts = word.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, let id = UInt32(parts[1]), let kind = known[parts[0]] else { return String(word) }
            switch kind {
            case .user: return "\(parts[0])=\(user(id))"
            case .group: return "\(parts[0])=\(group(id))"
            default: return String(word)
            }
        }.joined(separator: ",")[...]
    }

    /// The directories that an overlay is made of. A colon or backslash in a name has a backslash before it.
    static func layers(of line: MountLine) -> [String] {
        guard line.type == "overlay", let table = types[line.type], let known = table else { return [] }
        return line.superOptions.split(separator: ",").flatMap { word in
            let parts = word.split(separator: "=", maxSplits: 1)
            return parts.count == 2 && known[parts[0]] == .paths ? layers(unescaped(parts[1])) : []
        }
    }

    private static func layers(_ value: String) -> [String] {
        var (layers, isEscaped) = ([""], false)
        for character in value {
            if character == ":", !isEscaped {
                layers.append("")
            } else if character != "\\" || isEscaped {
                layers[layers.count - 1].append(character)
            }
            isEscaped = character == "\\" && !isEscaped
        }
        // `::` stands before layers of data alone.
        return layers.filter { !$0.isEmpty }
    }

    /// Whether the kernel shows it as it was set. Ids it shows as the host has them.
    func isShown(by line: MountLine) -> Bool {
        if key == "uid" || key == "gid" { return true }
        return line.superOptions.split(separator: ",").contains { word in
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return parts[0] == key && (parts.count == 2 ? unescaped(parts[1]) : nil) == value
        }
    }
}
