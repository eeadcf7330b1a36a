import LinuxSystem

/// What a container's program has done to its mounts since it started, as steps that do it again to mounts like those of
/// the start: take mounts away, make others, change some. Pure data, made of the two tables alone, at the checkpoint and
/// at the restore; what cannot be done again is refused by name. mount_namespaces(7).
struct MountChanges {
    /// A mount that was not there at the start.
    struct Made {
        let line: MountLine
        let origin: Origin
    }

    enum Origin {
        /// A file system of its own.
        case new([MountOption])
        /// A part of what another mount shows: one of the start by its id then, or one that was made by its id now.
        case start(Int, path: String)
        case made(Int, path: String)
    }

    /// Without those that come and go with the host's.
    let start: [MountLine]
    let now: [MountLine]
    /// For the ids of mounts that were there at the start: what they were.
    private(set) var kept: [Int: MountLine] = [:]
    /// Mounts of the start that are gone, those on others first.
    private(set) var removed: [MountLine] = []
    /// In an order in which each finds the place that it lies on, and nothing over it.
    private(set) var made: [Made] = []
    private(set) var changed: [(old: MountLine, new: MountLine)] = []
    private(set) var groups = MountGroups()
    /// Of both tables.
    static let most = 1000

    var isEmpty: Bool { removed.isEmpty && made.isEmpty && changed.isEmpty }

    /// - Parameter foreign: devices of what others have mounted.
    init(start: [MountLine], now: [MountLine], foreign: Set<String> = []) throws {
        for (lines, when) in [(start, "at the start"), (now, "now")] {
            guard lines.count <= Self.most else {
                throw CheckpointError("more than \(Self.most) mounts cannot be restored")
            }
            guard Set(lines.map(\.id)).count == lines.count, lines.filter({ $0.point == "/" }).count > 0 else {
                throw CheckpointError("its mounts \(when) are no tree")
            }
        }
        (self.start, self.now) = (start, now)
        let ordered = try Self.order(now)
        match(ordered)
        let keptThen = Set(kept.values.map(\.id))
        removed = try Self.order(start).filter { !keptThen.contains($0.id) }.reversed()
        if let root = removed.first(where: { $0.point == "/" && !start.map(\.id).contains($0.parent) }) {
            throw Self.refuse(
                root, "is the root of all that the container's program started with, and is not any more", "")
        }
        let changes = now.compactMap { line in kept[line.id].map { (old: $0, new: line) } }
        changed = changes.filter { Self.differ($0.old, $0.new) }
        for change in changed { try check(change.old, change.new) }
        let origins = try origins(of: ordered.filter { kept[$0.id] == nil }, foreign)
        made = try Self.order(ordered.filter { origins[$0.id] != nil }) { line in
            if case .made(let other, _)? = origins[line.id] { return [other] }
            // What an overlay is made of may lie on any of those that were there before it.
            let layers = MountOption.layers(of: line)
            return ordered.filter { other in
                other.id < line.id && layers.contains { $0 == other.point || Self.lies($0, beneath: other.point) }
            }.map(\.id)
        }.compactMap { line in origins[line.id].map { Made(line: line, origin: $0) } }
        groups = try MountGroups(of: self)
        for one in made { try checkPlace(of: one.line) }
        for line in removed {
            let parent = now.first { kept[$0.id]?.id == line.parent }
            if parent?.sharedGroup.map(groups.outside.contains) == true {
                throw Self.refuse(line, "was taken away from one that shares its mounts with others outside", "")
            }
        }
    }

    /// The mount of the start that a new one shows a part of.
    func source(of one: Made) -> MountLine? {
        guard case .start(let id, _) = one.origin else { return nil }
        return start.first { $0.id == id }
    }

    static func refuse(_ line: MountLine, _ what: String, _ remedy: String) -> CheckpointError {
        CheckpointError(
            "the mount of type \(line.type) at \(line.point) \(what)" + (remedy.isEmpty ? "" : "; \(remedy)"))
    }

    // MARK: Order

    static func lies(_ point: String, beneath other: String) -> Bool {
        other == "/" || point.hasPrefix(other + "/")
    }

