/// What the schema cannot say but a container needs: refused on load, before anything is made.
extension Spec {
    /// The version of the specification that this code is written to.
    package static let version = "1.3.0"

    package func validate() throws(SpecError) {
        try validateVersion()
        guard let root else { throw SpecError("config.json: root: missing") }
        if root.path.isEmpty { throw SpecError("config.json: root.path: empty") }
        guard let process else { throw SpecError("config.json: process property must not be empty") }
        try process.validate()
        try (linux ?? Linux()).validate(of: self)
        for (index, mount) in mounts.enumerated() where mount.destination.isEmpty {
            throw SpecError("config.json: mounts[\(index)].destination: empty")
        }
        try hooks?.validate()
    }

    /// A later 1.x only adds to what we know; another major version may mean something else by it.
    private func validateVersion() throws(SpecError) {
        let parts = ociVersion.split(separator: "-")[...].first?.split(separator: ".") ?? []
        guard parts.count == 3, let major = Int(parts[0]), parts.allSatisfy({ Int($0) != nil }) else {
            throw SpecError("config.json: ociVersion: \"\(ociVersion)\" is not a version")
        }
        guard major <= 1 else {
            throw SpecError("config.json: ociVersion: \(ociVersion) is not supported (\(Self.version) is)")
        }
    }
}

extension Process {
    /// Also for the process that `exec --process` reads.
    package func validate() throws(SpecError) {
        if cwd.isEmpty { throw SpecError("Cwd property must not be empty") }
        if !cwd.hasPrefix("/") { throw SpecError("Cwd must be an absolute path") }
        if args.isEmpty { throw SpecError("args must not be empty") }
        for (index, text) in (args + env).enumerated() where text.utf8.contains(0) {
            let field = index < args.count ? "args[\(index)]" : "env[\(index - args.count)]"
            throw SpecError("config.json: process.\(field): contains a NUL byte")
        }
        var seen: Set<String> = []
        for limit in rlimits {
            guard seen.insert(limit.type).inserted else {
                throw SpecError("config.json: process.rlimits: duplicated \(limit.type)")
            }
            guard limit.soft <= limit.hard else {
                throw SpecError("config.json: process.rlimits: \(limit.type): soft limit above hard limit")
            }
        }
        if let adjustment = oomScoreAdj, !(-1000...1000).contains(adjustment) {
            throw SpecError("config.json: process.oomScoreAdj: \(adjustment) is not between -1000 and 1000")
        }
        if let priority = ioPriority?.priority, !(0...7).contains(priority) {
            throw SpecError("config.json: process.ioPriority.priority: \(priority) is not between 0 and 7")
        }
    }
}

extension Hooks {
    func validate() throws(SpecError) {
        let kinds = [
            ("prestart", prestart), ("createRuntime", createRuntime), ("createContainer", createContainer),
            ("startContainer", startContainer), ("poststart", poststart), ("poststop", poststop),
        ]
        for (name, hooks) in kinds {
            for (index, hook) in hooks.enumerated() {
                guard hook.path.hasPrefix("/") else {
                    throw SpecError("config.json: hooks.\(name)[\(index)].path: must be absolute")
                }
                if let timeout = hook.timeout, timeout <= 0 {
                    throw SpecError("config.json: hooks.\(name)[\(index)].timeout: must be greater than zero")
                }
            }
        }
    }
}

