import LinuxSystem

/// Why a checkpoint or a restore cannot be: which task, which object, and what the kernel or the image said.
package struct CheckpointError: Error, CustomStringConvertible, Sendable {
    package var description: String
    /// Whether the reason goes by itself when the container's programs run on: what waits for one of them to read it. Then
    /// a checkpoint is tried again (``Attempts``).
    package var isPassing = false

    package init(_ description: String) { self.description = description }

    package init(passing description: String) { (self.description, isPassing) = (description, true) }
}

/// Runs `body` and puts what it was about in front of its error.
func about<R: ~Copyable>(_ subject: @autoclosure () -> String, _ body: () throws -> R) throws -> R {
    do { return try body() } catch {
        var told = CheckpointError("\(subject()): \(error)")
        told.isPassing = (error as? CheckpointError)?.isPassing == true
        throw told
    }
}
