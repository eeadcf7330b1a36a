/// What a file system calls one of its files, whatever its paths are. name_to_handle_at(2).
public struct FileHandle: Equatable, Sendable {
    public let type: Int32
    public let bytes: [UInt8]
    /// MAX_HANDLE_SZ
    private static let mostBytes = 128

    public init(type: Int32, bytes: [UInt8]) { (self.type, self.bytes) = (type, bytes) }

    /// That of a name in a directory, not followed where it is a link. On some file systems (overlay) it tells files apart, but
    /// does not open them: AT_HANDLE_FID, kernel 6.5. Before, those have none.
    public init(at directory: CInt, _ name: String) throws(SystemError) {
        do throws(SystemError) {
            self = try Self.ask(directory, name, 0x200)
        } catch {
            guard error.errno == .invalidArgument else { throw error }
            self = try Self.ask(directory, name, 0)
        }
    }

    private static func ask(_ directory: CInt, _ name: String, _ flag: CInt) throws(SystemError) -> FileHandle {
        var handle = header(count: mostBytes, type: 0) + [UInt8](repeating: 0, count: mostBytes)
        var mount: CInt = 0
        let follow = name.isEmpty ? CLINUX_AT_EMPTY_PATH : 0
        try system("handle of \(name)") {
            handle.withUnsafeMutableBytes { handle in
                withUnsafeMutablePointer(to: &mount) { mount in
                    name.withCString {
                        clinux_syscall(
                            Int(SYS_name_to_handle_at), Int(directory), Int(bitPattern: $0),
                            Int(bitPattern: handle.baseAddress), Int(bitPattern: mount), Int(follow | flag), 0)
                    }
                }
            }
        }
        let (count, type) = handle.withUnsafeBytes {
            ($0.loadUnaligned(as: UInt32.self), $0.loadUnaligned(fromByteOffset: 4, as: Int32.self))
        }
        return FileHandle(type: type, bytes: Array(handle[8..<8 + min(Int(count), mostBytes)]))
    }

    private static func header(count: Int, type: Int32) -> [UInt8] {
        withUnsafeBytes(of: (UInt32(count), type)) { Array($0) }
    }

    /// open_by_handle_at(2); CAP_DAC_READ_SEARCH.
    ///
    /// - Parameter place: any file of the file system that is open.
    public func open(on place: CInt, _ flags: CInt) throws(SystemError) -> OwnedDescriptor {
        var handle = Self.header(count: bytes.count, type: type) + bytes
        let opened = try system("open by handle") {
            handle.withUnsafeMutableBytes {
                clinux_syscall(
                    Int(SYS_open_by_handle_at), Int(place), Int(bitPattern: $0.baseAddress), Int(flags | O_CLOEXEC), 0,
                    0, 0)
            }
        }
        return OwnedDescriptor(CInt(opened))
    }
}
