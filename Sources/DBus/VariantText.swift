/// Reads a value in GVariant's text format, as `busctl` and `gdbus` take it and clients write it into annotations:
/// `true`, `'text'`, `uint64 5`, `@t 5`, `['a', 'b']`, `(1, 'x')`, `<5>`. Without a type a number is an int32 or a double.
package struct VariantText {
    private var rest: Substring
    private let whole: String

    package static func parse(_ text: String) throws(DBusError) -> DBusValue {
        var parser = VariantText(text)
        let value = try parser.value(as: nil)
        parser.skipBlanks()
        guard parser.rest.isEmpty else { throw parser.error }
        return value
    }

    private init(_ text: String) {
        whole = text
        rest = text[...]
    }

    private var error: DBusError { DBusError("\(whole): not a value in GVariant's text format") }

    private static let keywords = [
        "boolean": "b", "byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "int64": "x",
        "uint64": "t", "double": "d", "string": "s", "objectpath": "o", "signature": "g",
    ]

    private mutating func skipBlanks() { rest = rest.drop(while: \.isWhitespace) }

    private mutating func take(_ character: Character) -> Bool {
        skipBlanks()
        guard rest.first == character else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func word() -> Substring {
        skipBlanks()
        let word = rest.prefix { $0.isLetter || $0.isNumber || "+-._".contains($0) }
        rest = rest.dropFirst(word.count)
        return word
    }

    private mutating func value(as type: Substring?) throws(DBusError) -> DBusValue {
        skipBlanks()
        switch rest.first {
        case "@":
            rest.removeFirst()
            guard let split = splitSignature(rest.prefix { !$0.isWhitespace }), split.rest.isEmpty else { throw error }
            rest = rest.dropFirst(split.first.count)
            return try value(as: split.first)
        case "'", "\"": return try scalar(try quoted(), as: type ?? "s")
        case "[": return try array(as: type)
        case "(": return try structure(as: type)
        case "<":
            rest.removeFirst()
            let inner = try value(as: nil)
            guard take(">") else { throw error }
            return .variant(inner)
        default:
            let word = String(word())
            if let known = Self.keywords[word] { return try value(as: Substring(known)) }
            if word == "true" || word == "false" { return try scalar(word, as: type ?? "b") }
            return try scalar(word, as: type ?? (Int32(word) != nil ? "i" : "d"))
        }
    }

    private func scalar(_ text: String, as type: Substring) throws(DBusError) -> DBusValue {
        let value: DBusValue? =
            switch type {
            case "b": ["true": .boolean(true), "false": .boolean(false)][text]
            case "y": integer(text).map(DBusValue.byte)
            case "n": integer(text).map(DBusValue.int16)
            case "q": integer(text).map(DBusValue.uint16)
            case "i": integer(text).map(DBusValue.int32)
            case "u": integer(text).map(DBusValue.uint32)
            case "x": integer(text).map(DBusValue.int64)
            case "t": integer(text).map(DBusValue.uint64)
            case "d": Double(text).map(DBusValue.double)
            case "s": .string(text)
            case "o": text.hasPrefix("/") ? .objectPath(text) : nil
            case "g": .signature(text)
            default: nil
            }
        guard let value else { throw error }
        return value
    }

    private func integer<Number: FixedWidthInteger>(_ text: String) -> Number? {
        text.hasPrefix("0x") ? Number(text.dropFirst(2), radix: 16) : Number(text)
    }

    private mutating func quoted() throws(DBusError) -> String {
        let quote = rest.removeFirst()
        var text = ""
        while let character = rest.popFirst() {
            if character == quote { return text }
            guard character == "\\" else {
                text.append(character)
                continue
            }
            switch rest.popFirst() {
            case "n": text.append("\n")
            case "t": text.append("\t")
            case let escaped?: text.append(escaped)
            case nil: throw error
            }
        }
        throw error
    }

    private mutating func array(as type: Substring?) throws(DBusError) -> DBusValue {
        rest.removeFirst()
        if let type, type.first != "a" { throw error }
        var element = type?.dropFirst()
        var members: [DBusValue] = []
        while !take("]") {
            if !members.isEmpty, !take(",") { throw error }
            let member = try value(as: element)
            element = element ?? Substring(member.signature)
            guard member.signature == element.map(String.init) else { throw error }
            members.append(member)
        }
        guard let element else { throw DBusError("\(whole): an empty array must have a type, such as @as []") }
        return .array(of: String(element), members)
    }

    private mutating func structure(as type: Substring?) throws(DBusError) -> DBusValue {
        rest.removeFirst()
        if let type, type.first != "(" { throw error }
        var types = type?.dropFirst().dropLast()
        var members: [DBusValue] = []
        while !take(")") {
            if !members.isEmpty, !take(",") { throw error }
            // (1,) has one member.
            if take(")") { break }
            let split = types.flatMap { splitSignature($0) }
            if types != nil, split == nil { throw error }
            members.append(try value(as: split?.first))
            types = split?.rest
        }
        guard types?.isEmpty ?? true else { throw error }
        return .structure(members)
    }
}
