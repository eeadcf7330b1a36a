import CheckpointImages
import LinuxSystem

/// What getsockopt(2) tells of a socket and CRIU's messages have no field for. `sockets.stasis` is a list of these, each
/// u32 file, level, name, count, and the value's bytes; all little-endian.
struct SocketOptionEntry: Hashable {
    static let fileName = "sockets.stasis"

    /// The socket's id in `files.img`.
    var file: UInt32
    var level: CInt
    var name: CInt
    var value: [UInt8]

    var bytes: [UInt8] {
        [UInt8](integers: [file, UInt32(bitPattern: level), UInt32(bitPattern: name), UInt32(value.count)]) + value
    }

    /// Those of each file.
    static func parse(_ bytes: [UInt8]) throws -> [UInt32: [SocketOptionEntry]] {
        var entries: [UInt32: [SocketOptionEntry]] = [:]
        var rest = bytes[...]
        while !rest.isEmpty {
            guard let file = rest.integer(UInt32.self, at: 0), let level = rest.integer(CInt.self, at: 4),
                let name = rest.integer(CInt.self, at: 8), let count = rest.integer(UInt32.self, at: 12),
                count <= rest.count - 16
            else {
                throw CheckpointError("\(fileName): is cut off at byte \(bytes.count - rest.count)")
            }
            let value = Array(rest.dropFirst(16).prefix(Int(count)))
            entries[file, default: []].append(SocketOptionEntry(file: file, level: level, name: name, value: value))
            rest = rest.dropFirst(16 + Int(count))
        }
        return entries
    }
}
