/// A value as the D-Bus specification's type system has it.
package indirect enum DBusValue: Equatable, Sendable {
    case byte(UInt8)
    case boolean(Bool)
    case int16(Int16)
    case uint16(UInt16)
    case int32(Int32)
    case uint32(UInt32)
    case int64(Int64)
    case uint64(UInt64)
    case double(Double)
    case string(String)
    case objectPath(String)
    case signature(String)
    /// An array may be empty, so that it says what its elements are.
    case array(of: String, [DBusValue])
    case structure([DBusValue])
    case variant(DBusValue)

    package var signature: String {
        switch self {
        case .byte: "y"
        case .boolean: "b"
        case .int16: "n"
        case .uint16: "q"
        case .int32: "i"
        case .uint32: "u"
        case .int64: "x"
        case .uint64: "t"
        case .double: "d"
        case .string: "s"
        case .objectPath: "o"
        case .signature: "g"
        case .array(let element, _): "a" + element
        case .structure(let members): "(" + members.map(\.signature).joined() + ")"
        case .variant: "v"
        }
    }

    package var text: String? {
        switch self {
        case .string(let text), .objectPath(let text): text
        default: nil
        }
    }
}

/// What goes wrong on a bus, or what the other side answers instead of a reply.
package struct DBusError: Error, CustomStringConvertible, Sendable {
    /// `org.freedesktop.systemd1.NoSuchUnit` and the like, if the other side says it.
    package var name: String?
    package var description: String

    package init(_ description: String, name: String? = nil) {
        self.description = description
        self.name = name
    }
}

/// The first complete type of a signature, and what follows it. nil if it is none.
func splitSignature(_ signature: Substring) -> (first: Substring, rest: Substring)? {
    guard let kind = signature.first else { return nil }
    let rest = signature.dropFirst()
    switch kind {
    case "y", "b", "n", "q", "i", "u", "x", "t", "d", "s", "o", "g", "v":
        return (signature.prefix(1), rest)
    case "a":
        guard let element = splitSignature(rest) else { return nil }
        return (signature[signature.startIndex..<element.first.endIndex], element.rest)
    case "(", "{":
        // A dictionary's entry is marshalled as a structure.
        var inner = rest
        while let next = inner.first, next != ")", next != "}" {
            guard let member = splitSignature(inner) else { return nil }
            inner = member.rest
        }
        guard !inner.isEmpty else { return nil }
        let after = inner.dropFirst()
        return (signature[signature.startIndex..<after.startIndex], after)
    default: return nil
    }
}
