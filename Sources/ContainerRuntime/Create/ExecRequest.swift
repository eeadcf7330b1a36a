import OCISpec

/// A further process for a running container.
package struct ExecRequest: Sendable {
    package var process: Process
    package var detach = false
    package var consoleSocket: String?
    package var pidFile: String?
    package var pidfdSocket: String?
    package var preservedDescriptors: [CInt] = []
    /// Cgroups beneath the container's, as ``CgroupSet/inner(_:)`` takes them.
    package var cgroups: [String] = []
    package var ignorePaused = false
    package var noNewKeyring = true
    package var extraEnvironment: [String] = []

    package init(process: Process) { self.process = process }
}
