import LinuxSystem

/// The options of one entry of config.json's `mounts`, sorted by what they act on.
struct MountOptions: Equatable {
    struct Propagation: Equatable {
        var kind: MountPropagation
        var recursive: Bool
    }

    struct Parameter: Equatable {
        var key: String
        var value: String?
    }

    var isBind = false
    var isRecursiveBind = false
    /// Changes to the mount itself, and with an `r` in front to all mounts below it too.
    var attributes = MountAttributeChange()
    var recursiveAttributes = MountAttributeChange()
    var propagation: [Propagation] = []
    /// What the file system is asked for.
    var parameters: [Parameter] = []
    var copiesUp = false

    var isReadOnly: Bool { attributes.set.contains(.readOnly) }

    init(_ options: [String]) {
        for option in options { add(option) }
    }

    private mutating func add(_ option: String) {
        if let change = Self.attributeOptions[option] {
            apply(change, to: &attributes)
            if option == "ro" { parameters.append(Parameter(key: "ro")) }
            return
        }
        if option.hasPrefix("r"), let change = Self.attributeOptions[String(option.dropFirst())] {
            // Of a tree, whose mounts have different modes, the kernel clears the access time modes together.
            let isMode = ["ratime", "rnorelatime", "rnostrictatime"].contains(option)
            return apply(isMode ? MountAttributeChange(clear: .accessTimeMask) : change, to: &recursiveAttributes)
        }
        if let kind = Self.propagations[option] { return propagation.append(Propagation(kind: kind, recursive: false)) }
        if option.hasPrefix("r"), let kind = Self.propagations[String(option.dropFirst())] {
            return propagation.append(Propagation(kind: kind, recursive: true))
        }
        switch Keyword(rawValue: option) {
        case .bind: isBind = true
        case .rbind: (isBind, isRecursiveBind) = (true, true)
        case .tmpcopyup: copiesUp = true
        case .idmap, .ridmap: break  // see IDMappedMount
        case nil where Self.ignored.contains(option) || option.isEmpty: break
        case nil:
            let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            parameters.append(Parameter(key: String(parts[0]), value: parts.count == 2 ? String(parts[1]) : nil))
        }
    }

    private func apply(_ option: MountAttributeChange, to change: inout MountAttributeChange) {
        change.set.subtract(option.clear)
        change.set.formUnion(option.set)
        // The access time field stays in `clear`: the kernel wants it cleared as a whole before a mode is set.
        change.clear.subtract(option.set.subtracting(.accessTimeMask))
        change.clear.formUnion(option.clear)
    }

    private static let propagations: [String: MountPropagation] = [
        "private": .private, "slave": .slave, "shared": .shared, "unbindable": .unbindable,
    ]

    private enum Keyword: String, CaseIterable {
        case bind, rbind, tmpcopyup, idmap, ridmap
    }

    /// What asks for nothing: defaults, and flags that no file system of today heeds.
    private static let ignored: Set<String> = [
        "defaults", "remount", "async", "nolazytime", "iversion", "noiversion", "mand", "nomand", "loud", "silent",
        "acl",
        "noacl", "copy-symlink",
    ]

    /// Flags that every file system takes as they are. fsconfig(2).
    private static let passedOn = ["sync", "dirsync", "lazytime"]

    /// Every option that is honoured whatever the file system is.
    static var names: [String] {
        let recursive = [Array(attributeOptions.keys), Array(propagations.keys)].joined()
        let harmless = ignored.subtracting(["copy-symlink"])
        let keywords = Keyword.allCases.map(\.rawValue)
        return (keywords + harmless + passedOn + recursive + recursive.map { "r" + $0 }).sorted()
    }

    private static let attributeOptions: [String: MountAttributeChange] = [
        "ro": MountAttributeChange(set: .readOnly),
        "rw": MountAttributeChange(clear: .readOnly),
        "nosuid": MountAttributeChange(set: .noSetuid),
        "suid": MountAttributeChange(clear: .noSetuid),
        "nodev": MountAttributeChange(set: .noDevices),
        "dev": MountAttributeChange(clear: .noDevices),
        "noexec": MountAttributeChange(set: .noExecute),
        "exec": MountAttributeChange(clear: .noExecute),
        "nodiratime": MountAttributeChange(set: .noDirectoryAccessTime),
        "diratime": MountAttributeChange(clear: .noDirectoryAccessTime),
        "nosymfollow": MountAttributeChange(set: .noFollowSymlinks),
        "symfollow": MountAttributeChange(clear: .noFollowSymlinks),
        "noatime": MountAttributeChange(set: .noAccessTime, clear: .accessTimeMask),
        "strictatime": MountAttributeChange(set: .strictAccessTime, clear: .accessTimeMask),
        "relatime": MountAttributeChange(clear: .accessTimeMask),
        "atime": MountAttributeChange(clear: .noAccessTime),
        "nostrictatime": MountAttributeChange(clear: .strictAccessTime),
        // What is without it has the kernel's default, which is it.
        "norelatime": MountAttributeChange(),
    ]
}
