/// JSON whose members come out in the order given, as people and tests of runc's clients know it.
package indirect enum JSONText: Equatable, Sendable {
    case string(String)
    case number(Int)
    /// Counters of the kernel's reach the last bit.
    case unsigned(UInt64)
    /// As it is written.
    case literal(String)
    case bool(Bool)
    case array([JSONText])
    case object([(String, JSONText)])

    package static func strings(_ values: [String]) -> JSONText { .array(values.map(JSONText.string)) }

    package static func == (left: JSONText, right: JSONText) -> Bool { left.text() == right.text() }

    /// On one line, or with a line for each element if `indent` is given.
    package func text(indent: String? = nil) -> String {
        var text = ""
        write(to: &text, indent: indent, margin: "\n")
        return text
    }

    private func write(to text: inout String, indent: String?, margin: String) {
        switch self {
        case .string(let value): text += Self.quoted(value)
        case .number(let value): text += String(value)
        case .unsigned(let value): text += String(value)
        case .literal(let value): text += value
        case .bool(let value): text += value ? "true" : "false"
        case .array(let elements):
            Self.writeList(elements, "[", "]", to: &text, indent: indent, margin: margin) { element, text, margin in
                element.write(to: &text, indent: indent, margin: margin)
            }
        case .object(let members):
            Self.writeList(members, "{", "}", to: &text, indent: indent, margin: margin) { member, text, margin in
                text += Self.quoted(member.0) + (indent == nil ? ":" : ": ")
                member.1.write(to: &text, indent: indent, margin: margin)
            }
        }
    }

    private static func writeList<Element>(
        _ elements: [Element], _ open: String, _ close: String, to text: inout String, indent: String?, margin: String,
        element write: (Element, inout String, String) -> Void
    ) {
        text += open
        let inner = margin + (indent ?? "")
        for (index, element) in elements.enumerated() {
            if index > 0 { text += "," }
            if indent != nil { text += inner }
            write(element, &text, inner)
        }
        if indent != nil, !elements.isEmpty { text += margin }
        text += close
    }

    /// A string literal. Go also escapes what HTML would read as markup, and its clients compare bytes.
    package static func quoted(_ value: String) -> String {
        var text = "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{0}"..<" ", "<", ">", "&", "\u{2028}", "\u{2029}":
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text + "\""
    }
}
