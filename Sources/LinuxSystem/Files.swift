/// How ``openAt(_:_:_:mode:resolve:)`` may walk a path. openat2(2), kernel 5.6.
public struct Resolve: OptionSet, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let noCrossMounts = Resolve(rawValue: UInt64(RESOLVE_NO_XDEV))
    public static let noMagicLinks = Resolve(rawValue: UInt64(RESOLVE_NO_MAGICLINKS))
    public static let noSymlinks = Resolve(rawValue: UInt64(RESOLVE_NO_SYMLINKS))
    public static let beneath = Resolve(rawValue: UInt64(RESOLVE_BENEATH))
    /// Treats the directory as the root: absolute links and `..` stay beneath it.
    public static let inRoot = Resolve(rawValue: UInt64(RESOLVE_IN_ROOT))
}

/// Opens `path` relative to `directory` (`AT_FDCWD` for the working directory), always close-on-exec. openat2(2).
public func openAt(
    _ directory: CInt, _ path: String, _ flags: CInt, mode: mode_t = 0, resolve: Resolve = []
) throws(SystemError) -> OwnedDescriptor {
    var how = open_how(
        flags: UInt64(UInt32(bitPattern: flags | O_CLOEXEC)), mode: UInt64(mode), resolve: resolve.rawValue)
    let descriptor = try system("open \(path)") {
        path.withCString { name in
            withUnsafePointer(to: &how) { how in
                clinux_syscall(
                    Int(CLINUX_SYS_openat2), Int(directory), Int(bitPattern: name), Int(bitPattern: how),
                    MemoryLayout<open_how>.size, 0, 0)
            }
        }
    }
    return OwnedDescriptor(CInt(descriptor))
}

/// Opens a file anew by a descriptor of it, with other flags. /proc/self/fd in proc_pid_fd(5).
///
/// - Parameter name: what an error calls it.
public func reopen(
    _ descriptor: CInt, as name: @autoclosure () -> String, _ flags: CInt
) throws(SystemError) -> OwnedDescriptor {
    do {
        return try openAt(AT_FDCWD, "/proc/self/fd/\(descriptor)", flags)
    } catch {
        throw SystemError(error.errno, "open \(name())")
    }
}

/// Reads to the end of the file from the descriptor's position.
///
/// - Parameter limit: bytes that the file may have; more is `EFBIG`.
public func readAll(_ descriptor: CInt, limit: Int = 64 << 20, name: String = "file") throws(SystemError) -> [UInt8] {
    var bytes: [UInt8] = []
    let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
    defer { chunk.deallocate() }
    while true {
        let count = try system("read \(name)") { read(descriptor, chunk.baseAddress, chunk.count) }
        if count == 0 { return bytes }
        bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: chunk[..<count]))
        if bytes.count > limit { throw SystemError(.fileTooLarge, "read \(name)") }
    }
}

/// Copies a file from the descriptor's position to its end, however large it is. sendfile(2)
public func copyAll(from source: CInt, to target: CInt, name: String = "file") throws(SystemError) {
    while try systemCall("copy \(name)", Int(SYS_sendfile), Int(target), Int(source), 0, 1 << 30) > 0 {}
}

/// The whole file at `path` beneath `directory`. For procfs and other small files.
public func readFile(
    at directory: CInt = AT_FDCWD, _ path: String, limit: Int = 64 << 20, resolve: Resolve = []
) throws(SystemError) -> [UInt8] {
    let file = try openAt(directory, path, O_RDONLY, resolve: resolve)
    return try readAll(file.raw, limit: limit, name: path)
}

/// What one read(2) of a file brings, without the end of the line. For files of procfs with a single value.
public func readValue(at directory: CInt, _ path: String, resolve: Resolve = []) throws(SystemError) -> String {
    let file = try openAt(directory, path, O_RDONLY, resolve: resolve)
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = try system("read \(path)") { bytes.withUnsafeMutableBytes { read(file.raw, $0.baseAddress, $0.count) } }
    return String(decoding: bytes[..<count], as: UTF8.self).trimmingNewline
}

