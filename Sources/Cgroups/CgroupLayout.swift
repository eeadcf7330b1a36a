import LinuxSystem

/// Where this machine has its cgroup hierarchies.
struct CgroupLayout: Equatable, Sendable {
    static let root = "/sys/fs/cgroup"

    struct Hierarchy: Equatable, Sendable {
        var mountPoint: String
        /// What of the hierarchy is mounted there: `/` unless a container manager mounted less.
        var mountedRoot: String
    }

    /// By v1 controller or `name=…`; the v2 hierarchy, if there is one, is under the empty name.
    var hierarchies: [String: Hierarchy]

    /// No v1 controller anywhere: the v2 hierarchy is the only one.
    var isPureV2: Bool { hierarchies.keys.elementsEqual([""]) }

    static func ofThisMachine() throws(CgroupError) -> CgroupLayout {
        do {
            return try CgroupLayout(mountinfo: try readText("/proc/self/mountinfo"))
        } catch let error as SystemError {
            throw CgroupError(error)
        } catch {
            throw CgroupError("\(error)")
        }
    }

    /// proc_pid_mountinfo(5). Of several mounts of a hierarchy the first beneath `/sys/fs/cgroup` counts.
    init(mountinfo: String) throws(CgroupError) {
        hierarchies = [:]
        // By bytes: a line's characters take ten times as long to find.
        for line in mountinfo.utf8.split(separator: UInt8(ascii: "\n")) {
            // Most lines are other file systems; looking for the type spares them the splitting.
            guard mentionsCgroups(line) else { continue }
            let fields = line.split(separator: UInt8(ascii: " ")).map(Substring.init)
            guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 3 else { continue }
            let hierarchy = Hierarchy(mountPoint: unescape(fields[4]), mountedRoot: unescape(fields[3]))
            guard hierarchy.mountPoint.hasPrefix(Self.root) else { continue }
            switch fields[dash + 1] {
            case "cgroup2": add(hierarchy, as: "")
            case "cgroup":
                for name in fields[dash + 3].split(separator: ",") where name.hasPrefix("name=") || isController(name) {
                    add(hierarchy, as: String(name))
                }
            default: break
            }
        }
        if hierarchies.isEmpty { throw CgroupError("no cgroup hierarchy is mounted in \(Self.root)") }
    }

    private mutating func add(_ hierarchy: Hierarchy, as name: String) {
        if hierarchies[name] == nil { hierarchies[name] = hierarchy }
    }
}

/// A v1 mount's super options also hold flags such as `rw` and `xattr`.
private func isController(_ option: Substring) -> Bool {
    controllers.contains(String(option))
}

private let controllers: Set<String> = [
    "blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "misc", "net_cls", "net_prio",
    "perf_event", "pids", "rdma",
]

/// Whether ` - cgroup` is in a line. The library's search for a text in a text first sets up a table for it.
private func mentionsCgroups(_ line: Substring.UTF8View) -> Bool {
    var rest = line
    while let dash = rest.firstIndex(of: UInt8(ascii: "-")) {
        rest = rest[rest.index(after: dash)...]
        if rest.starts(with: " cgroup".utf8) { return true }
    }
    return false
}

/// mountinfo writes blanks and backslashes as `\040`.
package func unescape(_ field: Substring) -> String {
    guard field.contains("\\") else { return String(field) }
    var bytes: [UInt8] = []
    var rest = Substring(field).utf8[...]
    while let byte = rest.popFirst() {
        if byte == UInt8(ascii: "\\"), rest.count >= 3, let code = UInt8(String(Substring(rest.prefix(3))), radix: 8) {
            bytes.append(code)
            rest = rest.dropFirst(3)
        } else {
            bytes.append(byte)
        }
    }
    return String(decoding: bytes, as: UTF8.self)
}

/// The cgroups of a process, by controller as in ``CgroupLayout/hierarchies``. proc_pid_cgroup(5).
func parseMembership(_ text: String) -> [String: String] {
    var membership: [String: String] = [:]
    for (names, path) in cgroupMembership(text) {
        for name in names.split(separator: ",", omittingEmptySubsequences: false) { membership[String(name)] = path }
    }
    return membership
}