    /// The order in which mounts can be attached: none before the one that it lies on, and of two that lie on the same one
    /// not the one first that would hide the other's place. Ids say nothing of it once a mount was moved.
    ///
    /// - Parameter others: mounts that must be there before.
    static func order(_ lines: [MountLine], after others: (MountLine) -> [Int] = { _ in [] }) throws -> [MountLine] {
        let ids = Set(lines.map(\.id))
        let siblings = Dictionary(grouping: lines, by: \.parent)
        let waits = Dictionary(
            uniqueKeysWithValues: lines.map { line in
                let beneath = siblings[line.parent, default: []].filter {
                    $0.id != line.id && $0.point != line.point && lies($0.point, beneath: line.point)
                }
                return (
                    line.id,
                    ([line.parent] + others(line) + beneath.map(\.id)).filter { ids.contains($0) && $0 != line.id }
                )
            })
        var (placed, ordered): (Set<Int>, [MountLine]) = ([], [])
        var waiting = lines.sorted { $0.id < $1.id }
        while let next = waiting.firstIndex(where: { waits[$0.id]?.allSatisfy(placed.contains) == true }) {
            let line = waiting.remove(at: next)
            placed.insert(line.id)
            ordered.append(line)
        }
        guard let left = waiting.first else { return ordered }
        throw refuse(left, "cannot be made before others that cannot be made before it", "unmount it")
    }

    // MARK: Comparison

    /// What makes two lines the same mount. The host may have removed the file or directory that is shown; at a restore
    /// config.json's source counts.
    struct Place: Hashable {
        let point: String
        let device: String
        let root: String

        init(_ line: MountLine) {
            (point, device) = (line.point, line.device)
            root = line.isDeleted ? String(line.root.dropLast("//deleted".count)) : line.root
        }
    }

    /// A mount that lies on another one than at the start is not the same.
    private mutating func match(_ ordered: [MountLine]) {
        var left = Dictionary(grouping: start, by: Place.init)
        let startIDs = Set(start.map(\.id))
        let nowIDs = Set(now.map(\.id))
        for line in ordered {
            let isTop = !nowIDs.contains(line.parent)
            let candidates = (left[Place(line)] ?? []).filter { old in
                isTop ? !startIDs.contains(old.parent) : kept[line.parent].map { $0.id == old.parent } == true
            }
            guard let old = candidates.first(where: { $0.id == line.id }) ?? candidates.first else { continue }
            left[Place(line)]?.removeAll { $0.id == old.id }
            kept[line.id] = old
        }
    }

    private static func differ(_ old: MountLine, _ new: MountLine) -> Bool {
        old.attributes != new.attributes || MountOption.words(old) != MountOption.words(new)
            || old.sharing != new.sharing
    }

    private func check(_ old: MountLine, _ new: MountLine) throws {
        func text(_ line: MountLine) -> String {
            let all: [Substring] = [
                line.options, line.superOptions, line.sharedGroup.map { "shared:\($0)" } ?? "",
                line.masterGroup.map { "master:\($0)" } ?? "", line.isUnbindable ? "unbindable" : "",
            ]
            return all.filter { !$0.isEmpty }.joined(separator: " ")
        }
        let what = "is `\(text(new))`, but was `\(text(old))` when the container's program started"
        do {
            _ = try MountOption.changes(old, new)
        } catch {
            throw Self.refuse(new, "\(what), and \(error)", "put what it is into config.json")
        }
        if isCovered(old.point, on: old) {
            throw Self.refuse(new, "\(what), and it lay beneath another mount then", "put what it is into config.json")
        }
    }

    /// Whether something of the start hides a place on a mount of the start.
    func isCovered(_ point: String, on line: MountLine) -> Bool {
        start.contains { $0.parent == line.id && ($0.point == point || Self.lies(point, beneath: $0.point)) }
    }

    // MARK: What is made

    static let madeLater = "was made after the container's program started"
    static let remedy = "unmount it, or put it into config.json"

