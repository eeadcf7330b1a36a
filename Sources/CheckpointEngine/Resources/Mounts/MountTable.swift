import LinuxSystem

/// What a container had around it when its program started: made by config.json, by its hooks, and by whoever made the
/// namespaces that it joins, all of which happens again at a restore. What has changed since then is not among it.
package struct StartRecord: Sendable {
    /// /proc/PID/mountinfo
    package var mounts: String
    /// ``NetworkConfiguration/text(of:)``, from before a process had the right to change it; nil if none ever had, or if the
    /// namespace does not go with the container.
    package var network: String?
    /// Destinations of config.json's mounts, and of those that show what is mounted beneath their sources, too.
    package var destinations: Set<String>
    package var recursiveBinds: Set<String>

    package init(mounts: String, network: String?, destinations: Set<String>, recursiveBinds: Set<String>) {
        (self.mounts, self.network) = (mounts, network)
        (self.destinations, self.recursiveBinds) = (destinations, recursiveBinds)
    }
}

/// A container's mounts. config.json makes them, and what its program has changed since then is done again: else what was
/// mounted would be lost, what was made read-only would be writable again, what was taken away would come back. Here those
/// are left out that the host's mount namespace brings and takes by itself. mount_namespaces(7).
struct MountTable {
    private let lines: [MountLine]
    private let parents: [Int: MountLine]

    init(_ lines: [MountLine]) {
        self.lines = lines
        parents = Dictionary(lines.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// - Parameter host: the mounts that the engine sees; asked for if there is a difference.
    /// - Returns: `nil` if there is none, unless that is asked for.
    static func changes(
        _ now: String, since start: StartRecord, isAsked: Bool = false, host: () throws -> [MountLine]
    ) throws -> MountChanges? {
        if now == start.mounts, !isAsked { return nil }
        let before = MountTable(MountLine.all(in: start.mounts))
        let after = MountTable(MountLine.all(in: now))
        let host = MountTable(try host())
        let devices = Set(host.lines.map(\.device))
        var left = Dictionary(grouping: before.lines, by: MountChanges.Place.init)
        var own: [MountLine] = []
        for var line in after.lines {
            if let old = left[MountChanges.Place(line)]?.first {
                left[MountChanges.Place(line)]?.removeFirst()
                // A file system that the host has mounted, too, keeps its own options whatever becomes of the container.
                if devices.contains(line.device) { line.superOptions = old.superOptions }
                if after.isHostsDoing(line, old, host) { line.masterGroup = old.masterGroup }
            } else if after.isHosts(line, host, start.recursiveBinds) {
                continue
            }
            own.append(line)
        }
        let gone = Set(
            before.lines.filter { line in
                left[MountChanges.Place(line)]?.contains { $0.id == line.id } == true
                    && !start.destinations.contains(line.point) && before.wasHosts(line, host)
            }.map(\.id))
        let changes = try MountChanges(start: before.lines.filter { !gone.contains($0.id) }, now: own, foreign: devices)
        return changes.isEmpty && !isAsked ? nil : changes
    }

    /// Whether a mount came by itself from the host's mount namespace, and a bind of config.json will show it again: the
    /// host has one at the same place with which it shares its events, below another such pair.
    private func isHosts(_ line: MountLine, _ host: MountTable, _ binds: Set<String>) -> Bool {
        var line = line
        while let parent = parents[line.parent], host.hasPeer(of: line, below: parent) {
            if binds.contains(parent.point) { return true }
            line = parent
        }
        return false
    }

    /// Whether a mount that is gone had come from the host, where it is gone, too. Its group's number may be another's.
    private func wasHosts(_ line: MountLine, _ host: MountTable) -> Bool {
        guard line.group != nil, let parent = parents[line.parent], parent.group != nil else { return false }
        return !host.hasPeer(of: line, below: parent)
    }

    /// Whether a mount gets those of others than at the start since their group is gone in the host.
    private func isHostsDoing(_ line: MountLine, _ old: MountLine, _ host: MountTable) -> Bool {
        guard let master = old.masterGroup, line.masterGroup != master else { return false }
        return line.masterGroup.map { !has(group: $0) } ?? !host.has(group: master)
    }

    private func has(group: Substring) -> Bool { lines.contains { $0.sharedGroup == group } }

    private func hasPeer(of line: MountLine, below parent: MountLine) -> Bool {
        guard let group = line.group, let above = parent.group else { return false }
        return lines.contains { peer in
            guard peer.sharedGroup == group, let top = parents[peer.parent], top.sharedGroup == above else {
                return false
            }
            return peer.place(in: top) == line.place(in: parent)
        }
    }
}

extension MountLine {
    /// Whose mounts it gets.
    fileprivate var group: Substring? { masterGroup ?? sharedGroup }

    /// Where it is mounted, from the root of the file system that it is mounted on.
    fileprivate func place(in parent: MountLine) -> String {
        let below = parent.point == "/" ? point : String(point.dropFirst(parent.point.count))
        return parent.root == "/" ? below : parent.root + below
    }
}
