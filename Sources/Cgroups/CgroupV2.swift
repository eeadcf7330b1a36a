import LinuxSystem
import OCISpec

/// The one v2 hierarchy. cgroups(7), the kernel's admin-guide/cgroup-v2.
struct CgroupV2: CgroupDriver {
    var path: String

    var directories: [String] { [path] }
    var freezer: any Freezer { UnifiedFreezer(directory: path) }

    func processes() throws(CgroupError) -> [pid_t] { try processesBeneath(path) }

    func create() throws(CgroupError) {
        let parts = path.dropFirst(CgroupLayout.root.count).split(separator: "/")
        var directory = CgroupLayout.root
        for part in parts {
            // Controllers reach a cgroup only if every one above passes them on.
            enableControllers(in: directory)
            directory += "/\(part)"
            let isNew = try makeDirectory(directory)
            if directory == path, !isNew { try refusePopulated(path) }
        }
    }

    /// For a cgroup that is there, in a hierarchy beside those of v1.
    func enableControllersAbove() {
        var directory = CgroupLayout.root
        for part in path.dropFirst(directory.count).split(separator: "/") {
            enableControllers(in: directory)
            directory += "/\(part)"
        }
    }

    /// One at a time, since one that cannot be enabled would stop the rest. What is missing in the end is only an
    /// error if the configuration sets a limit with it.
    private func enableControllers(in directory: String) {
        guard let available = try? readText("\(directory)/cgroup.controllers") else { return }
        for name in available.split(whereSeparator: \.isWhitespace) {
            try? writeControl("\(directory)/cgroup.subtree_control", "+\(name)")
        }
    }

    func killAll() throws(CgroupError) { try killUnified(path) }
}

/// `cgroup.kill`, kernel 5.14, and then the wait for the last one to go.
///
/// - Parameter whileTheyStay: what else holds them.
func killUnified(_ directory: String, whileTheyStay: () -> Void = {}) throws(CgroupError) {
    do throws(SystemError) {
        let events = try openAt(AT_FDCWD, "\(directory)/cgroup.events", O_RDONLY)
        // Nobody who could fork is left.
        if try !readEvent("populated", events.raw) { return }
        do throws(SystemError) {
            try writeControl("\(directory)/cgroup.kill", "1")
        } catch  where error.errno == .noSuchFileOrDirectory || error.errno == .notSupportedOnSocket {
            // An older kernel, or a cgroup that the container has made a threaded one.
            try? killBySignal(directory)
        }
        for _ in 0..<50 {
            if try !readEvent("populated", events.raw) { return }
            var waiting = pollfd(fd: events.raw, events: Int16(POLLPRI), revents: 0)
            if try system("wait for \(directory) to be empty", { poll(&waiting, 1, 200) }) == 0 { whileTheyStay() }
        }
    } catch {
        if error.errno.meansRemoved { return }
        throw CgroupError(error)
    }
    throw CgroupError("processes in \(directory) do not die")
}

func exists(_ path: String) throws(SystemError) -> Bool {
    do throws(SystemError) {
        _ = try status(path)
        return true
    } catch {
        if error.errno == .noSuchFileOrDirectory { return false }
        throw error
    }
}