/// A file that somebody else may have put another kind in the place of: a pipe would be waited for, and a device could
/// be endless. Not for procfs, whose files say that they are empty.
public func readRegularFile(
    _ path: String, _ flags: CInt = 0, limit: Int = 64 << 20
) throws(SystemError) -> [UInt8] {
    let file = try openAt(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | flags)
    let status = try status(of: file.raw)
    if status.isDirectory { throw SystemError(.isDirectory, "read \(path)") }
    guard status.isRegular else { throw SystemError(.invalidArgument, "read \(path), which is not a regular file") }
    if status.st_size > limit { throw SystemError(.fileTooLarge, "read \(path)") }
    return try readAll(file.raw, limit: limit, name: path)
}

/// ``readFile(at:_:limit:resolve:)`` as text; bytes that are not UTF-8 are replaced.
public func readText(at directory: CInt = AT_FDCWD, _ path: String) throws(SystemError) -> String {
    String(decoding: try readFile(at: directory, path), as: UTF8.self)
}

/// Every line of a file of any length, without its end. For procfs.
public func forEachLine(of path: String, _ body: (ArraySlice<UInt8>) throws -> Void) throws {
    let file = try openAt(AT_FDCWD, path, O_RDONLY)
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    var rest: [UInt8] = []
    while true {
        let count = try system("read \(path)") {
            chunk.withUnsafeMutableBytes { read(file.raw, $0.baseAddress, $0.count) }
        }
        rest += chunk[..<count]
        var start = 0
        while let end = rest[start...].firstIndex(of: UInt8(ascii: "\n")) {
            try body(rest[start..<end])
            start = end + 1
        }
        rest.removeFirst(start)
        guard count > 0 else {
            if !rest.isEmpty { try body(rest[...]) }
            return
        }
    }
}

/// Writes every byte. write(2), repeated after short writes.
public func writeAll(_ descriptor: CInt, _ bytes: [UInt8], name: String = "file") throws(SystemError) {
    var done = 0
    while done < bytes.count {
        done += try system("write \(name)") {
            bytes.withUnsafeBytes { write(descriptor, $0.baseAddress?.advanced(by: done), bytes.count - done) }
        }
    }
}

/// Lets reads and writes of a file go past the page cache, in whole pages. Not every file system can; then the page cache
/// takes them. fcntl(2) O_DIRECT.
public func bypassPageCache(_ descriptor: CInt) { _ = clinux_fcntl(descriptor, F_SETFL, Int(CLINUX_O_DIRECT)) }

/// Room for a file of so many bytes. Nothing happens where the file system cannot tell. fallocate(2).
public func makeRoom(
    _ descriptor: CInt, _ length: UInt64, _ attempt: @autoclosure () -> String
) throws(SystemError) {
    do throws(SystemError) {
        try systemCall(attempt(), Int(SYS_fallocate), Int(descriptor), 0, 0, Int(truncatingIfNeeded: length))
    } catch {
        guard [.notSupportedOnSocket, .noFunction].contains(error.errno) else { throw error }
    }
}

/// Writes `text` to an existing file in one write(2), as procfs and cgroup files demand.
public func writeControl(
    at directory: CInt = AT_FDCWD, _ path: String, _ text: String, resolve: Resolve = []
) throws(SystemError) {
    let file = try openAt(directory, path, O_WRONLY, resolve: resolve)
    let bytes = Array(text.utf8)
    try system("write \(text) to \(path)") { bytes.withUnsafeBytes { write(file.raw, $0.baseAddress, bytes.count) } }
}

