import CheckpointImages
import LinuxSystem
import Tracee

/// Cgroups beneath the container's own, with their owners and settings, and which task is in which. Only where config.json
/// mounts cgroups that can be written to. The container's own come from config.json, but which controllers they pass on.
/// cgroups(7), the kernel's admin-guide/cgroup-v1 and cgroup-v2.
enum InnerCgroup: ProcessKind {
    /// Of the first and highest, and of those in each other.
    private static let limits = (count: 1000, depth: 32)

    /// The names of a hierarchy's controllers as /proc/PID/cgroup has them: `cpu,cpuacct`, nothing for v2.
    typealias Names = String
    /// Where a task is beneath the container's own cgroups; none for a hierarchy in which it is not.
    typealias Place = [Names: String]

    final class DumpState: KindState {
        fileprivate var places: [pid_t: Place] = [:]
        fileprivate var controllers: [CgControllerEntry] = []
        fileprivate var sets: [Place: UInt32] = [[:]: 1]
        fileprivate var bases: [Names: String] = [:]
        /// What /proc/PID/cgroup says of the first process.
        fileprivate var own = ""
    }

    final class RestoreState: KindState {
        fileprivate(set) var controllers: [CgControllerEntry] = []
        fileprivate var places: [UInt32: Place] = [:]
        fileprivate var directories: [Names: String] = [:]
        fileprivate var users = UserNamespace.own
    }

    // MARK: Dump

    /// A hierarchy: where the first process is, and the directory of the container's own cgroup, if the runtime made one.
    private typealias Hierarchy = (names: Names, path: String, directory: String?)

    /// - Parameters:
    ///   - first: what /proc/PID/cgroup says of the first process.
    ///   - directories: by controller.
    private static func hierarchies(_ first: String, _ directories: [String: String]) -> [Hierarchy] {
        cgroupMembership(first).map { names, path in
            let parts = names.split(separator: ",", omittingEmptySubsequences: false)
            return (names, path, parts.lazy.compactMap { directories[String($0)] }.first)
        }
    }

    /// Who is frozen does not stop, and no agent runs in it. While the container runs, cgroups come and go: one that is gone
    /// is not looked at.
    static func survey(_ request: CheckpointRequest, into states: KindStates) throws {
        var frozen: String?
        var count = 0
        let first = try readText("/proc/\(request.firstProcess)/cgroup")
        for hierarchy in hierarchies(first, request.cgroups) {
            try? walk(hierarchy.directory) { cgroup, path in
                count += 1
                guard count <= limits.count else { throw CheckpointError("too many") }
                let files = path.isEmpty ? [] : ["freezer.self_freezing", "cgroup.freeze"]
                if files.contains(where: { (try? readValue(at: cgroup, $0)) == "1" }) { frozen = path }
            }
        }
        if let frozen { throw CheckpointError("the cgroup \(frozen) inside it is frozen; thaw it first") }
    }

    /// A cgroup has two links, and one for each in it.
    private static func walk(_ top: String?, _ body: (CInt, String) throws -> Void) throws {
        func visit(_ cgroup: CInt, _ path: String, depth: Int) throws {
            try body(cgroup, path)
            guard depth <= limits.depth else { throw CheckpointError("the cgroup \(path) inside it lies too deep") }
            for name in try inner(cgroup) {
                let child = try openAt(cgroup, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve: .noCrossMounts)
                try visit(child.raw, path.isEmpty ? name : "\(path)/\(name)", depth: depth + 1)
            }
        }
        guard let top, try status(at: AT_FDCWD, top).st_nlink > 2 else { return }
        let cgroup = try openAt(AT_FDCWD, top, O_RDONLY | O_DIRECTORY)
        try visit(cgroup.raw, "", depth: 1)
    }

    private static func inner(_ cgroup: CInt) throws -> [String] {
        guard try status(of: cgroup).st_nlink > 2 else { return [] }
        return try directoryEntries(at: cgroup, ".").filter { try status(at: cgroup, $0).isDirectory }.sorted()
    }

