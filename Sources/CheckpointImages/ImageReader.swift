import SwiftProtobuf

/// Walks the entries of one image.
///
///     magic (one or two u32) { u32 size, entry of that size, payload if the kind has one }*
///
/// Everything is little-endian. Images are hostile: every length is compared with what is left of the file before it
/// is used, and whatever is wrong becomes one ``ImageError``.
package struct ImageReader: ~Copyable {
    package let name: String
    private let file: RawImage
    private let account: EntryAccount?
    private var offset: UInt64 = 0
    /// What was read last, from ``start`` on.
    private var window: [UInt8] = []
    private var start: UInt64 = 0
    private var place = ImageError.Place(entry: 0, offset: 0)

    private static let windowSize = 64 << 10

    /// Checks the magic numbers.
    ///
    /// - Parameter account: pays for the entries, but where they have been read before.
    init(
        _ name: String, _ file: consuming RawImage, kind: ImageKind, account: EntryAccount?
    ) throws(ImageError) {
        self.name = name
        self.file = file
        self.account = account
        for expected in kind.magics {
            guard let found = try number() else { throw ImageError(name, .malformed("ends within the magic number")) }
            guard found == expected else {
                throw ImageError(name, .malformed("magic number \(hex(found)) instead of \(hex(expected))"))
            }
        }
    }

    package var isAtEnd: Bool { offset == file.size }

    /// Bytes between here and the end of the file.
    package var remaining: UInt64 { file.size - offset }

    /// Reads a length and the entry that it announces.
    package mutating func next<E: Message>(as type: E.Type = E.self) throws(ImageError) -> E {
        try nextWithBytes(as: type).entry
    }

    /// The same, and what it was decoded from.
    mutating func nextWithBytes<E: Message>(
        as type: E.Type
    ) throws(ImageError) -> (entry: E, bytes: ArraySlice<UInt8>) {
        place = ImageError.Place(entry: place.entry + 1, offset: Int(offset))
        guard let length = try number() else { throw malformed("ends within the entry's length") }
        guard length <= remaining else {
            throw malformed("length \(length) is beyond the end of the file (\(file.size) bytes)")
        }
        let body = try take(Int(length))
        if let account, !account.budget.add(E.self, body) { throw malformed(EntryBudget.exceeded) }
        do {
            let entry = try E(serializedBytes: Array(body))
            account?.budget.count(entry)
            return (entry, body)
        } catch {
            throw malformed("is no valid \(E.protoMessageName): \(decodingReason(error))")
        }
    }

    /// Passes over the raw bytes that follow an entry, and over what pads them to a multiple of `alignment`.
    package mutating func payload(_ count: UInt64, alignment: Int = 1) throws(ImageError) -> PayloadPlace {
        let padding = (UInt64(alignment) - count % UInt64(alignment)) % UInt64(alignment)
        guard count <= remaining, padding <= remaining - count else {
            throw malformed("its \(count) bytes of data are beyond the end of the file (\(file.size) bytes)")
        }
        defer { offset += count + padding }
        return PayloadPlace(offset: offset, count: count)
    }

    /// Bytes that ``payload(_:alignment:)`` has passed over.
    package func bytes(_ place: PayloadPlace) throws(ImageError) -> [UInt8] { try file.bytes(place, name) }

    /// The file, for bytes that are read later.
    package consuming func finish() -> RawImage { file }

    /// An error about the entry that was read last.
    package func malformed(_ what: String) -> ImageError { ImageError(name, .malformed(what), at: place) }

    private mutating func take(_ count: Int) throws(ImageError) -> ArraySlice<UInt8> {
        if offset < start || offset + UInt64(count) > start + UInt64(window.count) {
            let size = min(UInt64(max(count, Self.windowSize)), remaining)
            window = try file.bytes(PayloadPlace(offset: offset, count: size), name)
            start = offset
        }
        defer { offset += UInt64(count) }
        let first = Int(offset - start)
        return window[first..<first + count]
    }

    private mutating func number() throws(ImageError) -> UInt32? {
        guard remaining >= 4 else { return nil }
        return try take(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
}

/// What all readers of a checkpoint's images have spent.
final class EntryAccount {
    var budget = EntryBudget()
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
