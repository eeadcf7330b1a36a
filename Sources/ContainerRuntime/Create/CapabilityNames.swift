import LinuxSystem
import OCISpec

/// The kernel's capabilities by number. capabilities(7).
package enum CapabilityNames {
    package static let all = [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
        "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
        "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO",
        "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
        "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
        "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
        "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
    ]

    /// The highest number that this kernel knows.
    static var last: CInt {
        var last = CInt(all.count - 1)
        while last > 0, CapabilitySets.boundingHas(last) == nil { last -= 1 }
        return last
    }

    /// What the sets ask for beyond `available`, each name once.
    static func missing(_ sets: Capabilities?, in available: UInt64) -> [String] {
        guard let sets else { return [] }
        var names: [String] = []
        for set in [sets.bounding, sets.effective, sets.permitted, sets.inheritable, sets.ambient] {
            for name in set where (bits[name] ?? 0) & available == 0 && !names.contains(name) { names.append(name) }
        }
        return names.sorted()
    }

    private static let bits = Dictionary(
        uniqueKeysWithValues: all.enumerated().map { ($0.element, UInt64(1) << UInt64($0.offset)) })

    static func names(in mask: UInt64) -> [String] {
        all.enumerated().filter { mask & 1 << UInt64($0.offset) != 0 }.map(\.element)
    }

    static func mask(_ names: [String]) -> UInt64 {
        names.reduce(0) { mask, name in mask | (bits[name] ?? 0) }
    }
}

extension CapabilitySets {
    /// What config.json grants, less what the runtime itself does not have. Absent capabilities mean none.
    ///
    /// Asking for what the runtime lacks is a warning to runc, not an error.
    init(_ capabilities: Capabilities?, available: UInt64) {
        self.init()
        guard let capabilities else { return }
        bounding = CapabilityNames.mask(capabilities.bounding) & available
        effective = CapabilityNames.mask(capabilities.effective) & available
        permitted = CapabilityNames.mask(capabilities.permitted) & available
        inheritable = CapabilityNames.mask(capabilities.inheritable) & available
        ambient = CapabilityNames.mask(capabilities.ambient) & available
    }
}
