import LinuxSystem
import SwiftProtobuf

/// A file of the checkpoint that is read where it lies.
package struct RawImage: ~Copyable, Sendable {
    package let descriptor: OwnedDescriptor
    package let size: UInt64
    /// All of it, if it is small and has been read already.
    fileprivate var content: [UInt8]?

    /// Some of its bytes. pread(2) leaves the descriptor's position where it was.
    package func bytes(_ place: PayloadPlace, _ name: String) throws(ImageError) -> [UInt8] {
        if let content { return Array(content[Int(place.offset)..<Int(place.offset + place.count)]) }
        var buffer = [UInt8](repeating: 0, count: Int(place.count))
        let raw = descriptor.raw
        var done = 0
        while done < buffer.count {
            let count = try onFile(name) { () throws(SystemError) -> Int in
                try system("read") {
                    buffer.withUnsafeMutableBytes {
                        pread(
                            raw, $0.baseAddress?.advanced(by: done), $0.count - done, off_t(place.offset) + off_t(done))
                    }
                }
            }
            guard count > 0 else { throw ImageError(name, .malformed("shrank while it was read")) }
            done += count
        }
        return buffer
    }
}

/// A checkpoint on disk.
///
/// Nothing in it is trusted: names are opened without following links, only regular files are read, and their size is
/// compared with ``ImageLimits`` before anything is allocated. If the checkpoint has a `checksums.stasis`, each file that
/// is read must be as it says.
package struct ImageDirectory: ~Copyable {
    private let directory: OwnedDescriptor
    private var checksums: [String: Checksums.Line]?
    private let seen = Seen()
    private let account = EntryAccount()

    /// Files that are as `checksums.stasis` says.
    private final class Seen {
        var names: Set<String> = []
    }

    /// Files up to this size are read when their checksum is compared, and not again.
    private static let small: UInt64 = 64 << 10

    package init(_ directory: consuming OwnedDescriptor) throws(ImageError) {
        self.directory = directory
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

    /// Every entry of an image that need not be there.
    package func entries<E: Message>(ifAny kind: ImageKind, as type: E.Type = E.self) throws(ImageError) -> [E] {
        try contains(kind) ? entries(kind) : []
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
            records.append(ImageRecord(entry, payload: try reader.bytes(payload)[...]))
        }
        return records
    }

    /// Looks at every entry, and at where the bytes after it lie, which are read from the file that is returned.
    package func visit<E: PayloadEntry>(
        _ kind: ImageKind, _ id: some BinaryInteger = UInt64(0), as type: E.Type = E.self,
        _ body: (E, PayloadPlace) throws -> Void
    ) throws -> RawImage {
        var reader = try reader(kind, id)
        while !reader.isAtEnd {
            let entry = try reader.next(as: type)
            try body(entry, try reader.payload(entry.payloadLength, alignment: E.payloadAlignment))
        }
        return reader.finish()
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
        let isNew = !seen.names.contains(name)
        return try ImageReader(name, try open(name), kind: kind, account: isNew ? account : nil)
    }

    /// The whole file.
    package func bytes(_ name: String) throws(ImageError) -> [UInt8] {
        try content(name, try open(name, inMemory: .max))
    }

    /// A file to be read in place. It is read once here if `checksums.stasis` has more than its size.
    package func open(_ name: String) throws(ImageError) -> RawImage { try open(name, inMemory: Self.small) }

    private func open(_ name: String, inMemory limit: UInt64) throws(ImageError) -> RawImage {
        var file = try openRegular(name)
        try checkSize(name, file.size)
        if file.size <= limit, !Checksums.isPages(name) { file.content = try content(name, file) }
        try check(name) { () throws(ImageError) in try sum(name, file) }
        seen.names.insert(name)
        return file
    }

    /// Compares the files that nobody has opened yet with `checksums.stasis`. Without that there is nothing to compare.
    package func verify() throws(ImageError) {
        for name in (checksums ?? [:]).keys.sorted() where !seen.names.contains(name) { _ = try open(name) }
    }

    /// The names in `checksums.stasis` with its own; `nil` if there is none.
    package func listedFiles() -> [String]? { checksums.map { Array($0.keys) + [Checksums.fileName] } }

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
    /// The same by a file's name. Of one that `checksums.stasis` names, and that is not there, ``open(_:)`` says so.
    package func contains(_ name: String) throws(ImageError) -> Bool {
        if let checksums { return checksums[name] != nil }
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
        guard size <= ImageLimits.bytes(name) else {
            throw ImageError(name, .malformed("has \(size) bytes; more than \(ImageLimits.bytes(name)) are not read"))
        }
        return RawImage(descriptor: descriptor, size: size)
    }

    private func content(_ name: String, _ file: borrowing RawImage) throws(ImageError) -> [UInt8] {
        try file.bytes(PayloadPlace(offset: 0, count: file.size), name)
    }

    private func sum(_ name: String, _ file: borrowing RawImage) throws(ImageError) -> UInt64 {
        var checksum = Checksum()
        var offset: UInt64 = 0
        while offset < file.size {
            let count = min(file.size - offset, 64 << 10)
            checksum.update(try file.bytes(PayloadPlace(offset: offset, count: count), name))
            offset += count
        }
        return checksum.value
    }
}
