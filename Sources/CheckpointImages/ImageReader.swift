import SwiftProtobuf

/// Walks the entries of one image.
///
///     magic (one or two u32) { u32 size, entry of that size, payload if the kind has one }*
///
/// Everything is little-endian. Images are hostile: every length is compared with what is left of the file before it
/// is used, and whatever is wrong becomes one ``ImageError``.
package struct ImageReader: Sendable {
    package let name: String
    private let bytes: [UInt8]
    private var offset = 0
    private var place = ImageError.Place(entry: 0, offset: 0)

    /// Checks the magic numbers.
    package init(_ name: String, _ bytes: [UInt8], kind: ImageKind) throws(ImageError) {
        self.name = name
        self.bytes = bytes
        for expected in kind.magics {
            guard let found = number() else { throw ImageError(name, .malformed("ends within the magic number")) }
            guard found == expected else {
                throw ImageError(name, .malformed("magic number \(hex(found)) instead of \(hex(expected))"))
            }
        }
    }

    package var isAtEnd: Bool { offset == bytes.count }

    /// Bytes between here and the end of the file.
    package var remaining: Int { bytes.count - offset }

    /// Reads a length and the entry that it announces.
    package mutating func next<E: Message>(as type: E.Type = E.self) throws(ImageError) -> E {
        place = ImageError.Place(entry: place.entry + 1, offset: offset)
        guard let length = number() else { throw malformed("ends within the entry's length") }
        guard length <= remaining else {
            throw malformed("length \(length) is beyond the end of the file (\(bytes.count) bytes)")
        }
        let body = take(Int(length))
        do {
            return try E(serializedBytes: Array(body))
        } catch {
            throw malformed("is no valid \(E.protoMessageName): \(decodingReason(error))")
        }
    }

    /// Reads the raw bytes that follow an entry, then skips what pads them to a multiple of `alignment`.
    package mutating func payload(_ count: UInt64, alignment: Int = 1) throws(ImageError) -> ArraySlice<UInt8> {
        let padding = (UInt64(alignment) - count % UInt64(alignment)) % UInt64(alignment)
        guard count <= remaining, padding <= UInt64(remaining) - count else {
            throw malformed("its \(count) bytes of data are beyond the end of the file (\(bytes.count) bytes)")
        }
        defer { offset += Int(padding) }
        return take(Int(count))
    }

    /// An error about the entry that was read last.
    package func malformed(_ what: String) -> ImageError { ImageError(name, .malformed(what), at: place) }

    private mutating func take(_ count: Int) -> ArraySlice<UInt8> {
        defer { offset += count }
        return bytes[offset..<offset + count]
    }

    private mutating func number() -> UInt32? {
        guard remaining >= 4 else { return nil }
        return take(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
}

private func hex(_ number: UInt32) -> String {
    let digits = String(number, radix: 16)
    return "0x" + String(repeating: "0", count: 8 - digits.count) + digits
}

private func decodingReason(_ error: any Error) -> String {
    switch error as? BinaryDecodingError {
    case .truncated: "it ends within a field"
    case .missingRequiredFields: "a required field is missing"
    case .invalidUTF8: "a string is not UTF-8"
    case .messageDepthLimit: "it is nested too deeply"
    default: "it is not a protobuf message"
    }
}
