import LinuxSystem

/// An empty directory that is gone after the test, with all that is in it.
final class Scratch {
    let path: String

    init() {
        var template = Array("/tmp/stasis-linux-XXXXXX".utf8CString)
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

    func open(_ name: String = "") throws -> OwnedDescriptor {
        try openAt(AT_FDCWD, "\(path)/\(name)", O_RDONLY | O_DIRECTORY)
    }

    @discardableResult
    func put(_ name: String, _ text: String) throws -> String {
        let file = try openAt(AT_FDCWD, "\(path)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
        try writeAll(file.raw, Array(text.utf8))
        return "\(path)/\(name)"
    }

    func makeDirectory(_ name: String) throws { try system("mkdir \(name)") { mkdir("\(path)/\(name)", 0o700) } }

    func link(_ name: String, to target: String) throws {
        try system("symlink \(name)") { symlink(target, "\(path)/\(name)") }
    }
}

func isOpen(_ descriptor: CInt) -> Bool { clinux_fcntl(descriptor, F_GETFD, 0) >= 0 }

/// The errno of the ``SystemError`` that `body` throws.
func errno(of body: () throws -> Void) -> Errno? {
    do { try body() } catch { return (error as? SystemError)?.errno }
    return nil
}
