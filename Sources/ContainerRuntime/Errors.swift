import LinuxSystem

/// A command of the runtime that failed, in the words that clients of runc match on.
///
/// containerd, podman and docker decide by these texts whether a container is gone or a program was not found;
/// see `specs/cli.md`.
package struct RuntimeError: Error, CustomStringConvertible, Sendable {
    package var message: String
    /// What the command exits with: 1, and 255 for an exec that did not come to run its program.
    package var exitCode: CInt

    package init(_ message: String, exitCode: CInt = 1) {
        self.message = message
        self.exitCode = exitCode
    }

    /// `message: cause`.
    package init(_ message: String, because cause: any Error, exitCode: CInt = 1) {
        self.init("\(message): \(cause)", exitCode: exitCode)
    }

    package var description: String { message }

    /// Adds an error of the clean-up beside this one, which stays the first.
    package func followed(by cleanUp: any Error) -> RuntimeError {
        RuntimeError("\(message) (and then: \(cleanUp))", exitCode: exitCode)
    }

    package static let doesNotExist = RuntimeError("container does not exist")
    package static let alreadyExists = RuntimeError("container with given ID already exists")
    package static let emptyID = RuntimeError("container id cannot be empty")
    package static let invalidID = RuntimeError("invalid container ID format")
    package static let notRunning = RuntimeError("container not running")
    package static let notPaused = RuntimeError("container not paused")
    package static let alreadyRunning = RuntimeError("cannot start an already running container")
    package static let startStopped = RuntimeError("cannot start a container that has stopped")
    package static let execStopped = RuntimeError("cannot exec in a stopped container", exitCode: 255)
    package static let execPaused = RuntimeError(
        "cannot exec in a paused container (use --ignore-paused to override)", exitCode: 255)

    package static func deleteRunning(_ id: String, _ status: Container.Status) -> RuntimeError {
        RuntimeError("cannot delete container \(id) that is not stopped: \(status.rawValue)")
    }
}
