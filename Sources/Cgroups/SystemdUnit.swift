import DBus
import LinuxSystem

/// The transient unit that holds a container under the systemd manager: a scope, or a slice if its name says so.
package struct SystemdUnit: Codable, Equatable, Sendable {
    package var name: String
    /// The slice that it is in.
    package var slice: String
    /// Whether the caller's own service manager has it, and not the machine's.
    package var isUsers: Bool

    var isSlice: Bool { name.hasSuffix(".slice") }

    /// `cgroupsPath` is `slice:prefix:name`, each of which may be empty but the name.
    package init(id: String, cgroupsPath: String?, isUsers: Bool) throws(CgroupError) {
        self.isUsers = isUsers
        let asked = cgroupsPath.flatMap { $0.isEmpty ? nil : $0 } ?? "::\(id)"
        let parts = asked.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, !parts[2].isEmpty else {
            throw CgroupError(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"\(asked)\" instead"
            )
        }
        slice = parts[0].isEmpty ? (isUsers ? "user.slice" : "system.slice") : parts[0]
        if parts[2].hasSuffix(".slice") {
            name = parts[2]
        } else {
            let prefix = parts[1].isEmpty ? (cgroupsPath ?? "").isEmpty ? "stasis" : "" : parts[1]
            name = Self.escaped(prefix.isEmpty ? parts[2] : "\(prefix)-\(parts[2])") + ".scope"
        }
        _ = try expandSlice(slice)
    }

    /// Beneath the service manager's own cgroup.
    var path: String {
        get throws(CgroupError) { try expandSlice(slice) + "/" + name }
    }

    /// What a unit's name cannot have is written as a code. systemd.unit(5), "String escaping".
    private static func escaped(_ name: String) -> String {
        name.utf8.reduce(into: "") { result, byte in
            let character = Character(UnicodeScalar(byte))
            if character.isASCII, character.isLetter || character.isNumber || ":_.-\\@".contains(character) {
                result.append(character)
            } else {
                result += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
        }
    }
}

/// `a-b.slice` lies in `a.slice`: its directory is `/a.slice/a-b.slice`. The root's, `-.slice`, is the empty path.
/// systemd.slice(5)
func expandSlice(_ slice: String) throws(CgroupError) -> String {
    guard slice.hasSuffix(".slice"), !slice.contains("/") else { throw CgroupError("invalid slice name: \(slice)") }
    let stem = slice.dropLast(6)
    if stem == "-" { return "" }
    let parts = stem.split(separator: "-", omittingEmptySubsequences: false)
    if parts.contains(where: \.isEmpty) { throw CgroupError("invalid slice name: \(slice)") }
    return (1...parts.count).reduce(into: "") { $0 += "/" + parts[..<$1].joined(separator: "-") + ".slice" }
}
