import LinuxSystem
import SwiftProtobuf

/// An image that is written to its file while it is made, because the container decides how large it becomes.
package final class ImageStream {
    package let name: String
    package private(set) var size: UInt64 = 0
    private let file: OwnedDescriptor
    private let limit: UInt64
    private var waiting: ImageWriter
    /// What its entries take at a restore.
    var budget: EntryBudget { waiting.budget }
    private var checksum = Checksum()

    /// Bytes that wait to be written.
    private static let portion = 64 << 10

    package convenience init(_ kind: ImageKind, _ id: some BinaryInteger = UInt64(0), in directory: CInt)
        throws(ImageError)
    {
        try self.init(ImageWriter(kind, id), in: directory)
    }

    /// One without magic and entries.
    package convenience init(raw name: String, in directory: CInt) throws(ImageError) {
        try self.init(ImageWriter(raw: name), in: directory)
    }

    private init(_ writer: ImageWriter, in directory: CInt) throws(ImageError) {
        let name = writer.name
        file = try onFile(name) { () throws(SystemError) in
            try openAt(directory, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, mode: 0o600)
        }
        self.name = name
        limit = ImageLimits.bytes(name)
        waiting = writer
    }

    package func append(_ entry: some Message) throws(ImageError) {
        try waiting.append(entry)
        try write(atLeast: Self.portion)
    }

    package func append<E: PayloadEntry>(_ entry: E, payload: some Collection<UInt8>) throws(ImageError) {
        try waiting.append(entry, payload: payload)
        try write(atLeast: Self.portion)
    }

    package func append(raw bytes: some Collection<UInt8>) throws(ImageError) {
        waiting.append(raw: bytes)
        try write(atLeast: Self.portion)
    }

    /// Writes the rest.
    ///
    /// - Returns: what `checksums.stasis` says of the file.
    func end() throws(ImageError) -> Checksums.Line {
        try write(atLeast: 0)
        return Checksums.Line(checksum: checksum.value, size: size)
    }

    private func write(atLeast count: Int) throws(ImageError) {
        guard waiting.bytes.count >= count else { return }
        let bytes = waiting.take()
        size += UInt64(bytes.count)
        guard size <= limit else { throw ImageLimits.tooLarge(name) }
        checksum.update(bytes)
        try onFile(name) { () throws(SystemError) in try writeAll(file.raw, bytes, name: name) }
    }
}