    static func capture(_ request: CheckpointRequest, into dump: Dump) throws {
        let state = dump[Self.self]
        var count = 0
        state.own = try readText("/proc/\(request.firstProcess)/cgroup")
        for (names, place, directory) in hierarchies(state.own, request.cgroups) {
            var entries: [String: CgroupDirEntry] = [:]
            var paths: [String] = []
            try walk(directory) { cgroup, path in
                count += 1
                guard count <= limits.count else {
                    throw CheckpointError("has more than \(limits.count) cgroups inside its own")
                }
                if !path.isEmpty {
                    for task in try tasks(cgroup) { state.places[task, default: [:]][names] = path }
                }
                guard request.writesCgroups else { return }
                paths.append(path)
                entries[path] = try CgroupDirEntry(cgroup, path, in: dump.userNamespace)
            }
            let base = home(place, state.places[request.firstProcess]?[names])
            state.bases[names] = base
            guard paths.count > 1 else { continue }
            for path in paths.reversed() where !path.isEmpty {
                let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
                guard let entry = entries[path] else { continue }
                entries[parent]?.children.insert(entry, at: 0)
            }
            var top = entries[""] ?? CgroupDirEntry()
            top.dirName = String(base.dropFirst())
            state.controllers.append(
                .with { ($0.cnames, $0.dirs) = (names.split(separator: ",").map(String.init), [top]) })
        }
        guard request.writesCgroups || state.places.isEmpty else {
            throw CheckpointError(
                "has processes in cgroups inside its own, and config.json mounts none that it could have made them in; "
                    + "this cannot be checkpointed yet")
        }
    }

    /// The threads that are in the cgroup itself. None is in one of v2 that has become invalid.
    private static func tasks(_ cgroup: CInt) throws -> [pid_t] {
        let isLegacy = (try? status(at: cgroup, "tasks")) != nil
        do throws(SystemError) {
            let text = try readText(at: cgroup, isLegacy ? "tasks" : "cgroup.threads")
            return text.split(separator: "\n").compactMap { pid_t($0) }
        } catch  where error.errno == .notSupportedOnSocket {
            return []
        } catch { throw error }
    }

    private static func home(_ path: String, _ place: String?) -> String {
        guard let place, path.hasSuffix("/" + place) else { return path == "/" ? "" : path }
        return String(path.dropLast(place.utf8.count + 1))
    }

    /// Fails if a process is elsewhere than in its container's cgroups.
    static func verify(_ process: CapturedProcess, of dump: Dump) throws {
        let (state, task) = (dump[Self.self], process.task)
        let now = try readText("/proc/\(task)/cgroup")
        if state.places.isEmpty, now == state.own { return }
        for (names, path) in cgroupMembership(now)
        where home(path, state.places[task]?[names]) != state.bases[names] {
            throw CheckpointError("is in the cgroup \(names):\(path), which is not its container's")
        }
    }

    /// Fails if a cgroup namespace that is not the container's begins elsewhere than at the container's own cgroups: a
    /// restore makes it there. cgroup_namespaces(7)
    static func verifyRoot(of process: CapturedProcess, _ dump: Dump) throws {
        let places = dump[Self.self].places[process.task] ?? [:]
        let now = try inNamespace(.cgroup, of: process.task) { try readText("/proc/\(process.task)/cgroup") }
        for (names, path) in cgroupMembership(now) where path != "/" + (places[names] ?? "") {
            throw CheckpointError(
                "is in a cgroup namespace that begins elsewhere than at its container's cgroup `\(names)`; "
                    + "this cannot be checkpointed yet")
        }
    }

    static func capture(_ process: CapturedProcess, into images: inout ProcessImages, of dump: Dump) throws {
        let state = dump[Self.self]
        if state.controllers.isEmpty { return }
        func set(of task: pid_t) -> UInt32 {
            let place = state.places[task] ?? [:]
            if let known = state.sets[place] { return known }
            let id = UInt32(state.sets.count + 1)
            state.sets[place] = id
            return id
        }
        images.task.cgSet = set(of: process.task)
        for index in images.cores.indices { images.cores[index].threadCore.cgSet = set(of: process.threads[index].tid) }
    }

