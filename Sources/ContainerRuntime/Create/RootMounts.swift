import LinuxSystem
import OCISpec

/// Puts the entries of config.json's `mounts` into a container's root.
///
/// Every mount is made detached and then attached to a descriptor of its target, so no path is walked twice.
struct RootMounts: ~Copyable {
    let root: ContainerRoot
    let bundle: String
    let cgroups: CgroupView
    let sources: MountSources
    private let isUserNamespace: Bool
    /// Binds that share mount events with the host, taken while its mounts were shared; open until the exec.
    private var shared: [(Mount, CInt)]
    /// The SELinux context of what is in new file systems: `linux.mountLabel`.
    private let label: String?
    /// Whether the host's /sys has taken the place of a sysfs.
    private(set) var hasHostSys = false
    /// Descriptors, open until the exec.
    private var lateReadOnly: [CInt] = []

    init(
        root: consuming ContainerRoot, bundle: String, cgroups: CgroupView, sources: MountSources,
        isUserNamespace: Bool,
        shared: [(Mount, CInt)], label: String?
    ) {
        self.root = root
        self.label = label.flatMap { $0.isEmpty ? nil : $0 }
        self.bundle = bundle
        self.cgroups = cgroups
        self.sources = sources
        self.isUserNamespace = isUserNamespace
        self.shared = shared
    }

    /// What is bound with `shared` from the host, for a container whose `rootfsPropagation` is that, too.
    static func shared(
        by request: CreateRequest, from sources: MountSources
    ) throws(SystemError) -> [(Mount, CInt)] {
        var shared: [(Mount, CInt)] = []
        for mount in request.spec.mounts {
            let options = MountOptions(mount.options)
            guard options.isBind || mount.type == "bind", options.propagation.contains(where: { $0.kind == .shared })
            else { continue }
            let source = try cloneSource(of: mount, options, bundle: request.bundle, from: sources)
            shared.append((mount, source.release()))
        }
        return shared
    }

    mutating func add(_ mount: Mount, map: IDMappedMount? = nil) throws(RuntimeError) {
        do {
            try attach(mount, map)
        } catch {
            let what = (mount.source ?? mount.type ?? "").quoted
            throw RuntimeError("error mounting \(what) to rootfs at \(mount.destination.quoted): \(error)")
        }
    }

    /// Mounts that had to stay writable until devices were made in them.
    func seal() throws(SystemError) {
        for mount in lateReadOnly { try changeMount(mount, MountAttributeChange(set: .readOnly)) }
    }

    private mutating func attach(_ mount: Mount, _ map: IDMappedMount?) throws(SystemError) {
        var options = MountOptions(mount.options)
        if options.isBind || mount.type == "bind" { return try attachBind(mount, options, map) }
        switch mount.type {
        case "cgroup", "cgroup2": return try attachCgroups(mount, options)
        case "proc", "sysfs":
            // An image could bring a link to somewhere else as its /proc, and with it what is masked below.
            let target = try refusingLink(mount.destination)
            try finish(try makeFilesystemOrCopy(mount, options), target, mount, options)
        case "tmpfs":
            let isSealedLater = Self.clean(mount.destination) == "/dev" && options.isReadOnly
            if isSealedLater {
                options.attributes.set.remove(.readOnly)
                options.parameters.removeAll { $0.key == "ro" }
            }
            let existing = try root.find(mount.destination, O_DIRECTORY)
            if let existing, !options.parameters.contains(where: { $0.key == "mode" }) {
                let mode = String(try status(of: existing.raw).st_mode & 0o7777, radix: 8)
                options.parameters.append(MountOptions.Parameter(key: "mode", value: mode))
            }
            let target = try root.makeDirectory(mount.destination)
            let made = try makeFilesystem(mount, options)
            if isSealedLater { lateReadOnly.append(try made.duplicate().release()) }
            if options.copiesUp { try copyTree(from: target.raw, to: made.raw) }
            try finish(made, target, mount, options)
        default:
            let target = try root.makeDirectory(mount.destination)
            try finish(try makeFilesystemOrCopy(mount, options), target, mount, options)
        }
    }

