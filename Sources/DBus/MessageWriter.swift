/// Marshals values, little-endian. D-Bus specification, "Marshaling".
struct MessageWriter {
    private(set) var bytes: [UInt8] = []

    mutating func align(_ boundary: Int) {
        while bytes.count % boundary != 0 { bytes.append(0) }
    }

    mutating func write(_ value: DBusValue) {
        switch value {
        case .byte(let byte): bytes.append(byte)
        case .boolean(let flag): writeInteger(UInt32(flag ? 1 : 0))
        case .int16(let number): writeInteger(number)
        case .uint16(let number): writeInteger(number)
        case .int32(let number): writeInteger(number)
        case .uint32(let number): writeInteger(number)
        case .int64(let number): writeInteger(number)
        case .uint64(let number): writeInteger(number)
        case .double(let number): writeInteger(number.bitPattern)
        case .string(let text), .objectPath(let text):
            writeInteger(UInt32(text.utf8.count))
            bytes += Array(text.utf8) + [0]
        case .signature(let text):
            bytes += [UInt8(text.utf8.count)] + Array(text.utf8) + [0]
        case .array(let element, let members): writeArray(element, members)
        case .structure(let members):
            align(8)
            for member in members { write(member) }
        case .variant(let inner):
            write(.signature(inner.signature))
            write(inner)
        }
    }

    /// The length counts neither itself nor the padding before the first element.
    private mutating func writeArray(_ element: String, _ members: [DBusValue]) {
        writeInteger(UInt32(0))
        let place = bytes.count - 4
        align(alignment(of: element.first))
        let start = bytes.count
        for member in members { write(member) }
        patch(place, UInt32(bytes.count - start))
    }

    mutating func patch(_ place: Int, _ length: UInt32) {
        for index in 0..<4 { bytes[place + index] = UInt8(truncatingIfNeeded: length >> UInt32(8 * index)) }
    }

    private mutating func writeInteger<Number: FixedWidthInteger>(_ number: Number) {
        align(Number.bitWidth / 8)
        for shift in stride(from: 0, to: Number.bitWidth, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> Number(shift)))
        }
    }
}

func alignment(of type: Character?) -> Int {
    switch type {
    case "y", "g", "v": 1
    case "n", "q": 2
    case "x", "t", "d", "(", "{": 8
    default: 4
    }
}
