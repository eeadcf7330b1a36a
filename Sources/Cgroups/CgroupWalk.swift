import LinuxSystem

/// Goes through a cgroup and all beneath it, by descriptors of which one is open at a time: a container that may write
/// in its cgroup can nest others deeper than a path may be long, and a stack deep.
struct CgroupWalk {
    /// With a descriptor of each, before those in it.
    var entered: (CInt) throws(SystemError) -> Void = { _ in }
    /// With a descriptor of its parent and its name, after all that are in it. Not for the first.
    var left: (CInt, String) -> Void = { _, _ in }

    func run(_ first: String) throws(SystemError) {
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
        var here = try openAt(AT_FDCWD, first, flags)
        try entered(here.raw)
        var names: [String] = []
        /// Of every cgroup from the first to this one those in it that are still to be visited.
        var open = [try Self.children(of: here.raw)]
        while true {
            if let name = open[open.count - 1].popLast() {
                do throws(SystemError) {
                    here = try openAt(here.raw, name, flags, resolve: .noCrossMounts)
                } catch  where error.errno.meansRemoved {
                    continue
                }
                try entered(here.raw)
                names.append(name)
                open.append(try Self.children(of: here.raw))
            } else {
                guard let name = names.popLast() else { return }
                open.removeLast()
                here = try openAt(here.raw, "..", flags)
                left(here.raw, name)
            }
        }
    }

    /// A cgroup has two links and one for each child, so that leaves need no listing.
    private static func children(of cgroup: CInt) throws(SystemError) -> [String] {
        do throws(SystemError) {
            if try status(of: cgroup).st_nlink <= 2 { return [] }
            return try directoryEntries(at: cgroup, ".").filter { name in
                (try? status(at: cgroup, name))?.isDirectory == true
            }
        } catch  where error.errno.meansRemoved {
            return []
        }
    }
}
