import LinuxSystem
import SwiftProtobuf

/// A file of the checkpoint that is read where it lies.
package struct RawImage: ~Copyable {
    package let descriptor: OwnedDescriptor
    package let size: UInt64
}

/// A checkpoint on disk.
///
/// Nothing in it is trusted: names are opened without following links, only regular files are read, and their size is
/// compared with the limit before anything is allocated. If the checkpoint has a `checksums.stasis`, each file that
/// is read must be as it says.
package struct ImageDirectory: ~Copyable {
    private let directory: OwnedDescriptor
    private let limit: UInt64
    private var checksums: [String: Checksums.Line]?

    /// - Parameter limit: bytes that a file may have that is read into memory.
    package init(_ directory: consuming OwnedDescriptor, limit: UInt64 = 256 << 20) throws(ImageError) {
        self.directory = directory
        self.limit = limit
        checksums = nil
        if try contains(Checksums.fileName) {
            let file = try openRegular(Checksums.fileName)
            checksums = try Checksums.decode(try content(Checksums.fileName, file))
        }
    }

    /// Whether the checkpoint has an image of this kind, of whatever content.
    package func contains(_ kind: ImageKind, _ id: some BinaryInteger = UInt64(0)) throws(ImageError) -> Bool {
        try contains(kind.fileName(id))
    }

    /// Every entry of an image without payloads.
    package func entries<E: Message>(
        _ kind: ImageKind, _ id: some BinaryInteger = UInt64(0), as type: E.Type = E.self
    ) throws(ImageError) -> [E] {
        var reader = try reader(kind, id)
        var entries: [E] = []
        while !reader.isAtEnd { entries.append(try reader.next()) }
        return entries
    }

    /// The entry of an image that has exactly one.
    package func entry<E: Message>(
        _ kind: ImageKind, _ id: some BinaryInteger = UInt64(0), as type: E.Type = E.self
    ) throws(ImageError) -> E {
        let entries = try entries(kind, id, as: type)
        guard let first = entries.first, entries.count == 1 else {
            throw ImageError(kind.fileName(id), .malformed("has \(entries.count) entries instead of one"))
        }
        return first
    }

    /// Every entry with the bytes that follow it.
    package func records<E: PayloadEntry>(
        _ kind: ImageKind, _ id: some BinaryInteger = UInt64(0), as type: E.Type = E.self
    ) throws(ImageError) -> [ImageRecord<E>] {
        var reader = try reader(kind, id)
        var records: [ImageRecord<E>] = []
        while !reader.isAtEnd {
            let entry = try reader.next(as: type)
            let payload = try reader.payload(entry.payloadLength, alignment: E.payloadAlignment)
            records.append(ImageRecord(entry, payload: payload))
        }
        return records
    }

    /// A ``ImageKind/pagemap`` or ``ImageKind/shmemPagemap``.
    package func pagemap(_ kind: ImageKind, _ id: some BinaryInteger) throws(ImageError) -> Pagemap {
        var reader = try reader(kind, id)
        return try Pagemap(&reader)
    }

    /// The pages that a pagemap describes, back to back; the file has exactly as many.
    package func pages(of pagemap: Pagemap) throws(ImageError) -> RawImage {
        let name = ImageKind.pages.fileName(pagemap.pagesID)
        let file = try open(name)
        guard file.size == pagemap.storedBytes else {
            let what = "has \(file.size) bytes, but its pagemap describes \(pagemap.storedBytes)"
            throw ImageError(name, .malformed(what))
        }
        return file
    }

    /// For images whose payloads have a structure of their own. The content is checked against `checksums.stasis`.
    package func reader(_ kind: ImageKind, _ id: some BinaryInteger = UInt64(0)) throws(ImageError) -> ImageReader {
        let name = kind.fileName(id)
        return try ImageReader(name, try bytes(name), kind: kind)
    }

    /// The whole file.
    package func bytes(_ name: String) throws(ImageError) -> [UInt8] {
        let file = try openRegular(name)
        try checkSize(name, file.size)
        let bytes = try content(name, file)
        try check(name) { Checksum.of(bytes) }
        return bytes
    }

    /// A file to be read in place. It is read once here if `checksums.stasis` has more than its size.
    package func open(_ name: String) throws(ImageError) -> RawImage {
        let file = try openRegular(name)
        try checkSize(name, file.size)
        try check(name) { () throws(ImageError) in try sum(name, file.descriptor.raw) }
        return file
    }

    /// Compares every file with `checksums.stasis`. Without that there is nothing to compare.
    package func verify() throws(ImageError) {
        for name in (checksums ?? [:]).keys.sorted() { _ = try open(name) }
    }

    /// What the ``PageSum`` of a file of pages has to be, if that is known. Comparing is up to who reads the pages.
    package func pageSum(_ name: String) -> UInt64? {
        Checksums.isPages(name) ? checksums?[name]?.checksum : nil
    }

    private func checkSize(_ name: String, _ size: UInt64) throws(ImageError) {
        guard let checksums else { return }
        guard let expected = checksums[name] else {
            throw ImageError(name, .malformed("is not in \(Checksums.fileName)"))
        }
        guard expected.size == size else {
            let what = "has \(size) bytes, but \(expected.size) in \(Checksums.fileName)"
            throw ImageError(name, .malformed(what))
        }
    }

    private func check(_ name: String, _ actual: () throws(ImageError) -> UInt64) throws(ImageError) {
        guard !Checksums.isPages(name), let expected = checksums?[name]?.checksum else { return }
        guard try actual() == expected else {
            throw ImageError(name, .malformed("is damaged: its checksum is not that in \(Checksums.fileName)"))
        }
    }
}

