import Synchronization

/// What went wrong beside a command that does its work all the same. Logged when it has succeeded: the log of a command
/// that fails holds its error and nothing else, or podman cannot read it.
package enum Warnings {
    private static let texts = Mutex<[String]>([])

    static func add(_ text: String) { texts.withLock { $0.append(text) } }

    package static func take() -> [String] {
        texts.withLock { texts in
            defer { texts = [] }
            return texts
        }
    }
}
