import Cgroups
import LinuxSystem

/// How a process comes into a container's cgroups without waiting for the kernel.
///
/// Moving another process takes a lock that waits for an RCU grace period, 5 to 20 ms. So the process is born in its
/// v2 cgroup (`CLONE_INTO_CGROUP`), and moves itself in the v1 hierarchies by writing 0 to `tasks`, which the kernel
/// does without that lock (`cgroup_procs_write_start`); it has one thread.
struct CgroupEntry {
    /// Directory of the v2 hierarchy, open until the command ends: the process that is cloned needs it.
    let unified: CInt?
    private let hierarchies: [String]

    init(_ cgroups: CgroupSet) throws(RuntimeError) {
        unified = try grouping { () throws(CgroupError) in try cgroups.openUnified()?.release() }
        var directories: [String] = []
        // Controllers that are mounted together share one.
        for (controller, directory) in cgroups.paths where !controller.isEmpty && !directories.contains(directory) {
            directories.append(directory)
        }
        hierarchies = directories
    }

    /// Called by the process itself, as long as it sees the host's files.
    func join() throws(SystemError) {
        for directory in hierarchies { try writeControl("\(directory)/tasks", "0") }
    }
}
