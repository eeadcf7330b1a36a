import LinuxSystem

/// Why an image could not be read or written. Always names the file.
package struct ImageError: Error, CustomStringConvertible, Sendable {
    package enum Reason: Sendable {
        /// The checkpoint has no such file.
        case missing
        /// The content is not what the format, or `checksums.stasis`, says.
        case malformed(String)
        case system(SystemError)
    }

    /// Where in the file: entries are counted from 1, the offset is that of the entry's length.
    package struct Place: Sendable {
        package var entry: Int
        package var offset: Int
    }

    package var file: String
    package var place: Place?
    package var reason: Reason

    package init(_ file: String, _ reason: Reason, at place: Place? = nil) {
        self.file = file
        self.place = place
        self.reason = reason
    }

    package var isMissing: Bool {
        if case .missing = reason { true } else { false }
    }

    package var description: String {
        let prefix = place.map { "\(file): entry \($0.entry) at offset \($0.offset): " } ?? "\(file): "
        return switch reason {
        case .missing: prefix + "missing from the checkpoint"
        case .malformed(let what): prefix + what
        case .system(let error): prefix + error.description
        }
    }
}

/// Runs a system call on `file` and says so in the error.
func onFile<R: ~Copyable>(_ file: String, _ call: () throws(SystemError) -> R) throws(ImageError) -> R {
    do { return try call() } catch { throw ImageError(file, .system(error)) }
}
