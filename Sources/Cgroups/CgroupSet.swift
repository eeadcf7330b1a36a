import LinuxSystem
import OCISpec

/// The cgroups of one container: one directory in every hierarchy, or just one on pure v2.
///
/// A plain value, so that it is kept in `state.json`; every operation goes to the file system anew.
package struct CgroupSet: Codable, Equatable, Sendable {
    package enum Layout: String, Codable, Sendable {
        /// v1 hierarchies, often with a v2 hierarchy without controllers beside them.
        case v1
        case v2
        /// The container stays in its creator's cgroups: nobody can limit, freeze or count its processes.
        case disabled
    }

    package var layout: Layout
    /// Directories by controller; the v2 hierarchy's is under the empty name.
    package var paths: [String: String]
    /// With the systemd manager.
    package var unit: SystemdUnit?

    package init(layout: Layout, paths: [String: String]) {
        self.layout = layout
        self.paths = paths
    }

    /// For `--cgroup-manager disabled`.
    package static let disabled = CgroupSet(layout: .disabled, paths: [:])

    /// The first path, if any, that no plan could have made: outside of the hierarchies, or one of their roots.
    package var strayPath: String? {
        let root = CgroupLayout.root + "/"
        let names = layout == .v1 ? 2 : 1  // of a v1 hierarchy, and of the cgroup in it
        return paths.values.sorted().first { path in
            !path.hasPrefix(root) || clean(path) != path
                || path.dropFirst(root.count).split(separator: "/").count < names
        }
    }

    /// Whether one of the other's is one of these, or beneath one.
    package func contains(anyOf other: CgroupSet) -> Bool {
        paths.values.contains { mine in
            other.paths.values.contains { $0 == mine || $0.hasPrefix(mine + "/") }
        }
    }

    var driver: any CgroupDriver {
        switch layout {
        case .v1: CgroupV1(paths: paths)
        case .v2: CgroupV2(path: paths[""] ?? CgroupLayout.root)
        case .disabled: NoCgroups()
        }
    }
}

// What a container's life needs of its cgroups.
extension CgroupSet {
    /// Makes the directories. Refuses a cgroup that has processes already: they would share the container's fate.
    ///
    /// - Returns: who holds a systemd scope until the container's first process is in it.
    package func create(for id: String, annotations: [String: String]) throws(CgroupError) -> ScopeKeeper? {
        if let path = strayPath { throw CgroupError("\(path): cannot be a container's cgroup") }
        // Before systemd, which passes on only the controllers that it knows; it takes a directory that is there.
        try driver.create()
        guard let unit else { return nil }
        var keeper: ScopeKeeper?
        do {
            if !unit.isSlice { keeper = try ScopeKeeper() }
            let properties = [SystemdProperty].identity(of: unit, id: id, pid: keeper?.pid, isV2: layout == .v2)
            var manager = try ServiceManager(ofUser: unit.isUsers)
            try manager.start(unit, properties + [SystemdProperty].annotated(annotations))
            return keeper
        } catch {
            keeper?.leave()
            try? remove()
            throw CgroupError("\(error)")
        }
    }

    /// What systemd knows of, it would set back to its own idea of it when it is reloaded.
    private func tellSystemd(_ resources: Resources, devices: DeviceRules?) throws(CgroupError) {
        guard let unit else { return }
        let properties = try (devices?.systemdProperties ?? []) + [SystemdProperty](resources, isV2: layout == .v2)
        if properties.isEmpty { return }
        var manager = try ServiceManager(ofUser: unit.isUsers)
        try manager.set(properties, of: unit)
    }

    /// Puts the process into every cgroup. A child that it clones is born there.
    package func join(_ pid: pid_t) throws(CgroupError) { try driver.join(pid) }

    /// The cgroups beneath these that `exec --cgroup` names, `[controller[,controller]:]path`: they have to be there.
    package func inner(_ requests: [String]) throws(CgroupError) -> CgroupSet {
        if layout == .disabled, !requests.isEmpty { throw NoCgroups.missing }
        var result = self
        for request in requests {
            let parts = request.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            var names = Array(paths.keys)
            if parts.count == 2 {
                if layout == .v2 { throw CgroupError("--cgroup \(request): cgroup v2 takes a path alone") }
                names = parts[0].split(separator: ",").map(String.init)
            }
            for name in names {
                guard let path = paths[name] else { throw CgroupError("--cgroup \(request): no controller \(name)") }
                let asked = parts[parts.count - 1]
                let inner = clean(path + "/" + asked)
                guard inner == path || inner.hasPrefix(path + "/") else {
                    throw CgroupError("--cgroup \(request): \(asked) is not a sub cgroup path")
                }
                do throws(SystemError) {
                    guard try exists(inner) else { throw SystemError(.noSuchFileOrDirectory, "open \(inner)") }
                } catch { throw CgroupError("--cgroup \(request): \(error)") }
                result.paths[name] = inner
            }
        }
        return result
    }