    private func origins(of lines: [MountLine], _ foreign: Set<String>) throws -> [Int: Origin] {
        var origins: [Int: Origin] = [:]
        var tops: [String: Int] = [:]
        for line in lines where line.root == "/" && source(of: line, among: start) == nil && tops[line.device] == nil {
            tops[line.device] = line.id
        }
        for line in lines {
            guard !line.isDeleted else {
                throw Self.refuse(line, "\(Self.madeLater), of what has been removed since (\(line.root))", Self.remedy)
            }
            guard !line.isMapped else {
                throw Self.refuse(
                    line, "\(Self.madeLater), with ids of its own (idmapped), which no restore makes again", Self.remedy
                )
            }
            let source = source(of: line, among: start)
            // One of a namespace's only file system, under another name, was made and not bound.
            let isNamed = MountOption.isShared(line.type) && line.root == "/" && source?.source != line.source
            if let source, !isNamed {
                origins[line.id] = .start(source.id, path: Self.path(of: line, in: source))
            } else if let top = tops[line.device], top != line.id {
                origins[line.id] = .made(top, path: String(line.root.dropFirst()))
            } else if line.root == "/" {
                guard !foreign.contains(line.device) || MountOption.isShared(line.type) else {
                    throw Self.refuse(line, "\(Self.madeLater), by somebody outside of it", Self.remedy)
                }
                do { origins[line.id] = .new(try MountOption.all(line)) } catch {
                    throw Self.refuse(line, "\(Self.madeLater), and \(error)", Self.remedy)
                }
            } else {
                throw Self.refuse(
                    line, "\(Self.madeLater), of a part (\(line.root)) of what no other mount shows", Self.remedy)
            }
        }
        return origins
    }

    /// The mount that shows most nearly what a line shows; one that stays, if there is.
    private func source(of line: MountLine, among lines: [MountLine]) -> MountLine? {
        let gone = Set(removed.map(\.id))
        return lines.filter { other in
            other.device == line.device && !other.isDeleted && !other.isMapped
                && (other.root == line.root || Self.lies(line.root, beneath: other.root))
        }.max { first, second in
            let stays = (!gone.contains(first.id), !gone.contains(second.id))
            if stays.0 != stays.1 { return !stays.0 }
            return first.root.utf8.count < second.root.utf8.count
        }
    }

    private static func path(of line: MountLine, in source: MountLine) -> String {
        String(line.root.dropFirst(source.root == "/" ? 1 : source.root.count).drop { $0 == "/" })
    }

    /// Whether a restore can reach where it lies, and what it shows.
    private func checkPlace(of line: MountLine) throws {
        guard let parent = now.first(where: { $0.id == line.parent }) else {
            throw Self.refuse(line, "\(Self.madeLater), on a mount of the host's", Self.remedy)
        }
        guard parent.point == line.point || Self.lies(line.point, beneath: parent.point) else {
            throw Self.refuse(line, "\(Self.madeLater), and does not lie on the mount at \(parent.point)", Self.remedy)
        }
        guard parent.sharedGroup.map(groups.outside.contains) != true else {
            throw Self.refuse(
                line, "\(Self.madeLater), on one that shares its mounts with others outside (\(parent.point))",
                Self.remedy)
        }
        if kept[parent.id] != nil {
            let hides = now.first { other in
                kept[other.id] != nil && other.parent == parent.id
                    && (other.point == line.point || Self.lies(line.point, beneath: other.point))
            }
            if let hides {
                throw Self.refuse(line, "\(Self.madeLater), and lies beneath the one at \(hides.point)", Self.remedy)
            }
        } else if now.contains(where: { $0.id != line.id && $0.parent == parent.id && $0.point == line.point }) {
            throw Self.refuse(line, "\(Self.madeLater), beneath another one in the same place", Self.remedy)
        }
        guard case .start(let id, let path)? = made.first(where: { $0.line.id == line.id })?.origin,
            let source = start.first(where: { $0.id == id })
        else { return }
        let place = path.isEmpty ? source.point : source.point == "/" ? "/" + path : "\(source.point)/\(path)"
        guard !source.isUnbindable || changed.contains(where: { $0.old.id == id && !$0.new.isUnbindable }) else {
            throw Self.refuse(line, "\(Self.madeLater), of one that is unbindable (\(source.point))", Self.remedy)
        }
        guard !isCovered(place, on: source) else {
            throw Self.refuse(line, "\(Self.madeLater), of what lay beneath another mount then (\(place))", Self.remedy)
        }
        guard !removed.contains(where: { $0.id == id }) || path.isEmpty && !["tmpfs", "ramfs"].contains(source.type)
        else {
            throw Self.refuse(line, "\(Self.madeLater), of one that was taken away (\(source.point))", Self.remedy)
        }
    }
}
