import LinuxSystem
import OCISpec

/// Whether the runtime runs without the machine's privileges: `--rootless`.
package enum Rootless: Sendable {
    case no
    /// By an ordinary user.
    case user
    /// As root of a user namespace, as podman runs it.
    case namespace

    /// - Parameter flag: `true`, `false` or `auto`.
    package init(_ flag: String) throws(RuntimeError) {
        let isRoot = geteuid() == 0
        let isInside = isRoot && Self.isMapped
        switch flag {
        case "auto", "": self = isInside ? .namespace : isRoot ? .no : .user
        case "true", "1", "t", "T", "TRUE", "True": self = isInside || isRoot ? .namespace : .user
        case "false", "0", "f", "F", "FALSE", "False": self = .no
        default: throw RuntimeError("--rootless: \(flag.quoted) is none of true, false, auto")
        }
    }

    var isInUserNamespace: Bool { self == .namespace && Self.isMapped }

    /// The first user namespace maps every id to itself. user_namespaces(7).
    static let isMapped: Bool = {
        let map = (try? readText("/proc/self/uid_map")) ?? ""
        return map.split(whereSeparator: \.isWhitespace) != ["0", "0", "4294967295"]
    }()

    /// CAP_SYS_ADMIN, where the runtime stands.
    static func hasRights() throws(RuntimeError) -> Bool {
        try launching { () throws(SystemError) in try CapabilitySets.current().effective & 1 << 21 != 0 }
    }

    /// For a container without cgroups.
    static func refuseLimits(_ resources: Resources?) throws(RuntimeError) {
        guard var resources else { return }
        // Of devices a user namespace allows those alone that are bound into it.
        resources.devices = []
        if resources != Resources() {
            throw RuntimeError("linux.resources: cannot be set: this user may not make a cgroup for the container")
        }
    }

    /// With all of the host's /sys its cgroups come along, and those of the user would be writable, however read-only /sys
    /// is (CVE-2023-25809). A `cgroup` mount on top hides them as well.
    func cgroupMask(_ spec: Spec, hasHostSys: Bool) -> Mount? {
        let place = "/sys/fs/cgroup"
        let isBound = spec.mounts.contains {
            RootMounts.clean($0.destination) == "/sys" && $0.options.contains("rbind")
        }
        guard isBound && self != .no || hasHostSys,
            !spec.mounts.contains(where: { RootMounts.clean($0.destination) == place })
        else { return nil }
        return Mount(destination: place, type: "tmpfs", source: "tmpfs", options: ["ro", "nosuid", "nodev", "noexec"])
    }
}
