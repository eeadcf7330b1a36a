import LinuxSystem
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
        let escaped = message.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
        return "\"" + escaped.printable + "\""
    }
}
