/// The cgroups of a process, in the order of proc_pid_cgroup(5): the names of a hierarchy's controllers with commas, nothing for
/// v2, and the path in it.
public func cgroupMembership(_ text: String) -> [(controllers: String, path: String)] {
    text.utf8.split(separator: UInt8(ascii: "\n")).compactMap { line in
        let fields = line.split(separator: UInt8(ascii: ":"), maxSplits: 2, omittingEmptySubsequences: false)
        return fields.count == 3 ? (String(Substring(fields[1])), String(Substring(fields[2]))) : nil
    }
}
