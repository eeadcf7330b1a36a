public import LinuxSystem

/// An empty directory that is gone after the test, with all that is in it.
public final class Scratch {
    public let path: String

    /// - Parameter base: where; thousands of files are better not written to a disk.
    public init(in base: String = "/tmp") {
        var template = Array("\(base)/stasis-scratch-XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) } ?? ""
        }
    }

    deinit { Self.remove(path) }

    private static func remove(_ path: String) {
        for name in (try? directoryEntries(path)) ?? [] where unlink("\(path)/\(name)") != 0 {
            remove("\(path)/\(name)")
        }
        rmdir(path)
    }

    public func path(_ name: String) -> String { "\(path)/\(name)" }

    public func open(_ name: String = "") throws -> OwnedDescriptor {
        try openAt(AT_FDCWD, path(name), O_RDONLY | O_DIRECTORY)
    }

    /// A new file each time: ext4 writes one that was truncated to disk when it is closed.
    @discardableResult
    public func put(_ name: String, _ bytes: [UInt8]) throws -> String {
        unlink(path(name))
        let file = try openAt(AT_FDCWD, path(name), O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
        try writeAll(file.raw, bytes)
        return path(name)
    }

    @discardableResult
    public func put(_ name: String, _ text: String) throws -> String { try put(name, Array(text.utf8)) }

    public func bytes(_ name: String) throws -> [UInt8] { try readFile(path(name)) }

    public func makeDirectory(_ name: String) throws { try system("mkdir \(name)") { mkdir(path(name), 0o700) } }

    public func link(_ name: String, to target: String) throws {
        try system("symlink \(name)") { symlink(target, path(name)) }
    }
}

/// The message of the error that `body` throws.
public func failure(_ body: () throws -> Void) -> String {
    do { try body() } catch { return "\(error)" }
    return "no error"
}
