import Cgroups
import LinuxSystem
import OCISpec

/// The way from the host's root file system into the container's: mounts and devices first, then pivot_root.
final class RootFilesystem {
    private let request: CreateRequest
    private let isUserNamespace: Bool
    var mounts: RootMounts

    /// Makes the rootfs a mount of its own, in a mount namespace whose changes do not reach the host.
    init(
        _ request: CreateRequest, cgroupView: CgroupView, sources: MountSources, isUserNamespace: Bool
    ) throws(RuntimeError) {
        self.request = request
        self.isUserNamespace = isUserNamespace
        let path = request.rootPath
        var shared: [(Mount, CInt)] = []
        let root = try launching("prepare rootfs") { () throws(SystemError) in
            let asked = Self.propagation(request.spec.linux?.rootfsPropagation)
            if asked == .shared { shared = try RootMounts.shared(by: request, from: sources) }
            // A shared mount here would carry the container's mounts to the host; it becomes shared inside, at the end.
            let kind: MountPropagation = asked == .private ? .private : .slave
            try changeMount(AT_FDCWD, MountAttributeChange(propagation: kind), at: "/", recursive: true)
            let mount = try sources.tree(path, recursive: true)
            // A slave goes on to get the host's mount events.
            if asked != .slave { try changeMount(mount.raw, MountAttributeChange(propagation: .private)) }
            let place = try sources.place(path)
            // pivot_root refuses a parent that is shared, and mounts below a slave would still get host events.
            try attachMount(mount.raw, to: place.raw, name: path)
            return ContainerRoot(try openAt(mount.raw, ".", CLINUX_O_PATH | O_DIRECTORY))
        }
        mounts = RootMounts(
            root: root, bundle: request.bundle, cgroups: cgroupView, sources: sources, isUserNamespace: isUserNamespace,
            shared: shared, label: request.spec.linux?.mountLabel)
    }

    func makeDevices() throws(RuntimeError) {
        if !request.spec.hasBoundDev {
            try DeviceNodes(
                configured: request.spec.linux?.devices ?? [], boundFrom: isUserNamespace ? mounts.sources : nil
            ).make(in: mounts.root)
        }
        try launching("seal mounts") { () throws(SystemError) in
            // The terminal is bound there when /dev may be read-only already.
            if request.spec.process?.terminal == true { _ = try mounts.root.makeFile("/dev/console").raw }
            try mounts.seal()
        }
    }

    /// Makes the container's root this process's root and lets go of the host's.
    func enter(noPivot: Bool) throws(RuntimeError) {
        try launching("enter rootfs") { () throws(SystemError) in
            let root = mounts.root.directory.raw
            if noPivot {
                try enterWithoutPivot(root)
            } else {
                let old = try openAt(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY)
                try system("fchdir to rootfs") { fchdir(root) }
                try pivotRootHere()
                try system("fchdir to old root") { fchdir(old.raw) }
                // Otherwise the detaching below would reach the host.
                try changeMount(AT_FDCWD, MountAttributeChange(propagation: .slave), at: ".", recursive: true)
                try detachMount(".")
            }
            try system("chdir to /") { chdir("/") }
        }
    }

    /// What can only be said of the root once it is entered and complete.
    func finish() throws(RuntimeError) {
        try launching("finish rootfs") { () throws(SystemError) in
            if request.spec.root?.readonly == true {
                try changeMount(AT_FDCWD, MountAttributeChange(set: .readOnly), at: "/")
            }
            guard let asked = Self.propagation(request.spec.linux?.rootfsPropagation) else { return }
            // Of the root alone, also with an `r` in front: the mounts below have what their own options say.
            try changeMount(AT_FDCWD, MountAttributeChange(propagation: asked), at: "/")
        }
    }

    /// For a root on the initial ramfs, which cannot be pivoted away: move over `/` and chroot.
    private func enterWithoutPivot(_ root: CInt) throws(SystemError) {
        try hideKernelFilesystems(outside: root)
        try system("fchdir to rootfs") { fchdir(root) }
        let tree = try openAt(AT_FDCWD, "/", CLINUX_O_PATH | O_DIRECTORY)
        try system("move rootfs to /") {
            ".".withCString { here in
                "".withCString { empty in
                    clinux_syscall(
                        Int(CLINUX_SYS_move_mount), Int(AT_FDCWD), Int(bitPattern: here), Int(tree.raw),
                        Int(bitPattern: empty), 0x40, 0)
                }
            }
        }
        try system("chroot") { chroot(".") }
    }

    /// The old root stays in the mount namespace, out of sight. The kernel lets a user namespace mount a procfs or sysfs
    /// where one is there that nothing is mounted on; with the host's, that would undo the container's masked paths.
    private func hideKernelFilesystems(outside directory: CInt) throws(SystemError) {
        let root = try linkTarget("/proc/self/fd/\(directory)")
        for line in try readText("/proc/self/mountinfo").split(separator: "\n").reversed() {
            let fields = line.split(separator: " ")
            guard let separator = fields.firstIndex(of: "-"), separator + 1 < fields.count,
                ["proc", "sysfs"].contains(fields[separator + 1]), fields[3] == "/"
            else { continue }
            let place = unescape(fields[4])
            if place == root || place.hasPrefix(root + "/") { continue }
            do throws(SystemError) {
                try detachMount(place)
            } catch  where [.invalidArgument, .notPermitted].contains(error.errno) {
                // Locked, in a user namespace.
                let cover = try FilesystemContext("tmpfs").mount(.readOnly)
                let target = try openAt(AT_FDCWD, place, CLINUX_O_PATH | O_DIRECTORY)
                try attachMount(cover.raw, to: target.raw, name: place)
            } catch  where error.errno == .noSuchFileOrDirectory {}  // below one that has just gone
        }
    }

    private static func propagation(_ name: String?) -> MountPropagation? {
        guard let name, !name.isEmpty else { return nil }
        return MountOptions([name]).propagation.first?.kind
    }
}

extension Spec {
    /// A bound /dev is somebody else's, complete as it is.
    var hasBoundDev: Bool {
        mounts.contains {
            RootMounts.clean($0.destination) == "/dev" && ($0.type == "bind" || MountOptions($0.options).isBind)
        }
    }
}
