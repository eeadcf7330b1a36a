import CheckpointEngine
import CheckpointImages
import LinuxSystem

/// The directory for new images.
///
/// Clients take checkpoint after checkpoint into the same one (podman does with `--leave-running` and `--keep`), and
/// expect that the last remains. A directory is a checkpoint when it has an inventory, and at every moment one of three
/// is, with all of its files: this one, or the older checkpoint in ``olderName``, to which ``publish()`` links its files
/// before the first of them gives way. So a publication that is cut off leaves the older checkpoint, which `restore` and
/// the next ``init(_:)`` find there.
///
/// 1. The images are written into ``nextName`` and made durable there.
/// 2. ``publish()``: link the older files into ``olderName``, its inventory last; take the inventory away, then the other
///    files; link or move the new ones here, the inventory last.
/// 3. The caller ends the container; then ``finish()`` removes the two directories.
///
/// Files of others stay. One that is where an image has to go fails the checkpoint if it is a directory.
struct ImageDestination: ~Copyable {
    /// Where the images are to be written.
    let directory: OwnedDescriptor
    private let top: OwnedDescriptor
    private let hasOlder: Bool

    private static let nextName = "next.stasis"
    private static let olderName = "older.stasis"
    private static let inventory = ImageKind.inventory.fileName()

