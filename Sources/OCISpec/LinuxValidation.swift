extension Linux {
    func check(of spec: Spec) throws(FieldError) {
        try checkNamespaces()
        if !(spec.hostname ?? "").isEmpty, !has(.uts) {
            throw FieldError("hostname", "unable to set hostname without a private UTS namespace")
        }
        if !(spec.domainname ?? "").isEmpty, !has(.uts) {
            throw FieldError("domainname", "unable to set domainname without a private UTS namespace")
        }
        for (name, paths) in [("maskedPaths", maskedPaths), ("readonlyPaths", readonlyPaths)] {
            if !paths.isEmpty, !has(.mount) {
                throw FieldError("linux.\(name)", "unable to restrict sys entries without a private MNT namespace")
            }
        }
        try checkMappings()
        try checkTimeOffsets()
        try checkPropagation()
        try checkSysctls()
        for (index, device) in devices.enumerated() { try device.check("linux.devices[\(index)]") }
        try checkNetDevices()
        try resources?.check(in: "linux.resources")
        try seccomp?.check()
        try intelRdt?.check()
        if let memoryPolicy, memoryPolicy.mode == nil { throw FieldError("linux.memoryPolicy.mode", "missing") }
        if let flag = personality?.flags.first {
            throw FieldError("linux.personality.flags[0]", unknown: flag)  // the specification knows none
        }
    }

    /// Whether the container has a namespace of this kind that the configuration names, new or joined.
    package func has(_ kind: Namespace.Kind) -> Bool { namespaces.contains { $0.type == kind } }

    private func checkNamespaces() throws(FieldError) {
        for (index, namespace) in namespaces.enumerated() {
            if namespaces[..<index].contains(where: { $0.type == namespace.type }) {
                throw FieldError("linux.namespaces[\(index)].type", "duplicated ns \"\(namespace.type)\"")
            }
            if let path = namespace.path, !path.isEmpty, !path.hasPrefix("/") {
                throw FieldError("linux.namespaces[\(index)].path", "must be absolute")
            }
        }
    }

    private func checkTimeOffsets() throws(FieldError) {
        if timeOffsets != nil, !has(.time) {
            throw FieldError("linux.timeOffsets", "specified, but no time namespace")
        }
        for (name, offset) in [("monotonic", timeOffsets?.monotonic), ("boottime", timeOffsets?.boottime)] {
            guard let nanoseconds = offset?.nanosecs, nanoseconds > 999_999_999 else { continue }
            throw FieldError("linux.timeOffsets.\(name).nanosecs", nanoseconds, isNotIn: 0...999_999_999)
        }
    }

    private func checkPropagation() throws(FieldError) {
        guard let propagation = rootfsPropagation, !propagation.isEmpty else { return }
        let modes = ["private", "shared", "slave", "unbindable"]
        guard modes.contains(propagation) || modes.contains(String(propagation.dropFirst())) && propagation.first == "r"
        else { throw FieldError("linux.rootfsPropagation", unknown: propagation) }
    }

    /// A sysctl that belongs to no namespace of the container would change the host.
    private func checkSysctls() throws(FieldError) {
        for key in sysctl.keys.sorted() {
            let name =
                key.contains("/" as Character)
                ? String(key.map { $0 == "/" ? "." : $0 == "." ? "/" : $0 }) : key
            let owner: Namespace.Kind
            if Self.ipcSysctls.contains(name) || name.hasPrefix("fs.mqueue.") {
                owner = .ipc
            } else if name.hasPrefix("net.") {
                owner = .network
            } else if name == "kernel.domainname" {
                owner = .uts
            } else if name == "kernel.hostname" {
                throw FieldError(
                    "linux.sysctl", "sysctl \"\(key)\" is not allowed as it conflicts with the OCI \"hostname\" field")
            } else {
                throw FieldError("linux.sysctl", "sysctl \"\(key)\" is not in a separate kernel namespace")
            }
            guard has(owner) else {
                throw FieldError(
                    "linux.sysctl", "sysctl \"\(key)\" is not allowed in the hosts \(owner.rawValue) namespace")
            }
        }
    }

    private static let ipcSysctls: Set<String> = [
        "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
        "kernel.shmmni", "kernel.shm_rmid_forced",
    ]

    private func checkNetDevices() throws(FieldError) {
        if netDevices.isEmpty { return }
        guard has(.network) else {
            throw FieldError("linux.netDevices", "unable to move network devices without a network namespace")
        }
        var names: Set<String> = []
        for (host, device) in netDevices.sorted(by: { $0.key < $1.key }) {
            guard isInterfaceName(host) else {
                throw FieldError("linux.netDevices", "\"\(host)\" is not the name of a network device")
            }
            let name = device.name ?? ""
            guard name.isEmpty || isInterfaceName(name) else {
                throw FieldError("linux.netDevices.\(host).name", "\"\(name)\" is not the name of a network device")
            }
            guard names.insert(name.isEmpty ? host : name).inserted else {
                throw FieldError("linux.netDevices.\(host).name", "\"\(name.isEmpty ? host : name)\" is taken twice")
            }
        }
    }
}

