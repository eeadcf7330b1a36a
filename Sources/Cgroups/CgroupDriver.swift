import LinuxSystem
import OCISpec

/// What differs between the layouts.
protocol CgroupDriver: Sendable {
    /// Every directory of the container.
    var directories: [String] { get }
    var freezer: any Freezer { get }
    /// Every process of the container.
    func processes() throws(CgroupError) -> [pid_t]

    func create() throws(CgroupError)
    /// Lets the processes use the devices of the rules, and those that every container has.
    func applyDevices(_ configured: [DeviceCgroup]) throws(CgroupError)
    /// Sets what is there of everything but devices.
    func limit(_ resources: Resources) throws(CgroupError)
    func killAll() throws(CgroupError)
}

extension CgroupDriver {
    func join(_ pid: pid_t) throws(CgroupError) {
        for directory in directories {
            do throws(SystemError) {
                try writeControl("\(directory)/cgroup.procs", "\(pid)")
            } catch {
                throw CgroupError(error)
            }
        }
    }

    func remove() throws(CgroupError) {
        for directory in directories { try removeTree(directory) }
    }
}

/// All processes of a cgroup and those beneath it, which may be gone by the time they are looked at.
func processesBeneath(_ directory: String) throws(CgroupError) -> [pid_t] {
    do throws(SystemError) {
        var found: [pid_t] = []
        try collectProcesses(directory, into: &found)
        return found
    } catch {
        throw CgroupError(error)
    }
}

private func collectProcesses(_ directory: String, into found: inout [pid_t]) throws(SystemError) {
    do throws(SystemError) {
        found += try readText("\(directory)/cgroup.procs").split(separator: "\n").compactMap { pid_t($0) }
        for child in try childCgroups(directory) { try collectProcesses(child, into: &found) }
    } catch {
        // A cgroup can be removed only when it is empty.
        if !error.errno.meansRemoved { throw error }
    }
}

/// A cgroup has two links and one for each child, so that leaves need no listing.
func childCgroups(_ directory: String) throws(SystemError) -> [String] {
    if try status(directory).st_nlink <= 2 { return [] }
    var children: [String] = []
    for name in try directoryEntries(directory) {
        let path = "\(directory)/\(name)"
        if try status(path).isDirectory { children.append(path) }
    }
    return children
}

/// rmdir from the leaves up. A cgroup is busy for a moment after its last process died.
func removeTree(_ directory: String) throws(CgroupError) {
    var patience = 50
    while true {
        do throws(SystemError) {
            try system("rmdir \(directory)") { rmdir(directory) }
            return
        } catch {
            switch error.errno {
            case .noSuchFileOrDirectory: return
            case .resourceBusy where patience > 0:
                patience -= 1
                let children = (try? childCgroups(directory)) ?? []
                for child in children { try removeTree(child) }
                if children.isEmpty { usleep(patience > 40 ? 200 : 10_000) }
            default: throw CgroupError(error)
            }
        }
    }
}

/// Kills until nobody is left: a process that forks meanwhile leaves a child for the next round.
func killBySignal(_ directory: String) throws(CgroupError) {
    for round in 0..<1000 {
        let processes = try processesBeneath(directory)
        if processes.isEmpty { return }
        for pid in processes { kill(pid, SIGKILL) }
        usleep(round < 20 ? 200 : 10_000)
    }
    throw CgroupError("processes in \(directory) do not die")
}

/// mkdir(2); false if it was there already.
func makeDirectory(_ path: String) throws(CgroupError) -> Bool {
    do throws(SystemError) {
        try system("mkdir \(path)") { mkdir(path, 0o755) }
        return true
    } catch {
        if error.errno == .fileExists { return false }
        throw CgroupError(error)
    }
}

/// Someone else's processes would be limited, frozen and killed together with the container.
func refusePopulated(_ directory: String) throws(CgroupError) {
    let processes = try processesBeneath(directory)
    if processes.isEmpty { return }
    throw CgroupError("container's cgroup is not empty: \(processes.count) process(es) found in \(directory)")
}
