import OCISpec

/// A line of the log, in either of the formats that runc's clients read.
package enum LogFormat: String, Sendable {
    case text, json

    package func line(level: String, message: String, time: String) -> String {
        switch self {
        case .text:
            return "time=\"\(time)\" level=\(level) msg=\(Self.quotedIfNeeded(message))"
        case .json:
            let members: [(String, JSONText)] = [
                ("level", .string(level)), ("msg", .string(message)), ("time", .string(time)),
            ]
            return JSONText.object(members).text()
        }
    }

    /// logrus leaves a plain word as it is, and writes anything else as a literal of Go.
    private static func quotedIfNeeded(_ message: String) -> String {
        let plain = message.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
            case UInt8(ascii: "0")...UInt8(ascii: "9"): true
            default: "-._/@^+".utf8.contains(byte)
            }
        }
        if plain, !message.isEmpty { return message }
        var text = "\""
        for scalar in message.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{0}"..<" ", "\u{7f}":
                let digits = String(scalar.value, radix: 16)
                text += "\\x" + (digits.count < 2 ? "0" : "") + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text + "\""
    }
}
