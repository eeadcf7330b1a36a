import LinuxSystem

/// The root directory of a container while the runtime still stands outside of it.
///
/// Its contents are the image's, so hostile: every path resolves inside it by the kernel (openat2 RESOLVE_IN_ROOT,
/// magic links refused), and what is mounted on is the descriptor that was checked, not the path again.
struct ContainerRoot: ~Copyable {
    let directory: OwnedDescriptor

    init(_ directory: consuming OwnedDescriptor) { self.directory = directory }

    private static let inside: Resolve = [.inRoot, .noMagicLinks]

    func open(_ path: String, _ flags: CInt = CLINUX_O_PATH) throws(SystemError) -> OwnedDescriptor {
        try openAt(directory.raw, path, flags, resolve: Self.inside)
    }

    /// The directory at `path`, made with all above it where missing.
    func makeDirectory(_ path: String, mode: mode_t = 0o755) throws(SystemError) -> OwnedDescriptor {
        if let existing = try find(path, O_DIRECTORY) { return existing }
        return try make(path, isDirectory: true, mode)
    }

    /// The file at `path`, made empty with the directories above it where missing.
    func makeFile(_ path: String) throws(SystemError) -> OwnedDescriptor {
        if let existing = try find(path, 0) { return existing }
        return try make(path, isDirectory: false, 0o755)
    }

    /// Walks to `path` by descriptors, one name at a time, and makes what is missing. Links are followed as if this were
    /// the root, also to what is not there yet: an image's /etc/resolv.conf may lead to where only a running system has
    /// a file.
    private func make(_ path: String, isDirectory: Bool, _ mode: mode_t) throws(SystemError) -> OwnedDescriptor {
        var rest = Array(path.split(separator: "/").map(String.init).reversed())
        var done: [String] = []
        var links = 0
        var here = try open("/", CLINUX_O_PATH | O_DIRECTORY)
        while let name = rest.popLast() {
            if name == "." { continue }
            if name == ".." {
                _ = done.popLast()
                here = try open("/" + done.joined(separator: "/"), CLINUX_O_PATH | O_DIRECTORY | O_NOFOLLOW)
                continue
            }
            let mustBeDirectory = isDirectory || !rest.isEmpty
            try Self.makeEntry(here, name, mustBeDirectory ? nil : path, mode)
            let entry = try openAt(here.raw, name, CLINUX_O_PATH | O_NOFOLLOW, resolve: .beneath)
            let status = try status(of: entry.raw)
            if status.isSymbolicLink {
                links += 1
                guard links <= 40 else { throw SystemError(.tooManySymbolicLinkLevels, path) }
                let target = try linkTarget(at: entry.raw, "")
                if target.hasPrefix("/") {
                    done = []
                    here = try open("/", CLINUX_O_PATH | O_DIRECTORY)
                }
                rest += target.split(separator: "/").map(String.init).reversed()
                continue
            }
            guard status.isDirectory || !mustBeDirectory else { throw SystemError(.notDirectory, path) }
            done.append(name)
            here = entry
        }
        return here
    }

    /// - Parameter file: what to call it if it shall be a file.
    private static func makeEntry(
        _ directory: borrowing OwnedDescriptor, _ name: String, _ file: String?, _ mode: mode_t
    ) throws(SystemError) {
        let raw = directory.raw
        do throws(SystemError) {
            if let file {
                let flags = O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW
                do throws(SystemError) {
                    _ = try openAt(raw, name, flags, mode: mode, resolve: .beneath).raw
                } catch { throw SystemError(error.errno, "make file \(file)") }
            } else {
                try system("make directory \(name)") { mkdirat(raw, name, mode) }
            }
        } catch  where error.errno == .fileExists {}
    }

    /// The directory that `path` lies in, made where missing, for calls that take a directory and a name.
    func makeParent(of path: String) throws(SystemError) -> (OwnedDescriptor) {
        try makeDirectory(Self.split(path).parent)
    }

    static func split(_ path: String) -> (parent: String, name: String) {
        guard let name = path.split(separator: "/").last else { return ("/", ".") }
        return ("/" + path[..<name.startIndex], String(name))
    }

    func find(_ path: String, _ flags: CInt) throws(SystemError) -> OwnedDescriptor? {
        do {
            return try open(path, CLINUX_O_PATH | flags)
        } catch let error where error.errno == .noSuchFileOrDirectory {
            return nil
        }
    }
}
