import LinuxSystem
import OCISpec

/// The process that `exec` is asked for by flags: the container's own, with changes.
package struct ExecOverrides: Sendable {
    package var arguments: [String] = []
    package var cwd: String?
    package var environment: [String] = []
    package var terminal = false
    /// `UID[:GID]`.
    package var user: String?
    package var additionalGroups: [String] = []
    package var processLabel: String?
    package var apparmor: String?
    package var noNewPrivileges = false
    package var capabilities: [String] = []

    package init() {}

    package func apply(to base: Process) throws(RuntimeError) -> Process {
        var process = base
        process.args = arguments
        process.env += environment
        process.terminal = terminal
        if let cwd { process.cwd = cwd }
        if let apparmor { process.apparmorProfile = apparmor }
        if let processLabel { process.selinuxLabel = processLabel }
        if noNewPrivileges { process.noNewPrivileges = true }
        if let user { try setUser(user, of: &process) }
        for group in additionalGroups { process.user.additionalGids.append(try id(group)) }
        addCapabilities(to: &process)
        do throws(SpecError) {
            try process.validate(document: "process")
        } catch {
            throw RuntimeError(error.description)
        }
        return process
    }

    /// Reads the file that `exec --process` names instead.
    package static func readProcess(_ path: String) throws(RuntimeError) -> Process {
        do {
            let process = try decodeDocument(Process.self, try readFile(path), name: path)
            try process.validate(document: path)
            return process
        } catch let error as SystemError {
            throw RuntimeError(error.description)
        } catch {
            throw RuntimeError("\(error)")
        }
    }

    /// Names would have to be looked up in files that the container controls: numbers only.
    private func setUser(_ text: String, of process: inout Process) throws(RuntimeError) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        process.user.uid = try id(String(parts[0]))
        if parts.count > 1 { process.user.gid = try id(String(parts[1])) }
    }

    private func id(_ text: String) throws(RuntimeError) -> UInt32 {
        guard let id = UInt32(text) else { throw RuntimeError("\"\(text)\" is not a user or group id") }
        return id
    }

    /// Not to the inheritable set: files with inheritable capabilities would gain from it (CVE-2022-29162).
    private func addCapabilities(to process: inout Process) {
        if capabilities.isEmpty { return }
        var sets = process.capabilities ?? Capabilities()
        sets.bounding += capabilities
        sets.effective += capabilities
        sets.permitted += capabilities
        // None is raised that is not inheritable, too.
        if !sets.inheritable.isEmpty { sets.ambient += capabilities }
        process.capabilities = sets
    }
}
