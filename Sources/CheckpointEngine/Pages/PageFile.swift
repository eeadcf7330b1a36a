import CheckpointImages
import LinuxSystem

/// A file of pages, `pages-N.img`, as it is written or read.
///
/// Large ones go past the page cache where the file system can (O_DIRECT): it is several times faster, and nothing is
/// charged to anybody's memory cgroup.
final class PageFile: PageSource, PageSink {
    /// Below this many bytes in all, a write through the page cache is over sooner.
    static let directFrom: UInt64 = 16 << 20

    private let file: OwnedDescriptor
    private let name: String

    /// Makes the file.
    init(_ name: String, size: UInt64, direct: Bool, in directory: CInt) throws {
        self.name = name
        file = try openAt(directory, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, mode: 0o600)
        if direct { bypassPageCache(file.raw) }
        // On tmpfs room is made by clearing pages, which costs as much as the copying.
        guard size > 0, try filesystemMagic(of: file.raw) != UInt64(TMPFS_MAGIC) else { return }
        // Room for all of it now or never: a full disk is better met before anything is copied.
        try makeRoom(file.raw, size, "room for \(size) bytes of memory in \(name)")
    }

    /// One that is there.
    init(_ image: borrowing RawImage, _ name: String) throws {
        self.name = name
        file = try image.descriptor.duplicate()
    }

    func read(_ piece: PagePiece, into buffer: inout PageBuffer) throws {
        // All of it at once: workers in turn look like no sequence, for which the kernel would read ahead.
        _ = posix_fadvise(file.raw, off_t(piece.offset), off_t(piece.length), POSIX_FADV_WILLNEED)
        let count = try buffer.fill(0..<piece.length, from: file.raw, at: piece.offset, "read \(name)")
        guard count == piece.length else { throw CheckpointError("\(name): shrank while it was read") }
    }

    func write(_ piece: PagePiece, from buffer: borrowing PageBuffer) throws {
        try buffer.write(piece.length, to: file.raw, at: piece.offset, "write \(name)")
    }
}
