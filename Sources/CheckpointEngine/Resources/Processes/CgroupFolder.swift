import CheckpointImages
import LinuxSystem

/// One cgroup of those in a container's own: whose its files are, and what they say.
extension CgroupDirEntry {
    // MARK: Dump

    /// Without those in it. Of the container's own cgroup just what it passes on.
    ///
    /// - Parameter path: empty for the container's own.
    init(_ cgroup: CInt, _ path: String, in users: UserNamespace) throws {
        self.init()
        dirName = path.split(separator: "/").last.map(String.init) ?? "/"
        if path.isEmpty {
            let name = "cgroup.subtree_control"
            guard let value = Self.value(at: cgroup, name) else { return }
            properties = [.with { ($0.name, $0.value) = (name, value) }]
            return
        }
        dirPerms = try CgroupPerms(try status(of: cgroup), in: users)
        properties = try directoryEntries(at: cgroup, ".").sorted().compactMap { name in
            let found = try status(at: cgroup, name)
            guard found.isRegular else { return nil }
            return try CgroupPropEntry.with {
                $0.name = name
                $0.value = Self.value(at: cgroup, name) ?? ""
                $0.perms = try CgroupPerms(found, in: users)
            }
        }
    }

    /// What is no setting, although it can be written to: counts, of which writing takes the peak back, lists of tasks,
    /// what another file says, too, and what says whether it stands still.
    private static let unset = [
        "tasks", "cgroup.procs", "cgroup.threads", "failcnt", "max_usage_in_bytes", ".peak", "cpuacct.usage",
        "weight.nice", "freezer.state", "cgroup.freeze", "cpu.pressure", "io.pressure", "irq.pressure",
        "memory.pressure",
    ]

    /// What a setting says, in the words in which it is set; `nil` for any other file, and for what this kernel does not tell or
    /// what is no setting just now. Nothing else is ever written to, whatever an image names.
    private static func value(at cgroup: CInt, _ name: String) -> String? {
        guard let found = try? status(at: cgroup, name, flags: AT_SYMLINK_NOFOLLOW), found.isRegular,
            name == "devices.list" || found.st_mode & 0o600 == 0o600 && !unset.contains(where: { name.hasSuffix($0) }),
            let text = try? readText(at: cgroup, name).trimmingNewline
        else { return nil }
        return name != "cgroup.type" || text == "threaded" ? words(text, of: name) : nil
    }

    private static func words(_ text: String, of name: String) -> String {
        let lines = text.split(separator: "\n")
        return switch name {
        // oom_kill_disable N, and counts; root invalid (why)
        case "memory.oom_control": lines.first?.split(separator: " ").last.map(String.init) ?? ""
        case "cpuset.cpus.partition": text.split(separator: " ").first.map(String.init) ?? ""
        // One for each interface of the host, which come and go.
        case "net_prio.ifpriomap": lines.filter { !$0.hasSuffix(" 0") }.joined(separator: "\n")
        default: text
        }
    }

    // MARK: Restore

    /// Makes it and those in it, with what must be set before anybody is there.
    func make(in parent: CInt, _ path: String, _ users: UserNamespace) throws {
        try about("cgroup \(path)") {
            try system("make it") { mkdirat(parent, dirName, 0o755) }
            let made = try open(in: parent)
            try own(made.raw, ".", dirPerms, users)
            for property in properties {
                try own(made.raw, property.name, property.perms, users)
                let now = Self.value(at: made.raw, property.name)
                if property.value.isEmpty || now == property.value { continue }
                switch property.name {
                // Nobody joins a cpuset of v1 that lacks one.
                case "cpuset.cpus", "cpuset.mems", "cgroup.type": try write(property.value, to: property.name, made.raw)
                // They cannot be taken from one that has others in it.
                case "devices.list":
                    try write("a", to: "devices.deny", made.raw)
                    for line in property.value.split(separator: "\n") {
                        try write(String(line), to: "devices.allow", made.raw)
                    }
                default: break
                }
            }
            for child in children { try child.make(in: made.raw, "\(path)/\(child.dirName)", users) }
        }
    }

    /// Sets what has another value, here and in those inside.
    ///
    /// - Returns: one of those settings.
    func set(at cgroup: CInt, _ path: String, _ users: UserNamespace) throws -> String? {
        var different: String?
        // Files of controllers are there when the parent passes them on.
        let control = "cgroup.subtree_control"
        for property in properties.filter({ $0.name == control }) + properties.filter({ $0.name != control }) {
            if property.hasPerms { try own(cgroup, property.name, property.perms, users) }
            let wanted = Self.words(property.value, of: property.name)
            if wanted.isEmpty, property.name != control { continue }
            guard let now = Self.value(at: cgroup, property.name), now != wanted else { continue }
            different = "\(path)/\(property.name) = \(wanted)"
            for line in Self.lines(of: property.name, from: now, to: wanted) {
                try? write(line, to: property.name, cgroup)
            }
        }
        for child in children {
            let inner = try child.open(in: cgroup)
            different = try child.set(at: inner.raw, "\(path)/\(child.dirName)", users) ?? different
        }
        return different
    }

    /// What to write, one after the other.
    private static func lines(of name: String, from now: String, to value: String) -> [String] {
        guard name == "cgroup.subtree_control" else {
            let there = now.split(separator: "\n")
            return value.split(separator: "\n").filter { !there.contains($0) }.map(String.init)
        }
        let (wanted, there) = (value.split(separator: " "), now.split(separator: " "))
        let (more, fewer) = (wanted.filter { !there.contains($0) }, there.filter { !wanted.contains($0) })
        return more.map { "+\($0)" } + fewer.map { "-\($0)" }
    }

    /// Lets those inside have the controllers of v2 that they had, by which what is theirs is counted.
    func passOn(at cgroup: CInt) throws {
        for control in properties where control.name == "cgroup.subtree_control" {
            let now = Self.value(at: cgroup, control.name) ?? ""
            for line in Self.lines(of: control.name, from: now, to: control.value) {
                try? write(line, to: control.name, cgroup)
            }
        }
        for child in children {
            let inner = try child.open(in: cgroup)
            try child.passOn(at: inner.raw)
        }
    }

    private func open(in parent: CInt) throws -> OwnedDescriptor {
        try openAt(parent, dirName, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve: InnerCgroup.inside)
    }

    private func write(_ value: String, to name: String, _ cgroup: CInt) throws {
        try about("\(name) = \(value)") { try writeControl(at: cgroup, name, value, resolve: InnerCgroup.inside) }
    }

    private func own(_ cgroup: CInt, _ name: String, _ wanted: CgroupPerms, _ users: UserNamespace) throws {
        guard let now = try? status(at: cgroup, name, flags: AT_SYMLINK_NOFOLLOW) else { return }
        let (user, group) = (try users.outside(user: wanted.uid), try users.outside(group: wanted.gid))
        if now.st_uid != user || now.st_gid != group {
            try system("owner of \(name)") { fchownat(cgroup, name, user, group, AT_SYMLINK_NOFOLLOW) }
        }
        if now.st_mode & 0o777 != wanted.mode & 0o777 {
            try system("mode of \(name)") { fchmodat(cgroup, name, wanted.mode & 0o777, 0) }
        }
    }
}

extension CgroupPerms {
    fileprivate init(_ status: stat, in users: UserNamespace) throws {
        self.init()
        mode = status.st_mode & 0o777
        uid = try users.inside(user: status.st_uid)
        gid = try users.inside(group: status.st_gid)
    }
}
