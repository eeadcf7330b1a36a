/// What the types cannot say but the schema or a container needs: refused on load, before anything is made, with the
/// name of the field.
extension Spec {
    /// The version of the specification that this code is written to.
    package static let version = "1.3.0"

    package func validate() throws(SpecError) {
        try checking("config.json") { () throws(FieldError) in try check() }
    }

    private func check() throws(FieldError) {
        try checkVersion()
        try process?.check(in: "process.")
        try (linux ?? Linux()).check(of: self)
        for (index, mount) in mounts.enumerated() {
            if mount.destination.isEmpty { throw FieldError("mounts[\(index)].destination", "empty") }
            try mount.checkMappings("mounts[\(index)]", of: linux)
        }
        try hooks?.check()
        if annotations[""] != nil { throw FieldError("annotations", "empty name") }
        // What the schema leaves open but a container needs comes last: the reason of a bad document is its mistake.
        guard let root else { throw FieldError("root", "missing") }
        if root.path.isEmpty { throw FieldError("root.path", "empty") }
        if process == nil { throw FieldError("process", "property must not be empty") }
    }

    /// A later 1.x only adds to what we know; another major version may mean something else by it.
    private func checkVersion() throws(FieldError) {
        let parts = ociVersion.split(separator: "-")[...].first?.split(separator: ".") ?? []
        guard parts.count == 3, let major = Int(parts[0]), parts.allSatisfy({ Int($0) != nil }) else {
            throw FieldError("ociVersion", "\"\(ociVersion)\" is not a version")
        }
        guard major <= 1 else {
            throw FieldError("ociVersion", "\(ociVersion) is not supported (\(Self.version) is)")
        }
    }
}

/// A field and what is wrong with it. Made only when something is: a load costs no texts.
struct FieldError: Error, CustomStringConvertible {
    var field: String
    var reason: String

    init(_ field: String, _ reason: String) { (self.field, self.reason) = (field, reason) }

    /// For a value that is none of a few.
    init(_ field: String, unknown value: String) { self.init(field, "unknown value \"\(value)\"") }

    init(_ field: String, _ value: some BinaryInteger, isNotIn range: ClosedRange<Int>) {
        self.init(field, "\(value) is not between \(range.lowerBound) and \(range.upperBound)")
    }

    var description: String { "\(field): \(reason)" }
}

/// Puts the document's name in front of what is wrong in it.
func checking(_ document: String, _ body: () throws(FieldError) -> Void) throws(SpecError) {
    do throws(FieldError) {
        try body()
    } catch {
        throw SpecError("\(document): \(error)")
    }
}

extension Hooks {
    /// With the names of config.json, in the order of the container's life.
    package var byName: [(name: String, hooks: [Hook])] {
        [
            ("prestart", prestart), ("createRuntime", createRuntime), ("createContainer", createContainer),
            ("startContainer", startContainer), ("poststart", poststart), ("poststop", poststop),
        ]
    }

    func check() throws(FieldError) {
        for (name, hooks) in byName {
            for (index, hook) in hooks.enumerated() {
                guard hook.path.hasPrefix("/") else {
                    throw FieldError("hooks.\(name)[\(index)].path", "must be absolute")
                }
                if let timeout = hook.timeout, timeout <= 0 {
                    throw FieldError("hooks.\(name)[\(index)].timeout", "must be greater than zero")
                }
            }
        }
    }
}
