import LinuxSystem
import OCISpec

/// One hierarchy for each controller, and beside them usually the v2 hierarchy, which freezes and kills better.
struct CgroupV1: CgroupDriver {
    var paths: [String: String]

    /// Controllers that are mounted together share a directory.
    var directories: [String] { Array(Set(paths.values)).sorted() }

    private var processDirectory: String {
        paths[""] ?? paths["freezer"] ?? paths["pids"] ?? paths["devices"] ?? directories.first ?? CgroupLayout.root
    }

    func processes() throws(CgroupError) -> [pid_t] { try processesBeneath(processDirectory) }

    var freezer: any Freezer {
        if let path = paths[""] { return UnifiedFreezer(directory: path) }
        if let path = paths["freezer"] { return LegacyFreezer(directory: path) }
        return MissingFreezer()
    }

    func create() throws(CgroupError) {
        var made: [String] = []
        do throws(CgroupError) {
            for directory in directories {
                if try makePath(directory) { made.append(directory) } else { try refusePopulated(directory) }
            }
            if let cpuset = paths["cpuset"] { try inheritCpuset(cpuset) }
        } catch {
            for directory in made { try? removeTree(directory) }
            throw error
        }
    }

    func killAll() throws(CgroupError) {
        if let path = paths[""] {
            try killUnified(path, whileTheyStay: letGo)
        } else {
            letGo()
            try killBySignal(processDirectory)
        }
    }

    /// A process that the v1 freezer holds does not die, and a container that may write there can freeze itself.
    private func letGo() {
        guard let path = paths["freezer"] else { return }
        let walk = CgroupWalk(entered: { cgroup in try? writeControl(at: cgroup, "freezer.state", "THAWED") })
        do throws(SystemError) { try walk.run(path) } catch {}  // gone, then
    }

    /// False if it was there already.
    private func makePath(_ path: String) throws(CgroupError) -> Bool {
        let parent = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
        var isRooted = true
        do throws(SystemError) {
            isRooted = try exists(parent)
        } catch {
            throw CgroupError(error)
        }
        if !isRooted { _ = try makePath(parent) }
        return try makeDirectory(path)
    }

    /// A new v1 cpuset has neither CPUs nor memory, and no process may join before it has both.
    private func inheritCpuset(_ directory: String) throws(CgroupError) {
        guard let slash = directory.lastIndex(of: "/") else { return }
        let parent = String(directory[..<slash])
        do throws(SystemError) {
            if try readText("\(directory)/cpuset.cpus").contains(where: \.isNumber) { return }
        } catch {
            // No such file above the hierarchy's root, which has all CPUs.
            throw CgroupError(error)
        }
        try inheritCpuset(parent)
        do throws(SystemError) {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                try writeControl("\(directory)/\(file)", try readText("\(parent)/\(file)").trimmed)
            }
        } catch {
            throw CgroupError(error)
        }
    }
}

extension String {
    var trimmed: String {
        var rest = self[...]
        while rest.first?.isWhitespace == true { rest.removeFirst() }
        while rest.last?.isWhitespace == true { rest.removeLast() }
        return String(rest)
    }
}