/// Makes each of two files take the other's name, in one step. renameat2(2) RENAME_EXCHANGE, kernel 3.15.
public func exchangeFiles(_ first: String, _ second: String) throws(SystemError) {
    let exchange = 2
    try system("exchange \(first) and \(second)") {
        first.withCString { first in
            second.withCString { second in
                clinux_syscall(
                    Int(SYS_renameat2), Int(AT_FDCWD), Int(bitPattern: first), Int(AT_FDCWD), Int(bitPattern: second),
                    exchange, 0)
            }
        }
    }
}

/// fstat(2).
public func status(of descriptor: CInt) throws(SystemError) -> stat {
    var status = stat()
    try system("fstat of descriptor \(descriptor)") { fstat(descriptor, &status) }
    return status
}

/// fstatat(2).
public func status(at directory: CInt = AT_FDCWD, _ path: String, flags: CInt = 0) throws(SystemError) -> stat {
    var status = stat()
    try system("stat \(path)") { fstatat(directory, path, &status, flags) }
    return status
}

/// The target of a symbolic link. readlinkat(2).
public func linkTarget(at directory: CInt = AT_FDCWD, _ path: String) throws(SystemError) -> String {
    var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = try system("readlink \(path)") {
        path.withCString { name in
            buffer.withUnsafeMutableBytes { raw in
                clinux_syscall(
                    Int(SYS_readlinkat), Int(directory), Int(bitPattern: name), Int(bitPattern: raw.baseAddress),
                    raw.count,
                    0, 0)
            }
        }
    }
    return String(decoding: buffer[..<count], as: UTF8.self)
}

/// The names in a directory, without `.` and `..`. The descriptor is not consumed.
public func directoryEntries(at directory: CInt = AT_FDCWD, _ path: String) throws(SystemError) -> [String] {
    let opened = try openAt(directory, path, O_RDONLY | O_DIRECTORY)
    let raw = opened.release()
    guard let stream = fdopendir(raw) else {
        let error = SystemError(.current, "open directory \(path)")
        close(raw)
        throw error
    }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != "." && name != ".." { names.append(name) }
    }
    return names
}

/// A directory with all that is in it. No link is followed; a mount in it is `EXDEV`.
public func removeDirectory(at directory: CInt, _ name: String) throws(SystemError) {
    do {
        let opened = try openAt(
            directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve: [.beneath, .noCrossMounts])
        try emptyDirectory(opened.raw, name)
    }
    try system("rmdir \(name)") { unlinkat(directory, name, AT_REMOVEDIR) }
}

/// What is in a directory, as ``removeDirectory(at:_:)`` does.
public func emptyDirectory(_ directory: CInt, _ name: String) throws(SystemError) {
    for entry in try directoryEntries(at: directory, ".") {
        do throws(SystemError) {
            try system("unlink \(name)/\(entry)") { unlinkat(directory, entry, 0) }
        } catch  where error.errno == .isDirectory {
            try removeDirectory(at: directory, entry)
        }
    }
}

extension stat {
    public var isRegular: Bool { st_mode & UInt32(S_IFMT) == UInt32(S_IFREG) }
    public var isDirectory: Bool { st_mode & UInt32(S_IFMT) == UInt32(S_IFDIR) }
    public var isCharacterDevice: Bool { st_mode & UInt32(S_IFMT) == UInt32(S_IFCHR) }
    /// Of characters or blocks.
    public var isDevice: Bool { isCharacterDevice || st_mode & UInt32(S_IFMT) == UInt32(S_IFBLK) }
    public var isFIFO: Bool { st_mode & UInt32(S_IFMT) == UInt32(S_IFIFO) }
    public var isSocket: Bool { st_mode & UInt32(S_IFMT) == UInt32(S_IFSOCK) }
    /// Whether it is the inner end of a pseudoterminal: UNIX98_PTY_SLAVE_MAJOR and the seven after it.
    public var isPseudoterminal: Bool { isCharacterDevice && (136...143).contains(clinux_major(st_rdev)) }
    public var isSymbolicLink: Bool { st_mode & UInt32(S_IFMT) == UInt32(S_IFLNK) }
}
