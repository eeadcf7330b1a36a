/// Attributes of one mount, as mount_setattr(2) knows them.
public struct MountAttributes: OptionSet, Sendable, Hashable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let readOnly = MountAttributes(rawValue: 0x1)
    public static let noSetuid = MountAttributes(rawValue: 0x2)
    public static let noDevices = MountAttributes(rawValue: 0x4)
    public static let noExecute = MountAttributes(rawValue: 0x8)
    public static let noAccessTime = MountAttributes(rawValue: 0x10)
    public static let strictAccessTime = MountAttributes(rawValue: 0x20)
    public static let noDirectoryAccessTime = MountAttributes(rawValue: 0x80)
    public static let noFollowSymlinks = MountAttributes(rawValue: 0x20_0000)
    /// The field of the access time modes: they exclude each other, so it is cleared as a whole before one is set.
    public static let accessTimeMask = MountAttributes(rawValue: 0x70)
}

/// Where mount events go. mount_namespaces(7).
public enum MountPropagation: UInt64, Sendable {
    case `private` = 0x4_0000
    case slave = 0x8_0000
    case shared = 0x10_0000
    case unbindable = 0x2_0000
}

/// A change to the attributes of a mount or of a whole tree of mounts.
public struct MountAttributeChange: Sendable, Equatable {
    public var set: MountAttributes = []
    public var clear: MountAttributes = []
    public var propagation: MountPropagation?

    public init(set: MountAttributes = [], clear: MountAttributes = [], propagation: MountPropagation? = nil) {
        self.set = set
        self.clear = clear
        self.propagation = propagation
    }

    public var isEmpty: Bool { self.set.isEmpty && clear.isEmpty && propagation == nil }

    /// The change for a mount of which one access time mode shall go: the kernel knows no more than to clear the field as
    /// a whole, which would take another mode away. mount_setattr(2).
    public func resolved(for mount: borrowing OwnedDescriptor) throws(SystemError) -> MountAttributeChange {
        let modes = clear.intersection(.accessTimeMask)
        if modes.isEmpty || modes == .accessTimeMask { return self }
        var current = statvfs()
        let raw = mount.raw
        try system("attributes of mount") { fstatvfs(raw, &current) }
        let mode: MountAttributes =
            if current.f_flag & 0x400 != 0 {  // ST_NOATIME
                .noAccessTime
            } else if current.f_flag & 0x1000 == 0 {  // ST_RELATIME
                .strictAccessTime
            } else { [] }
        var change = self
        change.clear.subtract(.accessTimeMask)
        if !modes.isDisjoint(with: mode) { change.clear.insert(.accessTimeMask) }
        return change
    }
}

/// A file system being configured. fsopen(2), kernel 5.2.
public struct FilesystemContext: ~Copyable, Sendable {
    private let descriptor: OwnedDescriptor
    private let type: String

    public init(_ type: String) throws(SystemError) {
        self.type = type
        descriptor = OwnedDescriptor(
            CInt(
                try system("open file system \(type)") {
                    type.withCString {
                        clinux_syscall(Int(CLINUX_SYS_fsopen), Int(bitPattern: $0), Int(FSOPEN_CLOEXEC), 0, 0, 0, 0)
                    }
                }))
    }

    /// fsconfig(2) FSCONFIG_SET_STRING, or FSCONFIG_SET_FLAG without a value.
    public func set(_ key: String, _ value: String? = nil) throws(SystemError) {
        let command = value == nil ? FSCONFIG_SET_FLAG.rawValue : FSCONFIG_SET_STRING.rawValue
        do {
            try system("") {
                key.withCString { key in
                    guard let value else { return configure(command, key, nil) }
                    return value.withCString { configure(command, key, $0) }
                }
            }
        } catch {
            let option = value.map { "\(key)=\($0)" } ?? key
            throw SystemError(error.errno, "set option \(option) of \(type)\(log())")
        }
    }

    /// Makes the superblock and a mount of it that is attached nowhere. fsconfig(2), fsmount(2).
    public func mount(_ attributes: MountAttributes = []) throws(SystemError) -> OwnedDescriptor {
        do {
            try system("") { configure(FSCONFIG_CMD_CREATE.rawValue, nil, nil) }
        } catch {
            throw SystemError(error.errno, "create file system \(type)\(log())")
        }
        return OwnedDescriptor(
            CInt(
                try systemCall(
                    "mount file system \(type)", Int(CLINUX_SYS_fsmount), Int(descriptor.raw), Int(FSMOUNT_CLOEXEC),
                    Int(attributes.rawValue))))
    }

