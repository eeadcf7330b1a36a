import CheckpointImages

/// What a checkpoint was allowed to carry over beyond the default: the flags of `checkpoint`.
///
/// They travel in the images, in `options.stasis`, because containerd and docker pass none at restore. One line for each
/// option that is set, its value behind a blank; CRIU does not look at the file.
package struct DumpOptions: Sendable, Equatable {
    package var fileLocks = false
    package var tcpEstablished = false
    /// Connections come back closed.
    package var tcpClose = false
    /// Connections that are being made are left out.
    package var tcpSkipInFlight = false
    package var externalUnixSockets = false
    package var shellJob = false
    package var linkRemap = false
    /// `soft`, `full`, `strict` or `ignore`. Kept for whoever asks; cgroups come from config.json.
    package var manageCgroupsMode: String?
    /// What becomes of processes that `exec` put into the container.
    package var execPolicy = Guest.Policy.keep
    /// Bytes that an unlinked file may have to be carried over.
    package var ghostLimit: UInt64 = 1 << 20

    package static let fileName = "options.stasis"

    package init() {}

    private static let toggles: [(name: String, field: WritableKeyPath<DumpOptions, Bool> & Sendable)] = [
        ("file-locks", \.fileLocks), ("tcp-established", \.tcpEstablished), ("tcp-close", \.tcpClose),
        ("tcp-skip-in-flight", \.tcpSkipInFlight), ("ext-unix-sk", \.externalUnixSockets), ("shell-job", \.shellJob),
        ("link-remap", \.linkRemap),
    ]

    /// CRIU calls one of them otherwise.
    private static let aliases = ["skip-in-flight": "tcp-skip-in-flight", "manage-cgroups": "manage-cgroups-mode"]

    package static let cgroupModes = ["soft", "full", "strict", "ignore"]

    /// Sets an option by the name of its flag, without dashes.
    ///
    /// - Returns: whether there is such an option and the value is one of its.
    package mutating func set(_ name: String, _ value: String) -> Bool {
        let name = Self.aliases[name] ?? name
        if let toggle = Self.toggles.first(where: { $0.name == name }) {
            guard value.isEmpty else { return false }
            self[keyPath: toggle.field] = true
            return true
        }
        switch name {
        case "manage-cgroups-mode":
            guard value.isEmpty || Self.cgroupModes.contains(value) else { return false }
            manageCgroupsMode = value.isEmpty ? "soft" : value
        case "exec-policy":
            guard let policy = Guest.Policy(rawValue: value) else { return false }
            execPolicy = policy
        case "ghost-limit":
            guard let limit = Self.bytes(value) else { return false }
            ghostLimit = limit
        default: return false
        }
        return true
    }

    /// `65536`, `64K`, `2M`, `1G`.
    private static func bytes(_ text: String) -> UInt64? {
        let shifts: [Character: UInt64] = ["K": 10, "k": 10, "M": 20, "m": 20, "G": 30, "g": 30]
        let shift = text.last.flatMap { shifts[$0] }
        guard let number = UInt64(shift == nil ? text[...] : text.dropLast()), number < 1 << 32 else { return nil }
        return number << (shift ?? 0)
    }

    /// Adds what another set allows.
    package mutating func formUnion(_ other: DumpOptions) {
        for toggle in Self.toggles where other[keyPath: toggle.field] { self[keyPath: toggle.field] = true }
        manageCgroupsMode = other.manageCgroupsMode ?? manageCgroupsMode
        if other.execPolicy != .keep { execPolicy = other.execPolicy }
        ghostLimit = max(ghostLimit, other.ghostLimit)
    }

    /// The content of `options.stasis`.
    package var text: String {
        var lines = Self.toggles.filter { self[keyPath: $0.field] }.map(\.name)
        if let manageCgroupsMode { lines.append("manage-cgroups-mode \(manageCgroupsMode)") }
        lines.append("ghost-limit \(ghostLimit)")
        return lines.map { $0 + "\n" }.joined()
    }

    /// Reads `options.stasis`; a line that is not known is an error, because what it allowed is not known either.
    package init(text: String) throws(CheckpointError) {
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: " ", maxSplits: 1)
            guard let name = parts.first, set(String(name), parts.count > 1 ? String(parts[1]) : "") else {
                throw CheckpointError("\(Self.fileName): an option that is not known")
            }
        }
    }
}
