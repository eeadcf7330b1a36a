/// Unmarshals what came from a bus, with every length held against what is there.
struct MessageReader {
    private let bytes: ArraySlice<UInt8>
    private(set) var position: Int
    private var depth = 0

    /// - Parameter bytes: alignment counts from their first.
    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    /// All values of a signature.
    mutating func read(_ signature: String) throws(DBusError) -> [DBusValue] {
        var values: [DBusValue] = []
        var rest = Substring(signature)
        while !rest.isEmpty {
            guard let split = splitSignature(rest) else { throw DBusError("message with signature \(signature)") }
            values.append(try readValue(split.first))
            rest = split.rest
        }
        return values
    }

    mutating func align(_ boundary: Int) {
        let excess = (position - bytes.startIndex) % boundary
        if excess != 0 { position += boundary - excess }
    }

    private mutating func readValue(_ type: Substring) throws(DBusError) -> DBusValue {
        depth += 1
        defer { depth -= 1 }
        // The specification allows 32 arrays in 32 structures.
        guard depth <= 64 else { throw DBusError("message is nested too deeply") }
        switch type.first {
        case "y": return .byte(try readInteger())
        case "b": return .boolean(try readInteger() as UInt32 != 0)
        case "n": return .int16(try readInteger())
        case "q": return .uint16(try readInteger())
        case "i": return .int32(try readInteger())
        case "u": return .uint32(try readInteger())
        case "x": return .int64(try readInteger())
        case "t": return .uint64(try readInteger())
        case "d": return .double(Double(bitPattern: try readInteger()))
        case "s": return .string(try readText(Int(try readInteger() as UInt32)))
        case "o": return .objectPath(try readText(Int(try readInteger() as UInt32)))
        case "g": return .signature(try readSignature())
        case "v":
            let signature = try readSignature()
            guard let split = splitSignature(Substring(signature)), split.rest.isEmpty else {
                throw DBusError("variant with signature \(signature)")
            }
            return .variant(try readValue(split.first))
        case "a": return try readArray(type.dropFirst())
        default:
            align(8)
            var members: [DBusValue] = []
            var rest = type.dropFirst().dropLast()
            while let split = splitSignature(rest) {
                members.append(try readValue(split.first))
                rest = split.rest
            }
            return .structure(members)
        }
    }

    private mutating func readArray(_ element: Substring) throws(DBusError) -> DBusValue {
        let length = Int(try readInteger() as UInt32)
        align(alignment(of: element.first))
        let end = position + length
        guard end <= bytes.endIndex else { throw DBusError("message is cut") }
        var members: [DBusValue] = []
        while position < end { members.append(try readValue(element)) }
        return .array(of: String(element), members)
    }

    private mutating func readSignature() throws(DBusError) -> String {
        try readText(Int(try readInteger() as UInt8))
    }

    /// Text is followed by a NUL that its length does not count.
    private mutating func readText(_ length: Int) throws(DBusError) -> String {
        guard length < bytes.endIndex - position else { throw DBusError("message is cut") }
        defer { position += length + 1 }
        return String(decoding: bytes[position..<position + length], as: UTF8.self)
    }

    private mutating func readInteger<Number: FixedWidthInteger>() throws(DBusError) -> Number {
        align(Number.bitWidth / 8)
        guard position + Number.bitWidth / 8 <= bytes.endIndex else { throw DBusError("message is cut") }
        defer { position += Number.bitWidth / 8 }
        var number: Number = 0
        for index in 0..<Number.bitWidth / 8 {
            number |= Number(truncatingIfNeeded: bytes[position + index]) << (8 * index)
        }
        return number
    }
}
