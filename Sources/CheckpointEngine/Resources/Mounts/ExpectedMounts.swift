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

    /// What is not as it should be. A mount that shares its events with others may have come or gone with the host's.
    func difference(_ table: String) -> String? {
        let found = ExpectedMounts(table).lines
        for line in found.values.sorted(by: { $0.id < $1.id }) {
            let what = "the mount of type \(line.type) at \(line.point)"
            guard let wanted = lines[line.id] else {
                if line.sharedGroup != nil || line.masterGroup != nil { continue }
                return "\(what), which nobody has asked for"
            }
            let isSame =
                line.parent == wanted.parent && line.point == wanted.point && line.device == wanted.device
                && line.type == wanted.type && MountChanges.Place(line).root == MountChanges.Place(wanted).root
            guard isSame else { return "\(what) in the place of the one of type \(wanted.type) at \(wanted.point)" }
            guard line.attributes == wanted.attributes, line.isUnbindable == wanted.isUnbindable,
                (line.sharedGroup != nil) == (wanted.sharedGroup != nil)
            else { return "\(what) with `\(line.options)` instead of `\(wanted.options)`" }
            if let option = options[line.id]?.first(where: { !$0.isShown(by: line) }) {
                return "\(what) without its option \(option.key)"
            }
        }
        let gone = lines.values.filter { found[$0.id] == nil && $0.sharedGroup == nil && $0.masterGroup == nil }
        return gone.map { "no mount of type \($0.type) at \($0.point)" }.min()
    }
}
