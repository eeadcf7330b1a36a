import LinuxSystem

/// Makes paths of the container's root read-only or hides what is there. The caller stands in that root.
struct HiddenPaths {
    var masked: [String]
    var readOnly: [String]
    /// The SELinux context of the directory that hides others: `linux.mountLabel`.
    var label: String?

    func apply() throws(RuntimeError) {
        let root = ContainerRoot(
            try launching { () throws(SystemError) in try openAt(AT_FDCWD, "/", CLINUX_O_PATH | O_DIRECTORY) })
        for path in Set(readOnly.map(RootMounts.clean)).sorted() {
            try launching("make \(path) read-only") { () throws(SystemError) in
                guard let target = try root.findUnlessMissing(path) else { return }
                let mount = try cloneMount(at: target.raw, recursive: true)
                try changeMount(mount.raw, MountAttributeChange(set: .readOnly))
                try attachMount(mount.raw, to: target.raw, name: path)
            }
        }
        guard !masked.isEmpty else { return }
        let null = try launching("mask paths") { () throws(SystemError) in try Self.verifiedNull(root) }
        // One for all: nothing can ever be in it.
        var empty: CInt?
        defer { if let empty { close(empty) } }
        for path in Set(masked.map(RootMounts.clean)).sorted() {
            try launching("mask \(path)") { () throws(SystemError) in
                guard let target = try root.findUnlessMissing(path) else { return }
                let source = try status(of: target.raw).isDirectory ? empty : null.raw
                let cover = if let source { try cloneMount(at: source) } else { try emptyDirectory() }
                try attachMount(cover.raw, to: target.raw, name: path)
                // From here on it can be cloned: before kernel 6.15 only an attached mount can.
                if source == nil { empty = cover.release() }
            }
        }
    }

    private func emptyDirectory() throws(SystemError) -> OwnedDescriptor {
        let context = try FilesystemContext("tmpfs")
        try context.set("source", "tmpfs")
        try context.set("ro")
        if let label, !label.isEmpty { try context.set("context", label) }
        return try context.mount(.readOnly)
    }

    /// /dev/null, if it is what it says: another process in the container could have put a writable file there.
    private static func verifiedNull(_ root: borrowing ContainerRoot) throws(SystemError) -> OwnedDescriptor {
        let null = try root.open("/dev/null", CLINUX_O_PATH | O_NOFOLLOW)
        let status = try status(of: null.raw)
        guard status.isCharacterDevice, status.st_rdev == clinux_makedev(1, 3) else {
            throw SystemError(.operationNotSupportedByDevice, "/dev/null is not the null device")
        }
        return null
    }
}

extension ContainerRoot {
    fileprivate func findUnlessMissing(_ path: String) throws(SystemError) -> OwnedDescriptor? {
        do {
            return try find(path, 0)
        } catch let error where error.errno == .notDirectory {
            return nil
        }
    }
}