    /// From a user namespace sysfs and mqueue can be mounted only with a network or IPC namespace of its own. With the
    /// host's the container gets the host's /sys or /dev/mqueue, as with crun.
    private mutating func makeFilesystemOrCopy(
        _ mount: Mount, _ options: MountOptions
    ) throws(SystemError) -> OwnedDescriptor {
        do throws(SystemError) {
            return try makeFilesystem(mount, options)
        } catch  where isUserNamespace && [.notPermitted, .resourceBusy].contains(error.errno) {
            guard let place = ["sysfs": "/sys", "mqueue": "/dev/mqueue"][mount.type],
                let copy = try? sources.tree(place, recursive: true)
            else { throw error }
            if mount.type == "sysfs" { hasHostSys = true }
            try changeStandIn(copy, MountAttributeChange(set: options.attributes.set), recursive: true)
            return copy
        }
    }

    private func refusingLink(_ path: String) throws(SystemError) -> OwnedDescriptor {
        if try root.find(path, O_NOFOLLOW) == nil { _ = try root.makeDirectory(path).raw }
        let target = try root.open(path, CLINUX_O_PATH | O_NOFOLLOW)
        guard try status(of: target.raw).isDirectory else {
            throw SystemError(.notDirectory, "\(path) must be an ordinary directory")
        }
        return target
    }

    private func makeFilesystem(_ mount: Mount, _ options: MountOptions) throws(SystemError) -> OwnedDescriptor {
        let context = try FilesystemContext(mount.type ?? "")
        if let source = mount.source, !source.isEmpty { try context.set("source", source) }
        for parameter in options.parameters { try context.set(parameter.key, parameter.value) }
        if let label, !Self.labelled(mount, options) { try context.set("context", label) }
        return try context.mount(options.attributes.set)
    }

    /// Whether the kernel gives labels to what is in it by itself, or the configuration says others.
    private static func labelled(_ mount: Mount, _ options: MountOptions) -> Bool {
        ["proc", "sysfs", "mqueue"].contains(mount.type)
            || options.parameters.contains { ["context", "fscontext", "defcontext", "rootcontext"].contains($0.key) }
    }

    private mutating func attachBind(
        _ mount: Mount, _ options: MountOptions, _ map: IDMappedMount?
    ) throws(SystemError) {
        let made =
            if let place = shared.firstIndex(where: { $0.0 == mount }) {
                OwnedDescriptor(shared.remove(at: place).1)
            } else {
                try Self.cloneSource(of: mount, options, bundle: bundle, from: sources, map)
            }
        try ProcfsCover.check(mount.destination)
        let isDirectory = try status(of: made.raw).isDirectory
        let target = isDirectory ? try root.makeDirectory(mount.destination) : try root.makeFile(mount.destination)
        // As mount(2) has it, and docker a hint for; move_mount(2) calls the same an invalid argument.
        guard try status(of: target.raw).isDirectory == isDirectory else {
            throw SystemError(.notDirectory, "mount on \(mount.destination)")
        }
        try ProcfsCover.check(made.raw, over: target.raw, at: mount.destination)
        try change(made, options.attributes.resolved(for: made))
        try finish(made, target, mount, options)
    }

    private static func cloneSource(
        of mount: Mount, _ options: MountOptions, bundle: String, from sources: MountSources,
        _ map: IDMappedMount? = nil
    ) throws(SystemError) -> OwnedDescriptor {
        guard let source = mount.source, !source.isEmpty else {
            throw SystemError(.invalidArgument, "bind without source")
        }
        let path = source.hasPrefix("/") ? source : "\(bundle)/\(source)"
        return try sources.tree(path, recursive: options.isRecursiveBind, map: map)
    }

