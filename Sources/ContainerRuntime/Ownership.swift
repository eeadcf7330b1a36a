import Cgroups
import LinuxSystem

/// Whether what `state.json` calls the container's is so still. A container that has stopped keeps its state, and another
/// may have been made in its cgroup since; the file may be damaged, too.
extension Container {
    /// Refuses to kill or stop what is another container's.
    func checkOwnership() throws(RuntimeError) {
        let (process, cgroups) = try strangers()
        if let process { throw RuntimeError("process \(state.initPid) is container \(process)'s, not \(id)'s") }
        if let cgroups { throw RuntimeError("the cgroup of container \(id) is container \(cgroups)'s by now") }
    }

    /// The containers that have the first process's number, and the cgroups, instead of this one.
    func strangers() throws(RuntimeError) -> (process: String?, cgroups: String?) {
        if state.cgroups.layout == .disabled { return (nil, nil) }
        let members = try grouping { () throws(CgroupError) in try state.cgroups.processes() }
        let isAlive = initIsAlive
        // The usual case: it is where it was put, or nothing is left. Else the others' states cost a look at each.
        if isAlive ? members.contains(state.initPid) : members.isEmpty { return (nil, nil) }
        let others = try store.list(warning: false).filter { $0.id != id }
        return (
            isAlive ? others.first { $0.initPid == state.initPid }?.id : nil,
            others.first { state.cgroups.contains(anyOf: $0.cgroups) }?.id
        )
    }
}
