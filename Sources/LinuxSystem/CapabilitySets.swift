/// The five capability sets of a thread as bit masks. capabilities(7).
public struct CapabilitySets: Sendable, Equatable {
    public var bounding: UInt64 = 0
    public var effective: UInt64 = 0
    public var permitted: UInt64 = 0
    public var inheritable: UInt64 = 0
    public var ambient: UInt64 = 0

    public init() {}

    /// Removes from the bounding set what `bounding` lacks; CAP_SETPCAP must still be effective. prctl(2).
    public func dropBounding(last: CInt) throws(SystemError) {
        for capability in 0...last where bounding & (1 << UInt64(capability)) == 0 {
            try system("drop capability \(capability) from the bounding set") {
                clinux_prctl(PR_CAPBSET_DROP, UInt(capability), 0, 0, 0)
            }
        }
    }

    /// Sets effective, permitted and inheritable. capset(2).
    public func apply() throws(SystemError) {
        var header = __user_cap_header_struct(version: UInt32(_LINUX_CAPABILITY_VERSION_3), pid: 0)
        var data = (half(0), half(32))
        try system("set capabilities") {
            withUnsafePointer(to: &header) { header in
                withUnsafePointer(to: &data) { data in
                    clinux_syscall(Int(SYS_capset), Int(bitPattern: header), Int(bitPattern: data), 0, 0, 0, 0)
                }
            }
        }
    }

    /// Raises each of `ambient` that is both permitted and inheritable, clears the others. prctl(2) PR_CAP_AMBIENT.
    public func applyAmbient(last: CInt) throws(SystemError) {
        try system("clear ambient capabilities") {
            clinux_prctl(PR_CAP_AMBIENT, UInt(PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0)
        }
        for capability in 0...last where ambient & (1 << UInt64(capability)) != 0 {
            let result = clinux_prctl(PR_CAP_AMBIENT, UInt(PR_CAP_AMBIENT_RAISE), UInt(capability), 0, 0)
            // A set that is not in the others cannot be raised: runc warns and goes on.
            if result == -1, Errno.current != .notPermitted {
                throw SystemError(.current, "raise ambient capability \(capability)")
            }
        }
    }

    /// The caller's own effective, permitted and inheritable sets. capget(2).
    public static func current() throws(SystemError) -> CapabilitySets {
        var header = __user_cap_header_struct(version: UInt32(_LINUX_CAPABILITY_VERSION_3), pid: 0)
        var data = (__user_cap_data_struct(), __user_cap_data_struct())
        try system("get capabilities") {
            withUnsafePointer(to: &header) { header in
                withUnsafeMutablePointer(to: &data) { data in
                    clinux_syscall(Int(SYS_capget), Int(bitPattern: header), Int(bitPattern: data), 0, 0, 0, 0)
                }
            }
        }
        var sets = CapabilitySets()
        sets.effective = UInt64(data.0.effective) | UInt64(data.1.effective) << 32
        sets.permitted = UInt64(data.0.permitted) | UInt64(data.1.permitted) << 32
        sets.inheritable = UInt64(data.0.inheritable) | UInt64(data.1.inheritable) << 32
        return sets
    }

    /// Whether the bounding set of the caller has a capability; nil beyond the kernel's last one.
    public static func boundingHas(_ capability: CInt) -> Bool? {
        let result = clinux_prctl(PR_CAPBSET_READ, UInt(capability), 0, 0, 0)
        return result < 0 ? nil : result == 1
    }

    private func half(_ shift: UInt64) -> __user_cap_data_struct {
        __user_cap_data_struct(
            effective: UInt32(truncatingIfNeeded: effective >> shift),
            permitted: UInt32(truncatingIfNeeded: permitted >> shift),
            inheritable: UInt32(truncatingIfNeeded: inheritable >> shift))
    }
}