    /// The v2 directory, for `CLONE_INTO_CGROUP`. With ``Layout/v1`` the child still has to ``join(_:)`` the rest.
    package func openUnified() throws(CgroupError) -> OwnedDescriptor? {
        guard let path = paths[""] else { return nil }
        do {
            return try openAt(AT_FDCWD, path, CLINUX_O_PATH | O_DIRECTORY)
        } catch {
            throw CgroupError(error)
        }
    }

    /// Sets limits and device rules; the device rules always include the devices that every container has.
    ///
    /// - Parameter devices: false for who may not set device rules, nor use devices that are not its own.
    package func apply(_ resources: Resources?, devices: Bool = true) throws(CgroupError) {
        let resources = resources ?? Resources()
        try tellSystemd(resources, devices: devices ? try DeviceRules(resources.devices) : nil)
        if devices { try driver.applyDevices(resources.devices) }
        try driver.limit(resources)
    }

    /// Sets the limits that the change speaks of and no others; device rules stay.
    package func update(_ change: Resources) throws(CgroupError) {
        if layout == .disabled { throw NoCgroups.missing }
        try tellSystemd(change, devices: nil)
        try driver.limit(change)
    }

    /// Lets a user make cgroups beneath these. v1 knows no safe way of that. The kernel's admin-guide/cgroup-v2,
    /// "Delegation".
    package func handOver(to user: UInt32) throws(CgroupError) {
        guard layout == .v2, let path = paths[""] else { return }
        let files = (try? readText("/sys/kernel/cgroup/delegate"))?.split(separator: "\n").map(String.init)
        do throws(SystemError) {
            for name in ["."] + (files ?? ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]) {
                guard try exists("\(path)/\(name)") else { continue }  // of a controller that is not enabled here
                try system("change owner of \(path)/\(name)") { chown("\(path)/\(name)", user, gid_t.max) }
            }
        } catch {
            throw CgroupError(error)
        }
    }

    /// Every process of the container, those in cgroups that it made itself included.
    package func processes() throws(CgroupError) -> [pid_t] { try driver.processes() }

    /// Stops everything; returns when nothing runs any more.
    package func freeze() throws(CgroupError) { try driver.freezer.freeze() }

    package func thaw() throws(CgroupError) { try driver.freezer.thaw() }

    package func isFrozen() throws(CgroupError) -> Bool { try driver.freezer.isFrozen() }

    /// Sends a signal to every process, whoever of them cannot have it. SIGKILL reaches those that are born meanwhile, too.
    package func signal(_ signal: CInt) throws(CgroupError) {
        if signal == SIGKILL { return try killAll() }
        var failure: CgroupError?
        for pid in try processes() where kill(pid, signal) != 0 && Errno.current != .noSuchProcess {
            failure = CgroupError("signal \(signal) to process \(pid): \(Errno.current)")
        }
        if let failure { throw failure }
    }

    /// Kills every process and waits until the cgroups are empty (a frozen one too).
    package func killAll() throws(CgroupError) { try driver.killAll() }

    /// Removes the directories and whatever cgroups the container made beneath them; missing ones are fine.
    package func remove() throws(CgroupError) {
        var failure: CgroupError?
        if let unit {
            do throws(CgroupError) {
                var manager = try ServiceManager(ofUser: unit.isUsers)
                try manager.stop(unit)
            } catch {
                failure = error
            }
        }
        try driver.remove()
        if let failure { throw failure }
    }
}

extension CgroupSet {
    /// The CPUs that its processes may use, in the format of cpuset(7).
    package func usableCPUs() -> String? {
        let file = layout == .v2 ? "cpuset.cpus.effective" : "cpuset.effective_cpus"
        var directory = paths[layout == .v2 ? "" : "cpuset"] ?? ""
        // On v2 only cgroups whose parent hands the controller on have the file.
        while !directory.isEmpty {
            if let text = try? readText("\(directory)/\(file)") { return firstLine(text) }
            directory = directory.lastIndex(of: "/").map { String(directory[..<$0]) } ?? ""
        }
        return (try? readText("/sys/devices/system/cpu/online")).map(firstLine)
    }

    private func firstLine(_ text: String) -> String { String(text.prefix { $0 != "\n" }) }
}
