import LinuxSystem
import OCISpec

/// Of a container without cgroups, whose processes live and die with its pid namespace.
struct NoCgroups: CgroupDriver {
    static let missing = CgroupError(
        "the container has no cgroup: it was made with --cgroup-manager disabled, or by a user who may not make one")

    var directories: [String] { [] }
    var freezer: any Freezer { MissingFreezer(error: Self.missing) }

    func processes() throws(CgroupError) -> [pid_t] { throw Self.missing }
    func create() {}
    // Whoever disables cgroups does without config.json's limits.
    func applyDevices(_ configured: [DeviceCgroup]) {}
    func limit(_ resources: Resources) {}
    func killAll() {}
}
