/// The names in a directory, one after the other, however many there are. getdents64(2).
public struct DirectoryStream: ~Copyable {
    public let directory: OwnedDescriptor
    private var buffer = [UInt8](repeating: 0, count: 32 << 10)
    private var rest = 0..<0
    /// Behind the name that came last: where another stream of the same directory goes on.
    public private(set) var position: off_t

    /// - Parameter directory: opened for reading, and nobody else's.
    public init(_ directory: consuming OwnedDescriptor, at position: off_t = 0) throws(SystemError) {
        let raw = directory.raw
        if position != 0 { try system("go on in directory") { lseek(raw, position, SEEK_SET) } }
        self.directory = directory
        self.position = position
    }

    /// `nil` at the end. `.` and `..` are left out.
    public mutating func next() throws(SystemError) -> String? {
        while true {
            if rest.isEmpty {
                let raw = directory.raw
                let count = try system("read directory") {
                    buffer.withUnsafeMutableBytes {
                        clinux_syscall(
                            Int(SYS_getdents64), Int(raw), Int(bitPattern: $0.baseAddress), $0.count, 0, 0, 0)
                    }
                }
                if count == 0 { return nil }
                rest = 0..<count
            }
            // struct linux_dirent64: inode 8, position of the next 8, length 2, type 1, name with a 0 behind it.
            let start = rest.lowerBound
            let (next, length) = buffer.withUnsafeBytes {
                (
                    $0.loadUnaligned(fromByteOffset: start + 8, as: Int64.self),
                    Int($0.loadUnaligned(fromByteOffset: start + 16, as: UInt16.self))
                )
            }
            rest = start + length..<rest.upperBound
            position = off_t(next)
            let name = buffer[start + 19..<start + length].prefix { $0 != 0 }
            if name.elementsEqual(".".utf8) || name.elementsEqual("..".utf8) { continue }
            guard let text = String(validating: name, as: UTF8.self) else {
                throw SystemError(.illegalByteSequence, "name \(String(decoding: name, as: UTF8.self))")
            }
            return text
        }
    }
}
