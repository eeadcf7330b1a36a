import LinuxSystem

/// What a container had around it when its program started: made by config.json, by its hooks, and by whoever made the
/// namespaces that it joins, all of which happens again at a restore. What has changed since then does not.
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

/// A container's mounts. They are not carried over: config.json makes them. So a checkpoint is refused if they are not
/// those with which the program started: what was mounted since then would be lost, what was made read-only would be
/// writable again, what was taken away would come back. mount_namespaces(7).
struct MountTable {
    private let lines: [MountLine]
    private let parents: [Int: MountLine]

    init(_ lines: [MountLine]) {
        self.lines = lines
        parents = Dictionary(lines.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// - Parameter host: the mounts that the engine sees; asked for if there is a difference.
    static func verify(_ now: String, since start: StartRecord, host: () throws -> [MountLine]) throws {
        if now == start.mounts { return }
        let before = MountTable(MountLine.all(in: start.mounts))
        let after = MountTable(MountLine.all(in: now))
        let host = MountTable(try host())
        let devices = Set(host.lines.map(\.device))
        var left = Dictionary(grouping: before.lines, by: Place.init)
        for line in after.lines {
            guard let old = left[Place(line)]?.first else {
                if after.isHosts(line, host, start.recursiveBinds) { continue }
                throw CheckpointError(
                    "the mount of type \(line.type) at \(line.point) was made after the container's program started, and "
                        + "no restore would make it; unmount it, or put it into config.json")
            }
            left[Place(line)]?.removeFirst()
            let (now, then) = (line.attributes(devices), old.attributes(devices))
            guard now == then else {
                throw CheckpointError(
                    "the mount of type \(line.type) at \(line.point) is `\(now)`, but was `\(then)` when the container's "
                        + "program started, as a restore would make it again; put what it is into config.json")
            }
        }
        for line in before.lines where left[Place(line)]?.isEmpty == false {
            if !start.destinations.contains(line.point), before.wasHosts(line, host) { continue }
            throw CheckpointError(
                "the mount of type \(line.type) at \(line.point), which the container's program started with, is gone, and "
                    + "a restore would make it again; take it out of config.json")
        }
    }

    /// What makes two lines the same mount. The host may have removed the file or directory that is shown; at a restore
    /// config.json's source counts.
    private struct Place: Hashable {
        let point: String
        let device: String
        let root: String

        init(_ line: MountLine) {
            (point, device) = (line.point, line.device)
            root = line.root.hasSuffix("//deleted") ? String(line.root.dropLast("//deleted".count)) : line.root
        }
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

    /// What can be changed about a mount. A file system that the host has mounted, too, keeps its own options whatever
    /// becomes of the container. Whether the host is still the master of a mount is up to the host.
    fileprivate func attributes(_ hostDevices: Set<String>) -> String {
        var all = [options]
        if !hostDevices.contains(device) { all.append(superOptions) }
        if sharedGroup != nil { all.append("shared") }
        if isUnbindable { all.append("unbindable") }
        return all.filter { !$0.isEmpty }.joined(separator: " ")
    }
}
