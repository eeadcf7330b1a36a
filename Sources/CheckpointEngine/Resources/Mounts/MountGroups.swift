/// With which others a mount shares what is mounted on it, and from which it gets that: numbers of peer groups, as mountinfo
/// has them. mount_namespaces(7).
struct MountSharing: Equatable {
    var shared: Substring?
    var master: Substring?
    var isUnbindable = false

    /// What is left of it, by calls that take away alone, in a mount of this one's that is to become another.
    func left(in wanted: MountSharing) -> MountSharing {
        if self == wanted { return self }
        if shared != nil, wanted.shared == shared { return MountSharing(shared: shared, master: master) }
        if let shared, wanted.master == shared { return MountSharing(master: shared) }
        return MountSharing(master: shared == nil && wanted.master == master ? master : nil)
    }
}

extension MountLine {
    var sharing: MountSharing {
        MountSharing(shared: sharedGroup, master: masterGroup, isUnbindable: isUnbindable)
    }
}

/// The peer groups that the container's program has made (`mount --make-shared`). Those in which mounts of the start were
/// are **outside**: config.json makes them, or the host has them.
///
/// A restore makes these groups when all mounts are there, so that none that it makes appears at others. Where a group has
/// several mounts, or slaves, all of them get it from a first one (MOVE_MOUNT_SET_GROUP, move_mount(2)): a copy,
/// attached nowhere, of a mount that shows all that they show.
struct MountGroups {
    struct Group {
        let number: Substring
        let master: Substring?
        /// The mount that is copied, by its id now; `nil` for a group of one mount.
        let seed: Int?
    }

    private(set) var outside: Set<Substring> = []
    /// None before the one whose slaves its mounts are.
    private(set) var all: [Group] = []

    init() {}

    init(of changes: MountChanges) throws {
        outside = Set(changes.start.flatMap { [$0.sharedGroup, $0.masterGroup] }.compactMap(\.self))
        let now = changes.now
        let left = Self.left(changes)
        let inside = now.filter { $0.sharedGroup.map(outside.contains) == false }
        let members = Dictionary(grouping: inside, by: { $0.sharedGroup ?? "" })
        for line in now {
            do { try check(line, left[line.id] ?? MountSharing(), members) } catch {
                let before = changes.kept[line.id] == nil ? "\(MountChanges.madeLater), and " : ""
                throw MountChanges.refuse(line, "\(before)\(error)", "make it private, or unmount it")
            }
        }
        let order = try order(members)
        var roots: [Substring: [String]] = [:]
        for number in order.reversed() {
            let slaves = now.filter { $0.masterGroup == number }
            let beneath = slaves.flatMap { line in [line.root] + (line.sharedGroup.flatMap { roots[$0] } ?? []) }
            roots[number] = members[number, default: []].map(\.root) + beneath
        }
        for number in order {
            guard let first = members[number]?.first else { continue }
            let master = first.masterGroup
            var seed = all.first { $0.number == master }?.seed
            if seed == nil, roots[number, default: []].count > 1 {
                let shown = roots[number, default: []]
                seed =
                    now.first { line in
                        line.device == first.device && !line.isDeleted && !line.isMapped
                            && shown.allSatisfy { $0 == line.root || MountChanges.lies($0, beneath: line.root) }
                            && left[line.id]?.isUnbindable == false
                            && (master == nil || left[line.id] == MountSharing(master: master))
                            && changes.kept[line.id].map { !changes.isCovered($0.point, on: $0) } ?? true
                    }?.id
                guard seed != nil else {
                    throw MountChanges.refuse(
                        first, "shares its mounts with others, and none shows all that they show (\(shown))",
                        "make it private")
                }
            }
            all.append(Group(number: number, master: master, seed: seed))
        }
    }

    subscript(number: Substring?) -> Group? { all.first { $0.number == number } }

    /// What each mount has of others before groups are made.
    private static func left(_ changes: MountChanges) -> [Int: MountSharing] {
        var left: [Int: MountSharing] = [:]
        for line in changes.now {
            left[line.id] = changes.kept[line.id]?.sharing.left(in: line.sharing)
        }
        for one in changes.made {
            left[one.line.id] = changes.source(of: one)?.sharing.left(in: one.line.sharing) ?? MountSharing()
        }
        return left
    }

    private func check(_ line: MountLine, _ left: MountSharing, _ members: [Substring: [MountLine]]) throws {
        guard !line.isUnbindable || line.sharedGroup == nil && line.masterGroup == nil else {
            throw CheckpointError("is unbindable and shares its mounts, which cannot be")
        }
        if let shared = line.sharedGroup, outside.contains(shared), left.shared != shared {
            throw CheckpointError("is shared with mounts outside with which config.json does not share it")
        }
        guard let master = line.masterGroup else { return }
        if outside.contains(master) || members[master] == nil {
            guard left.master == master else {
                throw CheckpointError("gets the mounts of others that are not in the container")
            }
        } else if members[master]?.first?.device != line.device {
            throw CheckpointError("gets the mounts of one that shows another file system")
        }
        if left.shared == line.sharedGroup, left.shared != nil, left.master != master {
            throw CheckpointError("gets the mounts of others than its peers do")
        }
    }

    private func order(_ members: [Substring: [MountLine]]) throws -> [Substring] {
        var ordered: [Substring] = []
        var waiting = members.sorted { $0.key < $1.key }
        while let next = waiting.firstIndex(where: { _, lines in
            lines[0].masterGroup.map { members[$0] == nil || ordered.contains($0) } ?? true
        }) {
            let (number, lines) = waiting.remove(at: next)
            let first = lines[0]
            if let other = lines.first(where: { $0.masterGroup != first.masterGroup || $0.device != first.device }) {
                throw MountChanges.refuse(other, "is no peer of those in its group", "make it private")
            }
            ordered.append(number)
        }
        if let left = waiting.first?.value.first {
            throw MountChanges.refuse(left, "gets the mounts of one that gets its own", "make it private")
        }
        return ordered
    }
}
