import LinuxSystem

/// What is configured in a network namespace that config.json makes: interfaces, addresses, routes, rules, the firewall. It is
/// not carried over, so a checkpoint is refused if it is not what it was before any process had the right to change it.
package enum NetworkConfiguration {
    /// A line for each object.
    ///
    /// - Parameter lock: one of the caller's own, which is left out.
    package static func text(of process: pid_t, except lock: ConnectionLock? = nil) throws -> String {
        try inNamespace(.network, of: process) { try text(except: lock) }
    }

    /// Of the caller's own.
    static func text(except lock: ConnectionLock? = nil) throws -> String {
        try (NetworkObjects.all() + FirewallRules.all(except: lock)).joined(separator: "\n")
    }

    static func verify(_ now: String, since start: String) throws {
        let (now, start) = (now.split(separator: "\n"), start.split(separator: "\n"))
        let what =
            if let made = now.first(where: { !start.contains($0) }) {
                "`\(made)` was added or changed, and a restore would be without it"
            } else if let gone = start.first(where: { !now.contains($0) }) {
                "`\(gone)` was taken away, and a restore would make it again"
            } else { "" }
        if what.isEmpty { return }
        throw CheckpointError(
            "the container's network, since its program started: \(what); take that back, or give the network namespace by a "
                + "path in config.json, so that it stays when the container goes")
    }
}
