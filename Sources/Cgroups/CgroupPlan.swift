import LinuxSystem
import OCISpec

// Where a container's cgroups will be.
extension CgroupSet {
    /// Decides where a container's cgroups will be, exactly as runc's cgroupfs driver does. Makes nothing.
    ///
    /// An absolute `cgroupsPath` counts from the hierarchy's root; a relative one, or the id if there is none, from the
    /// runtime's own cgroup (on v2 from its parent, since a cgroup with processes cannot pass controllers on).
    ///
    /// - Parameter orNone: where the caller may not make them, and the configuration names none, there shall be none.
    package static func plan(
        id: String, cgroupsPath: String?, orNone: Bool = false
    ) throws(CgroupError) -> CgroupSet {
        let membership: String
        do {
            membership = try readText("/proc/self/cgroup")
        } catch {
            throw CgroupError(error)
        }
        let set = try plan(
            id: id, cgroupsPath: cgroupsPath, layout: try .ofThisMachine(), own: parseMembership(membership))
        if orNone, (cgroupsPath ?? "").isEmpty, !set.driver.directories.allSatisfy(mayMake) { return .disabled }
        try set.refuseForeign()
        return set
    }

    /// The same for systemd's: its unit lies beneath the service manager's own cgroup, and so does everything of v1.
    package static func plan(systemdUnitOf id: String, cgroupsPath: String?) throws(CgroupError) -> CgroupSet {
        let isUsers = ServiceManager.isUsers
        let unit = try SystemdUnit(id: id, cgroupsPath: cgroupsPath, isUsers: isUsers)
        var manager = try ServiceManager(ofUser: isUsers)
        let base = isUsers ? clean(try manager.controlGroup()) : ""
        let layout = try CgroupLayout.ofThisMachine()
        let path = base + clean(try unit.path)
        var set = CgroupSet(
            layout: layout.isPureV2 ? .v2 : .v1, paths: layout.hierarchies.mapValues { $0.mountPoint + path })
        set.unit = unit
        try set.refuseForeign()
        return set
    }

    /// A caller whose create fails kills and removes what it planned, so what others use must not get that far.
    private func refuseForeign() throws(CgroupError) {
        for directory in driver.directories { try refusePopulated(directory) }
        for (name, path) in paths where name.isEmpty || name == "freezer" {
            guard let frozen = frozenCgroup(at: path) else { continue }
            throw CgroupError("container's cgroup unexpectedly frozen: \(frozen); nothing could start in it")
        }
    }

    static func plan(
        id: String, cgroupsPath: String?, layout: CgroupLayout, own: [String: String]
    ) throws(CgroupError) -> CgroupSet {
        let asked = cgroupsPath.flatMap { $0.isEmpty ? nil : $0 } ?? id
        let inner = clean(asked)
        if inner.isEmpty { throw CgroupError("linux.cgroupsPath: \"\(asked)\" is the machine's own cgroup") }
        var paths: [String: String] = [:]
        for (name, hierarchy) in layout.hierarchies {
            var base = hierarchy.mountPoint
            if !asked.hasPrefix("/") {
                // A hierarchy that the runtime is not a member of cannot be one that it makes cgroups in.
                guard var here = own[name] else { continue }
                if hierarchy.mountedRoot != "/", here.hasPrefix(hierarchy.mountedRoot) {
                    here.removeFirst(hierarchy.mountedRoot.count)
                }
                if layout.isPureV2 { here = String(here[..<(here.lastIndex(of: "/") ?? here.startIndex)]) }
                base += clean(here)
            }
            paths[name] = base + inner
        }
        return CgroupSet(layout: layout.isPureV2 ? .v2 : .v1, paths: paths)
    }
}

/// The cgroup at `path`, or the nearest above it that is there, if processes in it stand still.
private func frozenCgroup(at path: String) -> String? {
    var path = path
    while path.utf8.count > CgroupLayout.root.utf8.count {
        if let events = try? readText("\(path)/cgroup.events") {
            return events.split(separator: "\n").contains("frozen 1") ? path : nil
        }
        if let state = try? readText("\(path)/freezer.state") { return state.hasPrefix("THAWED") ? nil : path }
        path = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    }
    return nil
}

/// Whether the caller may make the directory: by its parent, or whatever is there above.
private func mayMake(_ path: String) -> Bool {
    var path = path
    repeat {
        path = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    } while access(path, F_OK) != 0 && !path.isEmpty
    return access(path, W_OK) == 0
}

/// The path as if walked from `/`, beginning with a slash unless it is empty: `..` never leads above the root.
func clean(_ path: String) -> String {
    var parts: [Substring] = []
    for part in path.split(separator: "/") {
        switch part {
        case ".": break
        case "..": _ = parts.popLast()
        default: parts.append(part)
        }
    }
    return parts.reduce(into: "") { $0 += "/" + String($1) }
}