/// What the kernel takes for one: dev_valid_name(), at most 15 bytes.
private func isInterfaceName(_ name: String) -> Bool {
    if name.isEmpty || name == "." || name == ".." || name.utf8.count > 15 { return false }
    return name.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") }
}

extension Device {
    func check(_ field: String) throws(FieldError) {
        guard ["c", "u", "b", "p"].contains(type) else { throw FieldError("\(field).type", unknown: type) }
        if path.isEmpty { throw FieldError("\(field).path", "empty") }
        if type != "p", major == nil || minor == nil { throw FieldError(field, "major and minor are needed") }
        // The kernel's numbers: 12 bits of major, 20 of minor.
        if let major, !(0...0xfff).contains(major) { throw FieldError("\(field).major", major, isNotIn: 0...0xfff) }
        if let minor, !(0...0xfffff).contains(minor) { throw FieldError("\(field).minor", minor, isNotIn: 0...0xfffff) }
        // The schema wants permissions alone; clients also send the file's type, as stat gives it.
        if let fileMode, fileMode > 0o177777 { throw FieldError("\(field).fileMode", fileMode, isNotIn: 0...0o177777) }
    }
}

extension Resources {
    /// For a part of a configuration, and for what `update` reads.
    package func validate(document: String) throws(SpecError) {
        try checking(document) { () throws(FieldError) in try check(in: "") }
    }

    func check(in parent: String) throws(FieldError) {
        let parent = parent.isEmpty ? "" : "\(parent)."
        for (index, rule) in devices.enumerated() {
            let field = "\(parent)devices[\(index)]"
            guard ["a", "b", "c", "u", "", nil].contains(rule.type) else {
                throw FieldError("\(field).type", unknown: rule.type ?? "")
            }
            if let access = rule.access, !access.utf8.allSatisfy({ "rwm".utf8.contains($0) }) {
                throw FieldError("\(field).access", unknown: access)
            }
            for (name, number) in [("major", rule.major), ("minor", rule.minor)] {
                if let number, number < -1 { throw FieldError("\(field).\(name)", "\(number) is out of range") }
            }
        }
        if let swappiness = memory?.swappiness, swappiness > 100 {
            throw FieldError("\(parent)memory.swappiness", swappiness, isNotIn: 0...100)
        }
        for (index, limit) in hugepageLimits.enumerated() where !limit.hasValidPageSize {
            throw FieldError("\(parent)hugepageLimits[\(index)].pageSize", "\"\(limit.pageSize)\" is not a page size")
        }
        for name in unified.keys.sorted() where name.isEmpty || name.utf8.contains(UInt8(ascii: "/")) {
            throw FieldError("\(parent)unified", "\"\(name)\" is not the name of a cgroup file")
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

extension IntelRdt {
    func check() throws(FieldError) {
        if let id = closID, id == "." || id == ".." || id.utf8.contains(UInt8(ascii: "/")) {
            throw FieldError("linux.intelRdt.closID", "\"\(id)\" is not the name of a directory")
        }
        if let schema = memBwSchema, !schema.isEmpty, !schema.hasPrefix("MB:") || schema.utf8.contains(0x0a) {
            throw FieldError("linux.intelRdt.memBwSchema", "\"\(schema)\" is not one line that begins with MB:")
        }
    }
}
