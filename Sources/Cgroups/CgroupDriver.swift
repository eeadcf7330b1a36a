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
        try CgroupWalk(entered: { cgroup throws(SystemError) in found += try members(cgroup) }).run(directory)
        var seen: Set<pid_t> = []
        return found.filter { seen.insert($0).inserted }
    } catch {
        if error.errno.meansRemoved { return [] }
        throw CgroupError(error)
    }
}

/// The processes in one cgroup. A container that may write there can make it a threaded one, whose processes the kernel
/// lists in a cgroup further up, or nowhere. The kernel's admin-guide/cgroup-v2, "Threads".
private func members(_ cgroup: CInt) throws(SystemError) -> [pid_t] {
    do throws(SystemError) {
        return try readText(at: cgroup, "cgroup.procs").split(separator: "\n").compactMap { pid_t($0) }
    } catch  where error.errno == .notSupportedOnSocket {
        let threads = try readText(at: cgroup, "cgroup.threads").split(separator: "\n")
        return threads.compactMap { process(ofThread: $0) }
    } catch  where error.errno.meansRemoved {
        return []
    }
}

private func process(ofThread thread: Substring) -> pid_t? {
    let status = (try? readText("/proc/\(thread)/status")) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("Tgid:") }
    return line.flatMap { pid_t($0.dropFirst(5).drop(while: \.isWhitespace)) }
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
                var isStuck = true
                let leaves = CgroupWalk(left: { parent, name in
                    if unlinkat(parent, name, AT_REMOVEDIR) == 0 { isStuck = false }
                })
                do throws(SystemError) { try leaves.run(directory) } catch {}  // the next rmdir says what is wrong
                if isStuck { usleep(patience > 40 ? 200 : 10_000) }
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