    /// Makes the directory if need be, and cleans up behind an engine that was killed.
    init(_ path: String) throws(RuntimeError) {
        let top = try launching("image directory \(path)") { () throws(SystemError) in
            try makeDirectories(path, mode: 0o700)
            return try openAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY)
        }
        directory = try launching("image directory \(path)") { () throws(SystemError) in
            if !Self.isCheckpoint(top.raw), let older = Self.open(Self.olderName, in: top.raw),
                Self.isCheckpoint(older.raw)
            {
                try Self.putBack(older.raw, into: top.raw)
            }
            try Self.remove(Self.olderName, from: top.raw)
            try Self.remove(Self.nextName, from: top.raw)
            return try Self.make(Self.nextName, in: top.raw)
        }
        hasOlder = Self.isCheckpoint(top.raw)
        self.top = top
    }

    /// The checkpoint in a directory: itself, or the older one of a publication that was cut off.
    static func checkpoint(in directory: consuming OwnedDescriptor) -> OwnedDescriptor {
        guard !isCheckpoint(directory.raw), let older = open(olderName, in: directory.raw), isCheckpoint(older.raw)
        else { return directory }
        return older
    }

    /// Puts the complete new checkpoint into its place. A failure leaves the older one there.
    borrowing func publish() throws(RuntimeError) {
        let (next, top) = (directory.raw, top.raw)
        try launching("publish the checkpoint") { () throws(SystemError) in
            let new = try directoryEntries(at: next, ".")
            guard hasOlder else {
                do throws(SystemError) {
                    return try Self.place(new, of: next, into: top) { name throws(SystemError) in
                        try system("rename \(name)") { renameat(next, name, top, name) }
                    }
                } catch {
                    for name in [Self.inventory] + new where !Self.exists(name, in: next) { unlinkat(top, name, 0) }
                    throw error
                }
            }
            let older = try Self.make(Self.olderName, in: top)
            let (there, files) = (older.raw, try Self.ownFiles(in: top, besides: new))
            try Self.link(files, of: top, into: there)
            try Self.sync(top)
            do throws(SystemError) {
                try Self.withdraw(files, of: there, from: top)
                try Self.link(new, of: next, into: top)
            } catch {
                try Self.putBack(there, into: top)
                throw error
            }
        }
    }

    /// After the container's end: removes what the publication has left over.
    borrowing func finish() throws(RuntimeError) {
        try launching("remove the older checkpoint") { () throws(SystemError) in
            try Self.remove(Self.nextName, from: top.raw)
            try Self.remove(Self.olderName, from: top.raw)
        }
    }

    /// Removes what a checkpoint that failed has left. An older one that could not be put back stays where it is.
    borrowing func abandon() {
        try? Self.remove(Self.nextName, from: top.raw)
        if Self.isCheckpoint(top.raw) { try? Self.remove(Self.olderName, from: top.raw) }
    }

    // MARK: Sets of files

    /// The files of the checkpoint in a directory, as far as they are there: those that its `checksums.stasis` lists.
    /// CRIU's have no such file; there it is every image. And what is in the place of a new image.
    private static func ownFiles(in directory: CInt, besides new: [String]) throws(SystemError) -> [String] {
        let listed = try? ImageDirectory(openAt(directory, ".", O_RDONLY | O_DIRECTORY)).listedFiles()
        let own = Set(new + (listed ?? []))
        return try directoryEntries(at: directory, ".").filter { name in
            guard let status = try? status(at: directory, name, flags: AT_SYMLINK_NOFOLLOW), !status.isDirectory else {
                return false
            }
            return own.contains(name) || status.isSymbolicLink && name == ParentChain.linkName
                || listed == nil && status.isRegular && (name.hasSuffix(".img") || name.hasSuffix(".stasis"))
        }
    }

    /// Makes the files of one directory appear in another, too; the inventory when all others are durable.
    private static func link(_ names: [String], of source: CInt, into target: CInt) throws(SystemError) {
        try place(names, of: source, into: target) { name throws(SystemError) in
            try system("link \(name) (the older checkpoint is kept by hard links)") {
                linkat(source, name, target, name, 0)
            }
        }
    }

    private static func place(
        _ names: [String], of source: CInt, into target: CInt, _ put: (String) throws(SystemError) -> Void
    ) throws(SystemError) {
        for name in names where name != inventory { try put(name) }
        try sync(target)
        if names.contains(inventory) { try put(inventory) }
        try sync(target)
    }

    /// Removes from a directory what is the same file in another, the inventory first.
    private static func withdraw(_ names: [String], of source: CInt, from target: CInt) throws(SystemError) {
        if names.contains(inventory) { try system("remove \(inventory)") { unlinkat(target, inventory, 0) } }
        try sync(target)
        for name in names where name != inventory && isSame(name, source, target) {
            try system("remove \(name)") { unlinkat(target, name, 0) }
        }
    }

    /// Takes half a publication back. May itself be cut off: the older checkpoint stays complete in its own directory.
    private static func putBack(_ older: CInt, into top: CInt) throws(SystemError) {
        if let next = open(nextName, in: top) {
            let new = try directoryEntries(at: next.raw, ".").filter { isSame($0, next.raw, top) }
            try withdraw(new, of: next.raw, from: top)
        }
        let missing = try directoryEntries(at: older, ".").filter { !isSame($0, older, top) }
        try link(missing, of: older, into: top)
    }

    // MARK: One directory

    private static func isCheckpoint(_ directory: CInt) -> Bool { exists(inventory, in: directory) }

    private static func exists(_ name: String, in directory: CInt) -> Bool {
        (try? status(at: directory, name, flags: AT_SYMLINK_NOFOLLOW)) != nil
    }

    private static func isSame(_ name: String, _ first: CInt, _ second: CInt) -> Bool {
        guard let one = try? status(at: first, name, flags: AT_SYMLINK_NOFOLLOW),
            let other = try? status(at: second, name, flags: AT_SYMLINK_NOFOLLOW)
        else { return false }
        return one.st_ino == other.st_ino && one.st_dev == other.st_dev
    }

    private static func open(_ name: String, in directory: CInt) -> OwnedDescriptor? {
        try? openAt(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    }

    private static func make(_ name: String, in directory: CInt) throws(SystemError) -> OwnedDescriptor {
        try system("make \(name)") { mkdirat(directory, name, 0o700) }
        return try openAt(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    }

    /// With all that is in it, the inventory first: what remains of it after a failure is no checkpoint.
    private static func remove(_ name: String, from directory: CInt) throws(SystemError) {
        guard exists(name, in: directory) else { return }
        if unlinkat(directory, name, 0) == 0 { return }
        unlinkat(directory, "\(name)/\(inventory)", 0)
        try removeDirectory(at: directory, name)
    }

    private static func sync(_ directory: CInt) throws(SystemError) {
        try system("fsync") { fsync(directory) }
    }
}
