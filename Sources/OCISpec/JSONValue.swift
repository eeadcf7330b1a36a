/// A JSON document as a tree.
///
/// FoundationEssentials has a decoder too, but of a broken document it says no more than that it is broken, and of a
/// number out of range neither the number nor the place.
package enum JSONValue: Equatable, Sendable {
    case null
    case bool(Bool)
    case integer(Int128)
    /// With a fraction or an exponent, which nothing in the specification has; as it was written.
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([JSONMember])

    /// RFC 8259.
    package init(_ text: [UInt8]) throws(JSONSyntaxError) {
        var parser = JSONParser(text: text)
        self = try parser.document()
    }
}

/// One of an object's, in the document's order.
package struct JSONMember: Equatable, Sendable {
    package var name: String
    package var value: JSONValue

    package init(name: String, value: JSONValue) {
        self.name = name
        self.value = value
    }
}

/// Where and why a text is no JSON.
package struct JSONSyntaxError: Error, Equatable, CustomStringConvertible, Sendable {
    package var reason: String
    package var line: Int
    package var column: Int

    package var description: String { "\(reason) in line \(line), column \(column)" }
}

private struct JSONParser {
    let text: [UInt8]
    var position = 0
    /// Deeper than any configuration, and far from the end of the stack.
    var depth = 0
    private static let deepest = 200

    mutating func document() throws(JSONSyntaxError) -> JSONValue {
        let value = try value()
        skipBlanks()
        if position < text.count { throw error("unexpected text after the end") }
        return value
    }

    private mutating func value() throws(JSONSyntaxError) -> JSONValue {
        skipBlanks()
        guard let byte = peek else { throw error("unexpected end") }
        switch byte {
        case UInt8(ascii: "{"): return try nested { parser throws(JSONSyntaxError) in try parser.object() }
        case UInt8(ascii: "["): return try nested { parser throws(JSONSyntaxError) in try parser.array() }
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw error("unexpected character")
        }
    }

    private mutating func nested(
        _ body: (inout JSONParser) throws(JSONSyntaxError) -> JSONValue
    ) throws(JSONSyntaxError) -> JSONValue {
        depth += 1
        defer { depth -= 1 }
        if depth > Self.deepest { throw error("nested too deeply") }
        return try body(&self)
    }

    private mutating func object() throws(JSONSyntaxError) -> JSONValue {
        var members: [JSONMember] = []
        position += 1
        if take(UInt8(ascii: "}")) { return .object(members) }
        while true {
            skipBlanks()
            guard peek == UInt8(ascii: "\"") else { throw error("expected a member's name") }
            let name = try string()
            guard take(UInt8(ascii: ":")) else { throw error("expected a colon") }
            members.append(JSONMember(name: name, value: try value()))
            if take(UInt8(ascii: "}")) { return .object(members) }
            guard take(UInt8(ascii: ",")) else { throw error("expected a comma or the object's end") }
        }
    }

    private mutating func array() throws(JSONSyntaxError) -> JSONValue {
        var elements: [JSONValue] = []
        position += 1
        if take(UInt8(ascii: "]")) { return .array(elements) }
        while true {
            elements.append(try value())
            if take(UInt8(ascii: "]")) { return .array(elements) }
            guard take(UInt8(ascii: ",")) else { throw error("expected a comma or the array's end") }
        }
    }

    private mutating func number() throws(JSONSyntaxError) -> JSONValue {
        let start = position
        _ = take(UInt8(ascii: "-"), afterBlanks: false)
        let first = position
        skipDigits()
        if position == first || position - first > 1 && text[first] == UInt8(ascii: "0") {
            throw error("malformed number")
        }
        var isInteger = true
        if take(UInt8(ascii: "."), afterBlanks: false) { isInteger = false; try requireDigits() }
        if let byte = peek, byte | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            position += 1
            if let sign = peek, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { position += 1 }
            try requireDigits()
        }
        let digits = String(decoding: text[start..<position], as: UTF8.self)
        if isInteger, let integer = Int128(digits) { return .integer(integer) }
        return .number(digits)
    }

    private mutating func string() throws(JSONSyntaxError) -> String {
        position += 1
        let start = position
        while let byte = peek {
            if byte == UInt8(ascii: "\"") {
                defer { position += 1 }
                return String(decoding: text[start..<position], as: UTF8.self)
            }
            if byte == UInt8(ascii: "\\") { return try escapedString(from: start) }
            if byte < 0x20 { throw error("control character in a string") }
            position += 1
        }
        throw error("unexpected end in a string")
    }

    private mutating func escapedString(from start: Int) throws(JSONSyntaxError) -> String {
        var bytes = Array(text[start..<position])
        while let byte = peek {
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: bytes, as: UTF8.self)
            case UInt8(ascii: "\\"): bytes += try escape().utf8
            case 0..<0x20: throw error("control character in a string")
            default: bytes.append(byte)
            }
        }
        throw error("unexpected end in a string")
    }

    private mutating func escape() throws(JSONSyntaxError) -> String {
        guard let byte = peek else { throw error("unexpected end in a string") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return String(UnicodeScalar(byte))
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return try unicodeEscape()
        default: throw error("unknown escape in a string")
        }
    }

    /// One UTF-16 unit, or two that make a pair; half a pair becomes U+FFFD, as in Go.
    private mutating func unicodeEscape() throws(JSONSyntaxError) -> String {
        var units = [try hexadecimal()]
        if UTF16.isLeadSurrogate(units[0]), text[position...].starts(with: "\\u".utf8) {
            let back = position
            position += 2
            let second = try hexadecimal()
            if UTF16.isTrailSurrogate(second) { units.append(second) } else { position = back }
        }
        return String(decoding: units, as: UTF16.self)
    }

    private mutating func hexadecimal() throws(JSONSyntaxError) -> UInt16 {
        guard text.count - position >= 4 else { throw error("unexpected end in a string") }
        let digits = String(decoding: text[position..<position + 4], as: UTF8.self)
        guard !digits.hasPrefix("+"), !digits.hasPrefix("-"), let unit = UInt16(digits, radix: 16) else {
            throw error("malformed escape in a string")
        }
        position += 4
        return unit
    }

    private mutating func word(_ word: String, _ value: JSONValue) throws(JSONSyntaxError) -> JSONValue {
        guard text[position...].starts(with: word.utf8) else { throw error("unexpected character") }
        position += word.utf8.count
        return value
    }

    private var peek: UInt8? { position < text.count ? text[position] : nil }

    private mutating func take(_ byte: UInt8, afterBlanks: Bool = true) -> Bool {
        if afterBlanks { skipBlanks() }
        guard peek == byte else { return false }
        position += 1
        return true
    }

    private mutating func requireDigits() throws(JSONSyntaxError) {
        let start = position
        skipDigits()
        if position == start { throw error("malformed number") }
    }

    private mutating func skipDigits() {
        while let byte = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
    }

    private mutating func skipBlanks() {
        while let byte = peek, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    private func error(_ reason: String) -> JSONSyntaxError {
        let before = text[..<min(position, text.count)]
        let line = before.count { $0 == 0x0a } + 1
        let column = before.count - (before.lastIndex(of: 0x0a).map { $0 + 1 } ?? 0) + 1
        return JSONSyntaxError(reason: reason, line: line, column: column)
    }
}
