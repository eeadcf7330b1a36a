import Glibc
import LinuxSystem
import SwiftProtobuf

/// The images of one checkpoint, in memory until the container runs again, then written in one go; those of a container
/// that has very many before that, so that they never take more than some megabytes.
///
/// `inventory.img` is the commit point: it gets its name last, when everything else is durable. A directory without it
/// is no checkpoint.
package struct ImageSet: Sendable {
    private var images: [(name: String, bytes: [UInt8])] = []
    private var checksums = Checksums()
    private let early: CInt?
    private var budget = EntryBudget()
    /// Of what waits in memory.
    private var byteCount = 0

    /// Bytes that wait in memory.
    private static let portion = 8 << 20

    /// - Parameter early: the directory into which images are written before ``write(into:durable:)``, if they are many.
    package init(early: CInt? = nil) { self.early = early }

    /// Adds a file with its whole content: an image, or a raw one such as an archive.
    package mutating func add(_ name: String, _ bytes: [UInt8]) throws(ImageError) {
        guard bytes.count <= ImageLimits.bytes(name) else { throw ImageLimits.tooLarge(name) }
        images.append((name, bytes))
        byteCount += bytes.count
        checksums.add(name, bytes)
        guard let early, byteCount > Self.portion else { return }
        for image in images { try create(image.name, image.bytes, in: early) }
        images = []
        byteCount = 0
    }

    package mutating func add(_ image: consuming ImageWriter) throws(ImageError) {
        budget.add(image.budget)
        try add(image.name, image.bytes)
    }

    /// Adds a file that has been written into the directory.
    package mutating func add(_ image: ImageStream) throws(ImageError) {
        let line = try image.end()
        budget.add(image.budget)
        checksums.add(image.name, size: line.size, sum: line.checksum)
    }

    /// Adds an image of entries without payload.
    package mutating func add<E: Message>(
        _ kind: ImageKind, _ id: some BinaryInteger = UInt64(0), entries: [E]
    ) throws(ImageError) {
        var image = ImageWriter(kind, id)
        for entry in entries { try image.append(entry) }
        try add(image)
    }

    /// Adds an image of entries that raw bytes follow.
    package mutating func add<E: PayloadEntry>(
        _ kind: ImageKind, _ id: some BinaryInteger = UInt64(0), records: [ImageRecord<E>]
    ) throws(ImageError) {
        var image = ImageWriter(kind, id)
        for record in records { try image.append(record.entry, payload: record.payload) }
        try add(image)
    }

    /// Adds a ``ImageKind/pagemap`` or ``ImageKind/shmemPagemap``.
    package mutating func add(_ kind: ImageKind, _ id: some BinaryInteger, _ pagemap: Pagemap) throws(ImageError) {
        var image = ImageWriter(kind, id)
        try image.append(PagemapHead.with { $0.pagesID = pagemap.pagesID })
        for entry in pagemap.entries { try image.append(entry) }
        try add(image)
    }

    /// Names a file that the caller writes into the directory by itself, such as pages, so that its size and sum are
    /// checked.
    package mutating func note(_ name: String, size: UInt64, sum: PageSum? = nil) {
        checksums.add(name, size: size, sum: sum?.value)
    }

    /// Creates every file; none of them may exist.
    ///
    /// - Parameter durable: everything that was written to the file system, the caller's pages too, is on disk before
    ///   the inventory appears. syncfs(2); it reports errors since kernel 5.8.
    package func write(into directory: borrowing OwnedDescriptor, durable: Bool = true) throws(ImageError) {
        let inventory = ImageKind.inventory.fileName()
        let temporary = inventory + ".tmp"
        guard images.contains(where: { $0.name == inventory }) else {
            throw ImageError(inventory, .malformed("is not among the images to write"))
        }
        guard !budget.isExceeded else { throw ImageError(inventory, .malformed(EntryBudget.exceeded)) }
        for image in images {
            try create(image.name == inventory ? temporary : image.name, image.bytes, in: directory.raw)
        }
        try create(Checksums.fileName, checksums.encoded(), in: directory.raw)
        if durable {
            try onFile("image directory") { () throws(SystemError) -> Void in
                try systemCall("syncfs", Int(SYS_syncfs), Int(directory.raw))
            }
        }
        try onFile(inventory) { () throws(SystemError) -> Void in
            try system("rename \(temporary)") {
                renameat(directory.raw, temporary, directory.raw, inventory)
            }
        }
        if durable {
            try onFile("image directory") { () throws(SystemError) -> Void in
                try system("fsync") { fsync(directory.raw) }
            }
        }
    }

    private func create(_ name: String, _ bytes: [UInt8], in directory: CInt) throws(ImageError) {
        try onFile(name) { () throws(SystemError) -> Void in
            let flags = O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW
            let file = try openAt(directory, name, flags, mode: 0o600)
            try writeAll(file.raw, bytes, name: name)
        }
    }
}
