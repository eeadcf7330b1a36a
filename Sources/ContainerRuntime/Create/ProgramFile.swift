import LinuxSystem

/// Finds a program as Go's exec.LookPath does, because clients match its errors.
struct ProgramFile {
    var path: String

    /// - Parameter environment: whose PATH counts. The caller already stands in the container, as its user.
    init(_ name: String, environment: [String]) throws(RuntimeError) {
        // A text would do as well, and bring all of Foundation into the program.
        if name.contains("/" as Character) {
            do {
                try Self.check(name)
            } catch {
                let step = [.permissionDenied, .isDirectory].contains(error.errno) ? "" : "stat \(name): "
                throw RuntimeError("exec: \(name.quoted): \(step)\(error.reason)")
            }
            path = name
            return
        }
        let search = environment.last { $0.hasPrefix("PATH=") }?.dropFirst(5) ?? ""
        for directory in search.split(separator: ":", omittingEmptySubsequences: false) where !name.isEmpty {
            let candidate = directory.isEmpty ? "./\(name)" : "\(directory)/\(name)"
            if (try? Self.check(candidate)) == nil { continue }
            path = candidate
            return
        }
        throw RuntimeError("exec: \(name.quoted): executable file not found in $PATH")
    }

    private static func check(_ path: String) throws(SystemError) {
        let file = try status(path)
        if file.isDirectory { throw SystemError(.isDirectory, path) }
        let effectiveIds: CInt = 0x200
        try system(path) { faccessat(AT_FDCWD, path, X_OK, effectiveIds) }
    }
}

extension SystemError {
    /// The kernel's reason alone, as Go words it.
    var reason: String {
        let text = errno.description
        return text.prefix(1).lowercased() + text.dropFirst()
    }
}
