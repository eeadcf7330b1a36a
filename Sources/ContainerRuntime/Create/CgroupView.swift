import Cgroups
import LinuxSystem

/// What a container shall see of its cgroups where config.json mounts type `cgroup`.
enum CgroupView: Sendable, Equatable {
    /// cgroup v2: the container's own directory, mounted anew when it has a cgroup namespace.
    case unified(path: String, hasNamespace: Bool)
    /// cgroup v1: one directory per hierarchy under a tmpfs.
    case hierarchies([Hierarchy], hasNamespace: Bool)

    struct Hierarchy: Sendable, Equatable {
        /// Its directory in /sys/fs/cgroup: `cpu,cpuacct`, `systemd`.
        var name: String
        /// The container's group on the host.
        var path: String
        /// What to ask the cgroup file system for: `cpu,cpuacct`, `none,name=systemd`.
        var controllers: String
        /// Names that point to it: `cpu`.
        var aliases: [String]

        func mount(_ options: MountOptions) throws(SystemError) -> OwnedDescriptor {
            let context = try FilesystemContext("cgroup")
            try context.set("source", controllers == "none,name=systemd" ? "systemd" : "cgroup")
            for controller in controllers.split(separator: ",") {
                let parts = controller.split(separator: "=", maxSplits: 1)
                try context.set(String(parts[0]), parts.count == 2 ? String(parts[1]) : nil)
            }
            return try context.mount(options.attributes.set)
        }
    }
}

extension CgroupView {
    init(_ cgroups: CgroupSet, hasNamespace: Bool) {
        let root = "/sys/fs/cgroup/"
        if cgroups.layout == .v2 {
            self = .unified(path: cgroups.paths[""] ?? root, hasNamespace: hasNamespace)
            return
        }
        // Controllers that are mounted together are one hierarchy, in a directory that names them all.
        var controllers: [String: [String]] = [:]
        var paths: [String: String] = [:]
        for (controller, path) in cgroups.paths where !controller.isEmpty && path.hasPrefix(root) {
            let directory = String(path.dropFirst(root.count).prefix { $0 != "/" })
            controllers[directory, default: []].append(controller)
            paths[directory] = path
        }
        let hierarchies = controllers.sorted { $0.key < $1.key }.map { directory, names in
            Hierarchy(
                name: directory, path: paths[directory] ?? root,
                controllers: names.sorted().map { $0.hasPrefix("name=") ? "none,\($0)" : $0 }.joined(separator: ","),
                aliases: names.count > 1 ? names.filter { $0 != directory }.sorted() : [])
        }
        self = .hierarchies(hierarchies, hasNamespace: hasNamespace)
    }
}
