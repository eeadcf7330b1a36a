import LinuxSystem

/// The mounts that a restored container is to have, by their ids here, and what its table is held against before anything of
/// the container runs.
struct ExpectedMounts {
    var lines: [Int: MountLine] = [:]
    /// What file systems that were made or changed were asked for.
    var options: [Int: [MountOption]] = [:]

    init() {}

    init(_ table: String) {
        lines = Dictionary(MountLine.all(in: table).map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// A peer group that was made here, by its number in the image. Others have the number that the kernel has given them.
    static func madeGroup(_ number: Substring) -> Substring { "made \(number)" }

    /// What is not as it should be.
    func difference(_ table: String) -> String? {
        let found = ExpectedMounts(table).lines
        var groups = Pairs()
        for line in found.values.sorted(by: { $0.id < $1.id }) {
            let what = "the mount of type \(line.type) at \(line.point)"
            guard let wanted = lines[line.id] else {
                if comesFromOutside(line, found) { continue }
                return "\(what), which nobody has asked for"
            }
            let isSame =
                line.parent == wanted.parent && line.point == wanted.point && line.device == wanted.device
                && line.type == wanted.type && MountChanges.Place(line).root == MountChanges.Place(wanted).root
            guard isSame else { return "\(what) in the place of the one of type \(wanted.type) at \(wanted.point)" }
            guard line.attributes == wanted.attributes, line.isUnbindable == wanted.isUnbindable else {
                return "\(what) with `\(line.options)` instead of `\(wanted.options)`"
            }
            guard groups.match(wanted.sharedGroup, line.sharedGroup),
                // The host may have taken it away.
                wanted.isSlaveOfOutside && line.masterGroup == nil || groups.match(wanted.masterGroup, line.masterGroup)
            else { return "\(what) in other groups of peers than it should be" }
            if let option = options[line.id]?.first(where: { !$0.isShown(by: line) }) {
                return "\(what) without its option \(option.key)"
            }
        }
        let gone = lines.values.filter { found[$0.id] == nil && !$0.sharesWithOutside }
        return gone.map { "no mount of type \($0.type) at \($0.point)" }.min()
    }

    /// Whether a mount that nobody has asked for lies on one that gets those of the host.
    private func comesFromOutside(_ line: MountLine, _ found: [Int: MountLine]) -> Bool {
        var line = line
        while line.sharedGroup != nil || line.masterGroup != nil {
            if let parent = lines[line.parent] { return parent.sharesWithOutside }
            guard let above = found[line.parent], above.id != line.id else { return false }
            line = above
        }
        return false
    }

    /// Numbers of groups there and here, of which none is that of two.
    private struct Pairs {
        private var found: [Substring: Substring] = [:]
        private var wanted: [Substring: Substring] = [:]

        mutating func match(_ one: Substring?, _ other: Substring?) -> Bool {
            guard let one, let other else { return one == nil && other == nil }
            if found[one] == nil, wanted[other] == nil { (found[one], wanted[other]) = (other, one) }
            return found[one] == other && wanted[other] == one
        }
    }
}

extension MountLine {
    private static func isOutside(_ group: Substring?) -> Bool {
        group.map { !$0.hasPrefix(ExpectedMounts.madeGroup("")) } ?? false
    }

    fileprivate var isSlaveOfOutside: Bool { Self.isOutside(masterGroup) }
    fileprivate var sharesWithOutside: Bool { Self.isOutside(sharedGroup) || Self.isOutside(masterGroup) }
}
