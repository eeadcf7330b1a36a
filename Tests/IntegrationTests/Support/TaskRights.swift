import Glibc

/// What /proc tells of a thread's rights: its ids, capabilities, filters and no_new_privs.
enum TaskRights {
    private static let fields = [
        "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
        "Seccomp_filters",
    ]

    /// Of every thread of a process, in the order of their ids.
    static func ofThreads(of process: pid_t) -> [[String: String]] {
        let folder = "/proc/\(process)/task"
        return Files.names(in: folder).compactMap { pid_t($0) }.sorted().map { thread in
            var rights: [String: String] = [:]
            for line in (Files.text(of: "\(folder)/\(thread)/status") ?? "").split(separator: "\n") {
                let parts = line.split(separator: ":", maxSplits: 1)
                guard parts.count == 2, fields.contains(String(parts[0])) else { continue }
                rights[String(parts[0])] = parts[1].split(whereSeparator: \.isWhitespace).joined(separator: " ")
            }
            return rights
        }
    }
}