    static func seal(_ dump: Dump) throws {
        let state = dump[Self.self]
        if state.controllers.isEmpty { return }
        let entry = CgroupEntry.with {
            $0.controllers = state.controllers
            $0.sets = state.sets.sorted { $0.value < $1.value }.map { place, id in
                .with {
                    $0.id = id
                    $0.ctls = state.bases.sorted { $0.key < $1.key }.map { names, base in
                        .with {
                            $0.name = names
                            $0.path = place[names].map { "\(base)/\($0)" } ?? (base.isEmpty ? "/" : base)
                            $0.cgnsPrefix = UInt32(base.utf8.count)
                        }
                    }
                }
            }
        }
        try dump.images.add(.cgroup, entries: [entry])
    }

    // MARK: Restore

    /// CRIU's images have the container's own cgroups, too, and the whole of hierarchies in which it has none.
    static func plan(_ restore: RestorePlan) throws {
        guard try restore.images.directory.contains(.cgroup) else { return }
        let entry: CgroupEntry = try restore.images.directory.entry(.cgroup)
        let state = restore[Self.self]
        let sets = Dictionary(entry.sets.map { ($0.id, $0.ctls) }, uniquingKeysWith: { _, last in last })
        let bases = Dictionary(
            (sets[set(of: restore.first)] ?? []).map { ($0.name, $0.base) }, uniquingKeysWith: { _, last in last })
        var paths: [Names: Set<String>] = [:]
        var count = 0
        for controller in entry.controllers where controller.dirs.contains(where: { !$0.children.isEmpty }) {
            guard let base = bases[controller.names], !base.isEmpty,
                controller.dirs.map(\.dirName) == [String(base.dropFirst())]
            else {
                continue
            }
            guard paths.updateValue([], forKey: controller.names) == nil else {
                throw CheckpointError("cgroup.img: has the hierarchy `\(controller.names)` twice")
            }
            // Its own limits are config.json's.
            var top = controller.dirs[0]
            top.properties.removeAll { $0.name != "cgroup.subtree_control" }
            for index in top.properties.indices { top.properties[index].clearPerms() }
            func check(_ cgroup: CgroupDirEntry, _ path: String, depth: Int) throws {
                count += 1
                let names = cgroup.children.map(\.dirName) + cgroup.properties.map(\.name)
                guard count <= limits.count, depth <= limits.depth, names.allSatisfy(isName),
                    Set(names).count == names.count
                else { throw CheckpointError("cgroup.img: `\(path)` cannot be a cgroup of a container's") }
                paths[controller.names]?.insert(path)
                for child in cgroup.children { try check(child, "\(path)/\(child.dirName)", depth: depth + 1) }
            }
            try check(top, "", depth: 1)
            state.controllers.append(.with { ($0.cnames, $0.dirs) = (controller.cnames, [top]) })
        }
        guard state.controllers.isEmpty || restore.policy.writesCgroups else {
            throw CheckpointError("cgroup.img: config.json mounts no cgroups in which a process could have made some")
        }
        for process in restore.first.all where !process.isZombie {
            for id in Set(process.cores.map { set(of: $0, in: process) }) where state.places[id] == nil {
                guard let members = sets[id] else {
                    throw CheckpointError("\(process): is in set \(id) of cgroups, which cgroup.img does not have")
                }
                state.places[id] = try members.reduce(into: [:]) { place, member in
                    let base = bases[member.name]
                    if let base, member.path == (base.isEmpty ? "/" : base) { return }
                    let path = base.flatMap { base in
                        member.path.hasPrefix(base) ? String(member.path.dropFirst(base.count)) : nil
                    }
                    guard let path, paths[member.name]?.contains(path) == true else {
                        throw CheckpointError(
                            "\(process): is in a cgroup that is none of its container's in cgroup.img")
                    }
                    place[member.name] = String(path.dropFirst())
                }
            }
        }
    }

