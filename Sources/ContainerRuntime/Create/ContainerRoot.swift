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
        let parts = path.split(separator: "/")
        var missing = parts.count
        var current: OwnedDescriptor?
        // The longest part of the path that is there may hold symbolic links; what is made below it cannot.
        while current == nil {
            missing -= 1
            current =
                missing == 0
                ? try open("/", CLINUX_O_PATH | O_DIRECTORY)
                : try find(String(path[..<parts[missing - 1].endIndex]), O_DIRECTORY)
        }
        guard var deepest = current.take() else { throw SystemError(.noSuchFileOrDirectory, "open /") }
        for part in parts[missing...] {
            let name = String(part)
            let raw = deepest.raw
            do {
                try system("make directory \(path)") { mkdirat(raw, name, mode) }
            } catch let error where error.errno == .fileExists {}
            deepest = try openAt(
                raw, name, CLINUX_O_PATH | O_DIRECTORY | O_NOFOLLOW, resolve: [.beneath, .noSymlinks])
        }
        return deepest
    }

    /// The file at `path`, made empty with the directories above it where missing.
    func makeFile(_ path: String) throws(SystemError) -> OwnedDescriptor {
        if let existing = try find(path, 0) { return existing }
        let (parent, name) = Self.split(path)
        let directory = try makeDirectory(parent)
        let made = try openAt(
            directory.raw, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, mode: 0o755,
            resolve: [.beneath, .noSymlinks])
        _ = consume made
        return try openAt(directory.raw, name, CLINUX_O_PATH | O_NOFOLLOW, resolve: [.beneath, .noSymlinks])
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
