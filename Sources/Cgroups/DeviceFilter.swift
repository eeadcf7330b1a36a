/// ``DeviceRules`` as a program for the kernel, which on cgroup v2 has no other way to say them.
///
/// The kernel runs it with a `struct bpf_cgroup_dev_ctx` {access << 16 | kind, major, minor} for every open or mknod of
/// a device, and refuses with EPERM if it returns 0. cgroup-v2.rst, "Device controller"; bpf(2).
struct DeviceFilter: Equatable, Sendable {
    /// Each is a `struct bpf_insn`.
    private(set) var instructions: [UInt64] = []

    private enum Register: UInt64 { case result = 0, context, kind, access, major, minor }

    init(_ rules: DeviceRules) {
        load(.kind, offset: 0)
        load(.access, offset: 0)
        append(0x54, .kind, immediate: 0xffff)
        append(0x74, .access, immediate: 16)
        load(.major, offset: 4)
        load(.minor, offset: 8)
        for rule in rules.exceptions { append(rule, allows: !rules.allowsByDefault) }
        append(returning: rules.allowsByDefault)
    }

    /// One exception: the test of each field jumps over the rest, to the next exception.
    ///
    /// As on v1, one rule must allow all that is asked for at once, while a part that is denied denies it all.
    private mutating func append(_ rule: DeviceRules.Rule, allows: Bool) {
        // A number that no device can have matches none.
        guard let major = Self.number(rule.major), let minor = Self.number(rule.minor) else { return }
        let all = DeviceRules.Access.all
        var tests: [(code: UInt64, Register, Int32)] = [(0x56, .kind, rule.kind.number)]
        if rule.access != all {
            let missing = Int32(allows ? all.subtracting(rule.access).bits : rule.access.bits)
            // Jump if any of the bits is set; for a denied part the jump must be taken if none is.
            tests.append((allows ? 0x46 : Self.jumpUnlessSet, .access, missing))
        }
        if major >= 0 { tests.append((0x56, .major, major)) }
        if minor >= 0 { tests.append((0x56, .minor, minor)) }
        // Behind the tests come two instructions, the return; "unless set" takes two by itself.
        var left = tests.reduce(2) { $0 + ($1.code == Self.jumpUnlessSet ? 2 : 1) }
        for (code, register, immediate) in tests {
            if code == Self.jumpUnlessSet {
                left -= 2
                append(0x46, register, offset: 1, immediate: immediate)
                append(0x05, .result, offset: UInt64(left))
            } else {
                left -= 1
                append(code, register, offset: UInt64(left), immediate: immediate)
            }
        }
        append(returning: allows)
    }

    /// Not an instruction of the kernel's.
    private static let jumpUnlessSet: UInt64 = 0

    /// -1 for any, nil for one that does not exist.
    private static func number(_ number: Int64?) -> Int32? {
        guard let number else { return -1 }
        return Int32(exactly: number)
    }

    private mutating func append(returning allowed: Bool) {
        append(0xb7, .result, immediate: allowed ? 1 : 0)
        append(0x95, .result)
    }

    private mutating func load(_ register: Register, offset: UInt64) {
        instructions.append(0x61 | register.rawValue << 8 | Register.context.rawValue << 12 | offset << 16)
    }

    private mutating func append(_ code: UInt64, _ register: Register, offset: UInt64 = 0, immediate: Int32 = 0) {
        instructions.append(
            code | register.rawValue << 8 | offset << 16 | UInt64(UInt32(bitPattern: immediate)) << 32)
    }
}

extension DeviceRules.Kind {
    /// BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_DEV_CHAR.
    fileprivate var number: Int32 {
        switch self {
        case .block: 1
        case .character: 2
        }
    }
}

extension DeviceRules.Access {
    /// BPF_DEVCG_ACC_MKNOD, BPF_DEVCG_ACC_READ, BPF_DEVCG_ACC_WRITE.
    fileprivate var bits: Int {
        (contains(.mknod) ? 1 : 0) | (contains(.read) ? 2 : 0) | (contains(.write) ? 4 : 0)
    }
}
