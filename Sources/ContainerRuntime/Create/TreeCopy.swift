import LinuxSystem

/// Copies a directory's contents into another with modes and owners, for tmpfs mounts with `tmpcopyup`.
///
/// Walks by descriptors and follows no link; devices and sockets are left out. One directory at a time: an image may nest
/// them as deep as it likes, and those whose paths the kernel does not take are an error.
func copyTree(from source: CInt, to destination: CInt) throws(SystemError) {
    var directories = ["."]
    while let path = directories.popLast() {
        // PATH_MAX
        guard path.utf8.count < 4096 else {
            throw SystemError(.fileNameTooLong, "copy directories nested to a path of \(path.utf8.count) bytes")
        }
        let from = try openAt(source, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve: [.beneath, .noSymlinks])
        let to = try openAt(destination, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve: [.beneath, .noSymlinks])
        for name in try directoryEntries(at: from.raw, ".") {
            if try copy(name, from: from.raw, to: to.raw) { directories.append(path + "/" + name) }
        }
    }
}

/// - Returns: whether it is a directory, which is empty still.
private func copy(_ name: String, from source: CInt, to destination: CInt) throws(SystemError) -> Bool {
    let original = try status(at: source, name, flags: AT_SYMLINK_NOFOLLOW)
    if original.isSymbolicLink {
        let target = try linkTarget(at: source, name)
        try system("link \(name)") { symlinkat(target, destination, name) }
    } else if original.isDirectory {
        try system("make directory \(name)") { mkdirat(destination, name, original.st_mode & 0o7777) }
    } else if original.isRegular {
        let from = try openAt(source, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)  // it may be a pipe by now
        let to = try openAt(
            destination, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: original.st_mode & 0o7777)
        try writeAll(to.raw, try readAll(from.raw, name: name), name: name)
    } else {
        return false
    }
    try system("change owner of \(name)") {
        fchownat(destination, name, original.st_uid, original.st_gid, AT_SYMLINK_NOFOLLOW)
    }
    return original.isDirectory
}