extension ImageDirectory {
    /// The same by a file's name.
    package func contains(_ name: String) throws(ImageError) -> Bool {
        do {
            _ = try status(at: directory.raw, name, flags: AT_SYMLINK_NOFOLLOW)
            return true
        } catch {
            if error.errno == .noSuchFileOrDirectory { return false }
            throw ImageError(name, .system(error))
        }
    }

    /// `O_NONBLOCK` and `O_NOCTTY`: a pipe or terminal in the checkpoint must not stop or capture the restore before
    /// it is recognised as such.
    private func openRegular(_ name: String) throws(ImageError) -> RawImage {
        let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
        let descriptor: OwnedDescriptor
        do {
            descriptor = try openAt(directory.raw, name, flags)
        } catch {
            switch error.errno {
            case .noSuchFileOrDirectory: throw ImageError(name, .missing)
            case .tooManySymbolicLinkLevels: throw ImageError(name, .malformed("is a symbolic link"))
            default: throw ImageError(name, .system(error))
            }
        }
        let raw = descriptor.raw
        let metadata = try onFile(name) { () throws(SystemError) -> stat in try status(of: raw) }
        guard metadata.st_mode & mode_t(S_IFMT) == mode_t(S_IFREG), let size = UInt64(exactly: metadata.st_size) else {
            throw ImageError(name, .malformed("is not a regular file"))
        }
        return RawImage(descriptor: descriptor, size: size)
    }

    private func content(_ name: String, _ file: borrowing RawImage) throws(ImageError) -> [UInt8] {
        guard file.size <= limit else {
            throw ImageError(name, .malformed("has \(file.size) bytes; more than \(limit) are not read"))
        }
        var bytes = [UInt8](repeating: 0, count: Int(file.size))
        let count = try read(name, file.descriptor.raw, at: 0, into: &bytes)
        guard count == bytes.count else { throw ImageError(name, .malformed("shrank while it was read")) }
        return bytes
    }

    /// Fills the buffer, unless the file ends before. pread(2) leaves the descriptor's position where it was.
    private func read(
        _ name: String, _ descriptor: CInt, at offset: off_t, into buffer: inout [UInt8]
    ) throws(ImageError) -> Int {
        var done = 0
        while done < buffer.count {
            let count = try onFile(name) { () throws(SystemError) -> Int in
                try system("read") {
                    buffer.withUnsafeMutableBytes {
                        pread(descriptor, $0.baseAddress?.advanced(by: done), $0.count - done, offset + off_t(done))
                    }
                }
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    private func sum(_ name: String, _ descriptor: CInt) throws(ImageError) -> UInt64 {
        var checksum = Checksum()
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        var offset: off_t = 0
        while true {
            let count = try read(name, descriptor, at: offset, into: &buffer)
            checksum.update(buffer.prefix(count))
            if count < buffer.count { return checksum.value }
            offset += off_t(count)
        }
    }
}