    private func finish(
        _ made: borrowing OwnedDescriptor, _ target: borrowing OwnedDescriptor, _ mount: Mount, _ options: MountOptions
    ) throws(SystemError) {
        try change(made, options.recursiveAttributes, recursive: true)
        try attachMount(made.raw, to: target.raw, name: mount.destination)
        // A mount takes its propagation from where it is attached, so what was asked for comes last.
        for propagation in options.propagation {
            try changeMount(
                made.raw, MountAttributeChange(propagation: propagation.kind), recursive: propagation.recursive)
        }
    }

    /// In a user namespace attributes of the host's mounts are locked: what they forbid stays forbidden. A configuration
    /// that asks for something else is refused. mount_namespaces(7).
    private func change(
        _ mount: borrowing OwnedDescriptor, _ change: MountAttributeChange, recursive: Bool = false
    ) throws(SystemError) {
        if change.isEmpty { return }
        do throws(SystemError) {
            try changeMount(mount.raw, change, recursive: recursive)
        } catch  where isUserNamespace && error.errno == .notPermitted {
            throw SystemError(
                .notPermitted, "\(error.attempt): in a user namespace attributes of the host's mounts are locked")
        }
    }

    /// The same for what stands in for a file system of the container's own: where locks are in the way, what only
    /// forbids more.
    private func changeStandIn(
        _ mount: borrowing OwnedDescriptor, _ change: MountAttributeChange, recursive: Bool = false
    ) throws(SystemError) {
        do throws(SystemError) {
            try changeMount(mount.raw, change, recursive: recursive)
        } catch  where isUserNamespace && error.errno == .notPermitted {
            let stricter = change.set.subtracting([.accessTimeMask, .noDirectoryAccessTime])
            try changeMount(mount.raw, MountAttributeChange(set: stricter), recursive: recursive)
        }
    }

    private func attachCgroups(_ mount: Mount, _ options: MountOptions) throws(SystemError) {
        let target = try root.makeDirectory(mount.destination)
        switch cgroups {
        case .unified(let path, let hasNamespace):
            let made = hasNamespace ? try makeUnified(options) : try cloneMount(at: AT_FDCWD, path)
            if !hasNamespace { try changeStandIn(made, options.attributes) }
            try finish(made, target, mount, options)
        case .hierarchies(let hierarchies, let hasNamespace):
            let context = try FilesystemContext("tmpfs")
            try context.set("source", "tmpfs")
            try context.set("mode", "755")
            let layout = try context.mount(
                options.attributes.set.subtracting(.readOnly).union([.noSetuid, .noDevices, .noExecute]))
            try attachMount(layout.raw, to: target.raw, name: mount.destination)
            let place = ContainerRoot(try layout.duplicate())
            for hierarchy in hierarchies {
                let below = try place.makeDirectory(hierarchy.name)
                let made = hasNamespace ? try hierarchy.mount(options) : try cloneMount(at: AT_FDCWD, hierarchy.path)
                if !hasNamespace { try changeStandIn(made, options.attributes) }
                try attachMount(made.raw, to: below.raw, name: "\(mount.destination)/\(hierarchy.name)")
            }
            for hierarchy in hierarchies {
                for alias in hierarchy.aliases {
                    try system("link \(alias)") { symlinkat(hierarchy.name, layout.raw, alias) }
                }
            }
            if options.isReadOnly { try changeMount(layout.raw, MountAttributeChange(set: .readOnly)) }
        }
    }

    private func makeUnified(_ options: MountOptions) throws(SystemError) -> OwnedDescriptor {
        let context = try FilesystemContext("cgroup2")
        try context.set("source", "cgroup")
        return try context.mount(options.attributes.set)
    }

    static func clean(_ path: String) -> String {
        let parts = path.utf8.split(separator: UInt8(ascii: "/")).map(Substring.init)
        let cleaned = parts.reduce(into: "") { if $1 != "." { $0 += "/" + $1 } }
        return cleaned.isEmpty ? "/" : cleaned
    }
}

extension String {
    /// As Go's %q writes plain text.
    var quoted: String { "\"\(self)\"" }
}