    private func configure(_ command: UInt32, _ key: UnsafePointer<CChar>?, _ value: UnsafePointer<CChar>?) -> Int {
        clinux_syscall(
            Int(CLINUX_SYS_fsconfig), Int(descriptor.raw), Int(command), Int(bitPattern: key), Int(bitPattern: value),
            0, 0)
    }

    /// What the kernel has to say about the failure: reading the context yields its messages, one per read.
    private func log() -> String {
        var buffer = [UInt8](repeating: 0, count: 512)
        let count = read(descriptor.raw, &buffer, buffer.count)
        guard count > 0 else { return "" }
        return " (" + String(decoding: buffer[..<count], as: UTF8.self).trimmingNewline + ")"
    }
}

/// A copy of the mount at a descriptor, attached nowhere. open_tree(2) OPEN_TREE_CLONE, kernel 5.2.
///
/// - Parameter recursive: with everything mounted below it.
public func cloneMount(
    at directory: CInt, _ path: String = "", recursive: Bool = false
) throws(SystemError) -> OwnedDescriptor {
    var flags = Int(OPEN_TREE_CLONE) | Int(O_CLOEXEC)
    if path.isEmpty { flags |= Int(CLINUX_AT_EMPTY_PATH) }
    if recursive { flags |= Int(CLINUX_AT_RECURSIVE) }
    let mount = try system("clone mount \(path.isEmpty ? "of descriptor \(directory)" : path)") {
        path.withCString {
            clinux_syscall(Int(CLINUX_SYS_open_tree), Int(directory), Int(bitPattern: $0), flags, 0, 0, 0)
        }
    }
    return OwnedDescriptor(CInt(mount))
}

/// Attaches a detached mount to the place that `target` (usually O_PATH) holds. move_mount(2), kernel 5.2.
public func attachMount(_ mount: CInt, to target: CInt, name: @autoclosure () -> String) throws(SystemError) {
    try system("mount on \(name())") {
        "".withCString { empty in
            clinux_syscall(
                Int(CLINUX_SYS_move_mount), Int(mount), Int(bitPattern: empty), Int(target), Int(bitPattern: empty),
                Int(MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH), 0)
        }
    }
}

/// Changes the mount that `mount` is the root of. mount_setattr(2), kernel 5.12.
public func changeMount(
    _ mount: CInt, _ change: MountAttributeChange, at path: String = "", recursive: Bool = false,
    userNamespace: CInt? = nil
) throws(SystemError) {
    var attributes = clinux_mount_attr(
        attr_set: change.set.rawValue, attr_clr: change.clear.rawValue,
        propagation: change.propagation?.rawValue ?? 0, userns_fd: 0)
    if let userNamespace {
        attributes.attr_set |= UInt64(MOUNT_ATTR_IDMAP)
        attributes.userns_fd = UInt64(userNamespace)
    }
    let flags = (path.isEmpty ? Int(CLINUX_AT_EMPTY_PATH) : 0) | (recursive ? Int(CLINUX_AT_RECURSIVE) : 0)
    try system("set mount attributes\(path.isEmpty ? "" : " of \(path)")") {
        path.withCString { path in
            withUnsafePointer(to: &attributes) { attributes in
                clinux_syscall(
                    Int(CLINUX_SYS_mount_setattr), Int(mount), Int(bitPattern: path), flags,
                    Int(bitPattern: attributes), MemoryLayout<clinux_mount_attr>.size, 0)
            }
        }
    }
}

/// Makes the working directory the root, with the old root mounted over it; the caller detaches that. pivot_root(2).
public func pivotRootHere() throws(SystemError) {
    try system("pivot_root") {
        ".".withCString { here in
            clinux_syscall(Int(SYS_pivot_root), Int(bitPattern: here), Int(bitPattern: here), 0, 0, 0, 0)
        }
    }
}

/// Takes a mount away at once, also when it is in use. umount2(2) MNT_DETACH.
public func detachMount(_ path: String, followSymlinks: Bool = false) throws(SystemError) {
    let noFollow: CInt = 8
    try system("unmount \(path)") { umount2(path, CInt(CLINUX_MNT_DETACH) | (followSymlinks ? 0 : noFollow)) }
}

/// The magic number of the file system that a descriptor is on. fstatfs(2).
public func filesystemMagic(of descriptor: CInt) throws(SystemError) -> UInt64 {
    var status = statfs()
    try system("fstatfs of descriptor \(descriptor)") { fstatfs(descriptor, &status) }
    return UInt64(truncatingIfNeeded: status.f_type)
}

extension String {
    public var trimmingNewline: String {
        var text = self
        while text.last?.isNewline == true { text.removeLast() }
        return text
    }
}
