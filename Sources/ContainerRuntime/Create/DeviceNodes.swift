import CheckpointEngine
import LinuxSystem
import OCISpec

/// Makes the device files and links of /dev in a container's root.
struct DeviceNodes {
    /// What every container has. runtime-spec config-linux.md, "Default Devices".
    static let standard: [(path: String, minor: Int64, major: Int64)] = [
        ("/dev/null", 3, 1), ("/dev/zero", 5, 1), ("/dev/full", 7, 1), ("/dev/random", 8, 1), ("/dev/urandom", 9, 1),
        ("/dev/tty", 0, 5),
    ]

    var devices: [Device]
    /// mknod(2) is refused in a user namespace: the host's devices are bound instead.
    private let sources: MountSources?

    init(configured: [Device], boundFrom sources: MountSources?) {
        let known = configured.map { RootMounts.clean($0.path) }
        let missing = Self.standard.filter { !known.contains($0.path) }
        devices = missing.map { Device(type: "c", path: $0.path, major: $0.major, minor: $0.minor, fileMode: 0o666) }
        devices += configured
        self.sources = sources
    }

    /// The device files that a configuration makes, as a checkpoint knows them again.
    static func made(by spec: Spec) -> [DeviceNode] {
        // In a user namespace the host's are bound, as is a /dev that is somebody else's.
        guard spec.linux?.has(.user) != true, !spec.hasBoundDev else { return [] }
        return DeviceNodes(configured: spec.linux?.devices ?? [], boundFrom: nil).devices.compactMap { device in
            guard !isCovered(device), let kind = kind(of: device), device.type != "p" else { return nil }
            return DeviceNode(
                path: RootMounts.clean(device.path), mode: kind | (device.fileMode ?? 0o666) & 0o7777,
                number: number(of: device), user: device.uid ?? 0, group: device.gid ?? 0)
        }
    }

    /// Bound over it later, or a link.
    private static func isCovered(_ device: Device) -> Bool {
        ["/dev/console", "/dev/ptmx"].contains(RootMounts.clean(device.path))
    }

    private static func kind(of device: Device) -> mode_t? {
        switch device.type {
        case "c", "u": mode_t(S_IFCHR)
        case "b": mode_t(S_IFBLK)
        case "p": mode_t(S_IFIFO)
        default: nil
        }
    }

    private static func number(of device: Device) -> dev_t {
        clinux_makedev(UInt32(truncatingIfNeeded: device.major ?? 0), UInt32(truncatingIfNeeded: device.minor ?? 0))
    }

    func make(in root: borrowing ContainerRoot) throws(RuntimeError) {
        for device in devices where !Self.isCovered(device) {
            try launching("create device \(device.path)") { () throws(SystemError) in try make(device, in: root) }
        }
        try launching("create links in /dev") { () throws(SystemError) in try makeLinks(in: root) }
    }

    private func make(_ device: Device, in root: borrowing ContainerRoot) throws(SystemError) {
        if let sources, device.type != "p" {
            let source = try sources.tree(device.path)
            let target = try root.makeFile(device.path)
            return try attachMount(source.raw, to: target.raw, name: device.path)
        }
        guard let kind = Self.kind(of: device) else {
            throw SystemError(.invalidArgument, "device of type \(device.type)")
        }
        let number = Self.number(of: device)
        let directory = try root.makeParent(of: device.path)
        let name = ContainerRoot.split(device.path).name
        do {
            try system("mknod \(name)") {
                mknodat(directory.raw, name, kind | (device.fileMode ?? 0o666) & 0o7777, number)
            }
        } catch let error where error.errno == .fileExists {
            let existing = try status(at: directory.raw, name, flags: AT_SYMLINK_NOFOLLOW)
            // The image's own file is only good if it is the same device.
            guard existing.st_mode & mode_t(S_IFMT) == kind, existing.st_rdev == number else { throw error }
        }
        if device.uid ?? 0 != 0 || device.gid ?? 0 != 0 {
            try system("chown \(name)") {
                fchownat(directory.raw, name, device.uid ?? 0, device.gid ?? 0, AT_SYMLINK_NOFOLLOW)
            }
        }
    }

    private func makeLinks(in root: borrowing ContainerRoot) throws(SystemError) {
        let directory = try root.makeDirectory("/dev")
        var links = [
            ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ]
        if access("/proc/kcore", F_OK) == 0 { links.append(("core", "/proc/kcore")) }
        for (name, target) in links {
            do {
                try system("link /dev/\(name)") { symlinkat(target, directory.raw, name) }
            } catch let error where error.errno == .fileExists {}
        }
        _ = unlinkat(directory.raw, "ptmx", 0)
        try system("link /dev/ptmx") { symlinkat("pts/ptmx", directory.raw, "ptmx") }
    }
}
