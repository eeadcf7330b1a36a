import SwiftProtobuf

/// Builds the bytes of one image in memory; ``ImageReader`` draws the format.
///
/// Nothing is written to disk here: ``ImageSet`` and ``ImageStream`` do that.
package struct ImageWriter: Sendable {
    package let name: String
    package private(set) var bytes: [UInt8] = []
    /// What its entries take at a restore.
    private(set) var budget = EntryBudget()
    private var count = 0

    package init(_ kind: ImageKind, _ id: some BinaryInteger = UInt64(0)) {
        name = kind.fileName(id)
        kind.magics.forEach { append($0) }
    }

    init(raw name: String) { self.name = name }

    /// The bytes so far, which are no longer here.
    mutating func take() -> [UInt8] {
        defer { bytes.removeAll(keepingCapacity: true) }
        return bytes
    }

    /// Appends an entry without payload. Fails if a required field is not set.
    package mutating func append(_ entry: some Message) throws(ImageError) {
        count += 1
        let place = ImageError.Place(entry: count, offset: bytes.count)
        do {
            let body: [UInt8] = try entry.serializedBytes()
            _ = budget.add(type(of: entry), body[...])
            budget.count(entry)
            append(UInt32(body.count))
            bytes += body
        } catch {
            let message = type(of: entry).protoMessageName
            throw ImageError(name, .malformed("a required field of \(message) is not set"), at: place)
        }
    }

    /// Appends an entry and the bytes after it, whose number must be what the entry states.
    package mutating func append<E: PayloadEntry>(
        _ entry: E, payload: some Collection<UInt8>
    ) throws(ImageError) {
        let place = ImageError.Place(entry: count + 1, offset: bytes.count)
        guard entry.payloadLength == payload.count else {
            let what = "has \(payload.count) bytes of data, but states \(entry.payloadLength)"
            throw ImageError(name, .malformed(what), at: place)
        }
        try append(entry)
        append(raw: payload, alignment: E.payloadAlignment)
    }

    /// Appends bytes as they are, then zeros up to a multiple of `alignment` of their number.
    package mutating func append(raw payload: some Collection<UInt8>, alignment: Int = 1) {
        bytes += payload
        bytes += repeatElement(0, count: (alignment - payload.count % alignment) % alignment)
    }

    private mutating func append(_ number: UInt32) {
        withUnsafeBytes(of: number.littleEndian) { bytes += $0 }
    }
}