extension Linux {
    func validate(of spec: Spec) throws(SpecError) {
        try validateNamespaces()
        if !(spec.hostname ?? "").isEmpty, !has(.uts) {
            throw SpecError("config.json: hostname: unable to set hostname without a private UTS namespace")
        }
        if !(spec.domainname ?? "").isEmpty, !has(.uts) {
            throw SpecError("config.json: domainname: unable to set domainname without a private UTS namespace")
        }
        if !maskedPaths.isEmpty || !readonlyPaths.isEmpty, !has(.mount) {
            throw SpecError("config.json: linux: unable to restrict sys entries without a private MNT namespace")
        }
        if !uidMappings.isEmpty || !gidMappings.isEmpty, !has(.user) {
            throw SpecError("config.json: linux.uidMappings: user namespace mappings specified, but no user namespace")
        }
        if timeOffsets != nil, !has(.time) {
            throw SpecError("config.json: linux.timeOffsets: specified, but no time namespace")
        }
        try validatePropagation()
        try validateSysctls(hostname: spec.hostname, domainname: spec.domainname)
        for (index, device) in devices.enumerated() { try device.validate("linux.devices[\(index)]") }
        for (index, limit) in (resources?.hugepageLimits ?? []).enumerated() where !limit.hasValidPageSize {
            throw SpecError(
                "config.json: linux.resources.hugepageLimits[\(index)].pageSize: \"\(limit.pageSize)\" is not a page size"
            )
        }
        if let path = cgroupsPath, path.utf8.contains(0) {
            throw SpecError("config.json: linux.cgroupsPath: contains a NUL byte")
        }
    }

    /// Whether the container has a namespace of this kind that the configuration names, new or joined.
    package func has(_ kind: Namespace.Kind) -> Bool { namespaces.contains { $0.type == kind } }

    private func validateNamespaces() throws(SpecError) {
        var seen: Set<Namespace.Kind> = []
        for (index, namespace) in namespaces.enumerated() {
            guard seen.insert(namespace.type).inserted else {
                throw SpecError(
                    "malformed spec file: duplicated ns {\"\(namespace.type)\" \"\(namespace.path ?? "")\"}")
            }
            if let path = namespace.path, !path.isEmpty, !path.hasPrefix("/") {
                throw SpecError("config.json: linux.namespaces[\(index)].path: must be absolute")
            }
        }
    }

    private func validatePropagation() throws(SpecError) {
        guard let propagation = rootfsPropagation, !propagation.isEmpty else { return }
        let modes = ["private", "shared", "slave", "unbindable"]
        guard modes.contains(propagation) || modes.contains(String(propagation.dropFirst())) && propagation.first == "r"
        else { throw SpecError("config.json: linux.rootfsPropagation: unknown value \"\(propagation)\"") }
    }

    /// A sysctl that belongs to no namespace of the container would change the host.
    private func validateSysctls(hostname: String?, domainname: String?) throws(SpecError) {
        for key in sysctl.keys.sorted() {
            let name =
                key.contains("/") ? key.map { $0 == "/" ? "." : $0 == "." ? "/" : $0 }.map(String.init).joined() : key
            let owner: Namespace.Kind
            if Self.ipcSysctls.contains(name) || name.hasPrefix("fs.mqueue.") {
                owner = .ipc
            } else if name.hasPrefix("net.") {
                owner = .network
            } else if name == "kernel.domainname" {
                owner = .uts
            } else if name == "kernel.hostname" {
                throw SpecError("sysctl \"\(key)\" is not allowed as it conflicts with the OCI \"hostname\" field")
            } else {
                throw SpecError("sysctl \"\(key)\" is not in a separate kernel namespace")
            }
            guard has(owner) else {
                throw SpecError("sysctl \"\(key)\" is not allowed in the hosts \(owner.rawValue) namespace")
            }
        }
    }

    private static let ipcSysctls: Set<String> = [
        "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
        "kernel.shmmni", "kernel.shm_rmid_forced",
    ]
}

extension Device {
    func validate(_ field: String) throws(SpecError) {
        guard ["c", "u", "b", "p"].contains(type) else {
            throw SpecError("config.json: \(field).type: unknown value \"\(type)\"")
        }
        if path.isEmpty { throw SpecError("config.json: \(field).path: empty") }
        if type != "p", major == nil || minor == nil {
            throw SpecError("config.json: \(field): major and minor are needed")
        }
    }
}

extension HugepageLimit {
    /// `^[1-9][0-9]*[KMG]B$`.
    var hasValidPageSize: Bool {
        guard pageSize.hasSuffix("B"), let unit = pageSize.dropLast().last, "KMG".contains(unit) else { return false }
        let digits = pageSize.dropLast(2)
        return !digits.isEmpty && digits.first != "0" && digits.utf8.allSatisfy { (48...57).contains($0) }
    }
}
