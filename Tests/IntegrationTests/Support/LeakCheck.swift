import Glibc

/// Finds what a test's containers left on this machine. Everything of a test carries its token: in its folder's path,
/// its containers' ids and their environment. So other work on the machine at the same time is not taken for a leak.
struct LeakCheck {
    let token: String
    let stateFolder: String

    /// One line for each thing that is left.
    func leaks() -> [String] {
        processes().map { "process \($0): \(Self.commandLine($0))" } + mounts().map { "mount at \($0)" }
            + cgroups().map { "cgroup \($0)" } + networkNamespaces().map { "network namespace \($0)" }
            + Files.names(in: stateFolder).map { "state folder \(stateFolder)/\($0)" }
    }

    /// Processes that live and belong to the test, this one aside.
    func processes() -> [pid_t] {
        Files.names(in: "/proc").compactMap { pid_t($0) }.filter { $0 != getpid() && Self.lives($0) && isOurs($0) }
    }

    private func isOurs(_ pid: pid_t) -> Bool {
        let base = "/proc/\(pid)/"
        return ["environ", "cmdline", "cgroup"].contains { Files.text(of: base + $0)?.contains(token) == true }
            || ["cwd", "root", "exe"].contains { Files.link(base + $0)?.contains(token) == true }
    }

    /// Mount points in this mount namespace.
    func mounts() -> [String] { Self.mountPoints { $0.contains(token) } }

    private static func mountPoints(where holds: (_ line: Substring) -> Bool) -> [String] {
        (Files.text(of: "/proc/self/mountinfo") ?? "").split(separator: "\n").filter(holds)
            .compactMap { line in line.split(separator: " ").dropFirst(4).first.map(String.init) }
    }

    /// Folders in every cgroup hierarchy, the deepest first. podman makes others, plain ones, where somebody made
    /// `hugetlb` or `net_cls` in the tmpfs at /sys/fs/cgroup.
    func cgroups() -> [String] {
        var found: [String] = []
        func search(_ folder: String) {
            for name in Files.names(in: folder) {
                let path = folder + "/" + name
                guard Files.isFolder(path) else { continue }
                search(path)
                if path.contains(token) { found.append(path) }
            }
        }
        Set(Self.mountPoints { $0.contains(" /sys/fs/cgroup") && $0.contains(" - cgroup") }).forEach(search)
        return found
    }

    /// Namespaces that someone named or mounted; an unnamed one lives no longer than its processes.
    func networkNamespaces() -> [String] {
        Files.names(in: "/run/netns").filter { $0.contains(token) }
    }

    /// Removes by force what is left: after a failed test nothing of it may stay.
    func sweep() {
        for _ in 0..<5 {
            let left = processes()
            if left.isEmpty { break }
            for cgroup in cgroups() { thaw(cgroup) }
            for pid in left { kill(pid, SIGKILL) }
            _ = until(seconds: 5) { left.allSatisfy { !Self.lives($0) } }
        }
        for point in mounts().reversed() { umount2(point, Int32(MNT_DETACH)) }
        for cgroup in cgroups() { rmdir(cgroup) }
    }

    /// A frozen process cannot die (cgroup v1).
    private func thaw(_ cgroup: String) {
        for (file, value) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")]
        where Files.exists("\(cgroup)/\(file)") {
            let opened = open("\(cgroup)/\(file)", O_WRONLY | O_CLOEXEC)
            _ = write(opened, value, value.utf8.count)
            close(opened)
        }
    }

    /// A zombie does not live: it is only its parent that has not looked yet.
    static func lives(_ pid: pid_t) -> Bool {
        guard let state = Files.text(of: "/proc/\(pid)/stat")?.split(separator: ")").last?.dropFirst().first else {
            return false
        }
        return state != "Z" && state != "X"
    }

    private static func commandLine(_ pid: pid_t) -> String {
        (Files.text(of: "/proc/\(pid)/cmdline") ?? "").split(separator: "\0").joined(separator: " ")
    }
}
