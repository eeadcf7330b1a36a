/// config.json `linux.seccomp`. seccomp(2), libseccomp's names.
package struct Seccomp: Codable, Equatable, Sendable {
    package enum Action: String, Codable, Sendable, CaseIterable {
        case kill = "SCMP_ACT_KILL"
        case killProcess = "SCMP_ACT_KILL_PROCESS"
        case killThread = "SCMP_ACT_KILL_THREAD"
        case trap = "SCMP_ACT_TRAP"
        case errno = "SCMP_ACT_ERRNO"
        case trace = "SCMP_ACT_TRACE"
        case allow = "SCMP_ACT_ALLOW"
        case log = "SCMP_ACT_LOG"
        case notify = "SCMP_ACT_NOTIFY"
    }

    package enum Flag: String, Codable, Sendable, CaseIterable {
        case tsync = "SECCOMP_FILTER_FLAG_TSYNC"
        case log = "SECCOMP_FILTER_FLAG_LOG"
        case specAllow = "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
        case waitKillableRecv = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
    }

    package enum Operator: String, Codable, Sendable, CaseIterable {
        case notEqual = "SCMP_CMP_NE"
        case less = "SCMP_CMP_LT"
        case lessOrEqual = "SCMP_CMP_LE"
        case equal = "SCMP_CMP_EQ"
        case greaterOrEqual = "SCMP_CMP_GE"
        case greater = "SCMP_CMP_GT"
        case maskedEqual = "SCMP_CMP_MASKED_EQ"
    }

    package enum Architecture: String, Codable, Sendable, CaseIterable {
        case x86 = "SCMP_ARCH_X86"
        case x86_64 = "SCMP_ARCH_X86_64"
        case x32 = "SCMP_ARCH_X32"
        case arm = "SCMP_ARCH_ARM"
        case aarch64 = "SCMP_ARCH_AARCH64"
        case loongarch64 = "SCMP_ARCH_LOONGARCH64"
        case m68k = "SCMP_ARCH_M68K"
        case mips = "SCMP_ARCH_MIPS"
        case mips64 = "SCMP_ARCH_MIPS64"
        case mips64n32 = "SCMP_ARCH_MIPS64N32"
        case mipsel = "SCMP_ARCH_MIPSEL"
        case mipsel64 = "SCMP_ARCH_MIPSEL64"
        case mipsel64n32 = "SCMP_ARCH_MIPSEL64N32"
        case ppc = "SCMP_ARCH_PPC"
        case ppc64 = "SCMP_ARCH_PPC64"
        case ppc64le = "SCMP_ARCH_PPC64LE"
        case s390 = "SCMP_ARCH_S390"
        case s390x = "SCMP_ARCH_S390X"
        case sh = "SCMP_ARCH_SH"
        case sheb = "SCMP_ARCH_SHEB"
        case parisc = "SCMP_ARCH_PARISC"
        case parisc64 = "SCMP_ARCH_PARISC64"
        case riscv64 = "SCMP_ARCH_RISCV64"
    }

    package var defaultAction: Action
    package var defaultErrnoRet: UInt32?
    @OrEmpty package var architectures: [Architecture] = []
    /// Absent and empty are not the same.
    package var flags: [Flag]?
    package var listenerPath: String?
    package var listenerMetadata: String?
    @OrEmpty package var syscalls: [Syscall] = []

    package init(defaultAction: Action) { self.defaultAction = defaultAction }
}

/// One rule of the filter, for all its names.
package struct Syscall: Codable, Equatable, Sendable {
    package struct Argument: Codable, Equatable, Sendable {
        package var index: UInt32
        package var value: UInt64
        package var valueTwo: UInt64?
        package var op: Seccomp.Operator

        package init(index: UInt32, value: UInt64, valueTwo: UInt64? = nil, op: Seccomp.Operator) {
            (self.index, self.value, self.valueTwo, self.op) = (index, value, valueTwo, op)
        }
    }

    package var names: [String]
    package var action: Seccomp.Action
    package var errnoRet: UInt32?
    @OrEmpty package var args: [Argument] = []

    package init(names: [String], action: Seccomp.Action) {
        self.names = names
        self.action = action
    }
}
