import LinuxSystem

/// Copies a directory's contents into another with modes and owners, for tmpfs mounts with `tmpcopyup`.
///
/// Walks by descriptors and follows no link; devices and sockets are left out.
func copyTree(from source: CInt, to destination: CInt) throws(SystemError) {
    for name in try directoryEntries(at: source, ".") {
        let original = try status(at: source, name, flags: AT_SYMLINK_NOFOLLOW)
        if original.isSymbolicLink {
            let target = try linkTarget(at: source, name)
            try system("link \(name)") { symlinkat(target, destination, name) }
        } else if original.isDirectory {
            try system("make directory \(name)") { mkdirat(destination, name, original.st_mode & 0o7777) }
            let from = try openAt(source, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
            let to = try openAt(destination, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
            try copyTree(from: from.raw, to: to.raw)
        } else if original.isRegular {
            let from = try openAt(source, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)  // it may be a pipe by now
            let to = try openAt(
                destination, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: original.st_mode & 0o7777)
            try writeAll(to.raw, try readAll(from.raw, name: name), name: name)
        } else {
            continue
        }
        try system("change owner of \(name)") {
            fchownat(destination, name, original.st_uid, original.st_gid, AT_SYMLINK_NOFOLLOW)
        }
    }
}