    /// Older images have it for processes alone.
    private static func set(of core: CoreEntry, in process: ProcessPlan) -> UInt32 {
        core.threadCore.hasCgSet ? core.threadCore.cgSet : process.task.cgSet
    }

    private static func set(of process: ProcessPlan) -> UInt32 { set(of: process.cores[0], in: process) }

    private static func isName(_ name: String) -> Bool {
        !["", ".", ".."].contains(name) && name.utf8.count < 256 && !name.utf8.contains { $0 == 0x2f || $0 == 0 }
    }

    /// Makes them, and puts the processes there, whose memory is counted where it is made.
    static func furnish(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        let state = workshop[Self.self]
        if state.controllers.isEmpty { return }
        let own = try readText("/proc/\(workshop.firstProcess)/cgroup")
        for hierarchy in hierarchies(own, workshop.cgroups) {
            state.directories[hierarchy.names] = hierarchy.directory
        }
        state.users = workshop.userNamespace
        for controller in state.controllers {
            let top = try open(controller, of: state)
            for child in controller.dirs[0].children { try child.make(in: top.raw, child.dirName, state.users) }
            for process in first.all where !process.isZombie {
                guard let path = state.places[set(of: process)]?[controller.names] else { continue }
                try about("\(process)") {
                    try writeControl(
                        at: top.raw, path + "/cgroup.procs", "\(process.stubs[0].hostProcess)", resolve: inside)
                }
            }
            try controller.dirs[0].passOn(at: top.raw)
        }
    }

    /// Puts threads there that are elsewhere than their process, and sets everything.
    static func release(_ restore: RestorePlan) throws {
        let state = restore[Self.self]
        for controller in state.controllers {
            let top = try open(controller, of: state)
            let list = controller.names.isEmpty ? "cgroup.threads" : "tasks"
            for process in restore.first.all where !process.isZombie {
                let home = state.places[set(of: process)]?[controller.names]
                for (stub, core) in zip(process.stubs, process.cores) {
                    let path = state.places[set(of: core, in: process)]?[controller.names]
                    if path == home { continue }
                    try about("\(process): thread \(stub.thread)") {
                        let file = (path.map { $0 + "/" } ?? "") + list
                        try writeControl(at: top.raw, file, "\(stub.tid)", resolve: inside)
                    }
                }
            }
            // Some values stand only beside others, which come later.
            for attempt in 0... {
                guard let different = try controller.dirs[0].set(at: top.raw, "", state.users) else { break }
                guard attempt < 4 else {
                    throw CheckpointError("the cgroup setting \(different) does not keep its value on this machine")
                }
            }
        }
    }

    static let inside: Resolve = [.beneath, .noMagicLinks, .noSymlinks, .noCrossMounts]

    private static func open(_ controller: CgControllerEntry, of state: RestoreState) throws -> OwnedDescriptor {
        guard let directory = state.directories[controller.names] else {
            throw CheckpointError("cgroup.img: the container has no cgroup of `\(controller.names)` here")
        }
        return try openAt(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY)
    }

    /// Whether a restored process is where its plan says.
    ///
    /// - Parameter own: what /proc/PID/cgroup says of one in the container's own cgroups.
    static func isInPlace(_ process: ProcessPlan, _ now: String, own: String, in restore: RestorePlan) -> Bool {
        let place = restore[Self.self].places[set(of: process)] ?? [:]
        if place.isEmpty { return now == own }
        let wanted = cgroupMembership(own).map {
            ($0.controllers, $0.path + (place[$0.controllers].map { "/" + $0 } ?? ""))
        }
        return cgroupMembership(now).elementsEqual(wanted, by: ==)
    }
}

extension CgControllerEntry {
    fileprivate var names: InnerCgroup.Names { cnames.joined(separator: ",") }
}

extension CgMemberEntry {
    /// The container's own cgroup, nothing for the hierarchy's first: in CRIU's images it is its first process's.
    fileprivate var base: String {
        let base = cgnsPrefix == 0 ? path : String(decoding: path.utf8.prefix(Int(cgnsPrefix)), as: UTF8.self)
        return base == "/" ? "" : base
    }
}
