import Glibc

/// Whole files and folders by path: all that tests need of a file system.
enum Files {
    static func exists(_ path: String) -> Bool {
        access(path, F_OK) == 0
    }

    static func bytes(of path: String) throws(Failure) -> [UInt8] {
        let file = try check(open(path, O_RDONLY | O_CLOEXEC), "open \(path)")
        defer { close(file) }
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = try check(read(file, &chunk, chunk.count), "read \(path)")
            if count == 0 { return content }
            content += chunk[..<count]
        }
    }

    /// The file's text; nil where there is none (gone, or a process that died while its file was read).
    static func text(of path: String) -> String? {
        guard let bytes = try? bytes(of: path) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func write(_ bytes: [UInt8], to path: String, mode: mode_t = 0o644) throws(Failure) {
        let file = try check(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode), "create \(path)")
        defer { close(file) }
        var written = 0
        while written < bytes.count {
            let rest = bytes[written...]
            written += try check(
                rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }, "write \(path)")
        }
    }

    static func write(_ text: String, to path: String, mode: mode_t = 0o644) throws(Failure) {
        try write(Array(text.utf8), to: path, mode: mode)
    }

    static func copy(_ source: String, to target: String, mode: mode_t = 0o755) throws(Failure) {
        try makeFolder(parent(of: target))
        try write(try bytes(of: source), to: target, mode: mode)
    }

    static func makeFolder(_ path: String, mode: mode_t = 0o755) throws(Failure) {
        if path.isEmpty || exists(path) { return }
        try makeFolder(parent(of: path))
        try check(mkdir(path, mode), "make \(path)")
        try check(chmod(path, mode), "change the mode of \(path)")
    }

    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "" }
        return String(path[..<slash])
    }

    static func name(of path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? path
    }

    /// Names in a folder, sorted, without "." and ".."; empty where the folder is gone.
    static func names(in path: String) -> [String] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    static func link(_ path: String) -> String? {
        var target = [CChar](repeating: 0, count: 4096)
        let count = readlink(path, &target, target.count)
        return count < 0 ? nil : String(decoding: target[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Where a path really leads.
    static func resolved(_ path: String) -> String {
        guard let real = realpath(path, nil) else { return path }
        defer { free(real) }
        return String(cString: real)
    }

    static func size(of path: String) throws(Failure) -> Int {
        var status = stat()
        try check(stat(path, &status), "stat \(path)")
        return Int(status.st_size)
    }

    /// When a file was last written; nothing is older than a file that is not there.
    static func changed(_ path: String) -> Double {
        var status = stat()
        guard stat(path, &status) == 0 else { return 0 }
        return Double(status.st_mtim.tv_sec) + Double(status.st_mtim.tv_nsec) / 1e9
    }

    /// Kind and permissions.
    static func mode(of path: String) throws(Failure) -> mode_t {
        var status = stat()
        try check(lstat(path, &status), "stat \(path)")
        return status.st_mode & (S_IFMT | 0o7777)
    }

    /// True where the path is a folder and no symbolic link.
    static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }
}
