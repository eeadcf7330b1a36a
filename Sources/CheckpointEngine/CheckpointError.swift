import LinuxSystem

/// Why a checkpoint or a restore cannot be: which task, which object, and what the kernel or the image said.
package struct CheckpointError: Error, CustomStringConvertible, Sendable {
    package var description: String

    package init(_ description: String) { self.description = description }
}

/// Runs `body` and puts what it was about in front of its error.
func about<R: ~Copyable>(_ subject: @autoclosure () -> String, _ body: () throws -> R) throws -> R {
    do { return try body() } catch { throw CheckpointError("\(subject()): \(error)") }
}
