import CSeccomp
import LinuxSystem
import OCISpec

/// A seccomp filter ready for the kernel: compiled once, in the runtime, before there is a container.
struct SeccompFilter: Sendable {
    /// An array of `sock_filter`.
    var program: [UInt8]
    /// SECCOMP_FILTER_FLAG_*.
    var flags: UInt32
    /// Some calls wait for an agent's decision.
    var notifies: Bool
    /// sendmsg(2) is one of them.
    private let notifiesSend: Bool

    init?(_ seccomp: Seccomp?) throws(RuntimeError) {
        guard let seccomp else { return nil }
        program = try compileSeccomp(seccomp)
        let notified = seccomp.syscalls.filter { $0.action == .notify }
        notifies = !notified.isEmpty
        notifiesSend = notified.contains { $0.names.contains("sendmsg") }
        var bits: UInt32 = 0
        // Where nothing is said, as with runc: a filter shall not slow the processor's speculation down.
        for flag in seccomp.flags ?? [.specAllow] {
            switch flag {
            // One thread needs no synchronizing, and the flag excludes a listener.
            case .tsync: break
            // About how an agent is asked, and refused by the kernel where there is none.
            case .waitKillableRecv where !notifies: break
            default: bits |= flag.bit
            }
        }
        flags = notifies ? bits | newListener : bits
    }

    /// Confines the caller. An agent gets the listener at once: what comes next may need its decision. seccomp(2).
    func install(telling channel: borrowing InitChannel) throws(RuntimeError) {
        let result = try launching { () throws(SystemError) in try installSeccompFilter(program, flags: flags) }
        if !notifies { return }
        try channel.send(listener: CInt(result), agentDecidesOnSend: notifiesSend)
        try channel.expect(.proceed, orDied: "the runtime is gone")
    }
}

/// libseccomp, as it is linked in.
package enum SeccompLibrary {
    package static var version: String {
        guard let version = seccomp_version()?.pointee else { return "unknown" }
        return "\(version.major).\(version.minor).\(version.micro)"
    }
}

/// The filter that `seccomp` describes as an array of the kernel's `sock_filter`, 8 bytes each.
package func compileSeccomp(_ seccomp: Seccomp) throws(RuntimeError) -> [UInt8] {
    let native = try within("seccomp") { () throws(RuntimeError) in try exportFilter(seccomp) }
    guard let stub = UnknownCallStub(seccomp) else { return native }
    return stub.bytes + native
}

private func exportFilter(_ seccomp: Seccomp) throws(RuntimeError) -> [UInt8] {
    guard let filter = seccomp_init(code(of: seccomp.defaultAction, seccomp.defaultErrnoRet)) else {
        throw RuntimeError("cannot make a filter with default action \(seccomp.defaultAction.rawValue)")
    }
    defer { seccomp_release(filter) }
    for architecture in seccomp.architectures {
        guard let token = architecture.token else {
            throw RuntimeError("libseccomp \(SeccompLibrary.version) does not know \(architecture.rawValue)")
        }
        let result = seccomp_arch_add(filter, token)
        if result != 0, result != -EEXIST { throw failure("add architecture \(architecture.rawValue)", result) }
    }
    for rule in seccomp.syscalls { try add(rule, of: seccomp, to: filter) }

    let file = try launching { () throws(SystemError) in try makeMemoryFile("seccomp") }
    let result = seccomp_export_bpf(filter, file.raw)
    if result != 0 { throw failure("export", result) }
    return try launching { () throws(SystemError) in
        try system("rewind filter") { lseek(file.raw, 0, SEEK_SET) }
        return try readAll(file.raw, name: "filter")
    }
}

private func add(_ rule: Syscall, of seccomp: Seccomp, to filter: scmp_filter_ctx) throws(RuntimeError) {
    let action = code(of: rule.action, rule.errnoRet)
    if action == code(of: seccomp.defaultAction, seccomp.defaultErrnoRet) { return }
    let conditions = rule.args.map {
        scmp_arg_cmp(arg: $0.index, op: $0.op.library, datum_a: $0.value, datum_b: $0.valueTwo ?? 0)
    }
    // libseccomp joins conditions by "and" and takes one per argument; two on the same argument mean "or" to OCI.
    let repeats = Set(rule.args.map(\.index)).count < rule.args.count
    let alternatives = repeats ? conditions.map { [$0] } : [conditions]
    for name in rule.names {
        let number = seccomp_syscall_resolve_name(name)
        // A call that this kernel or library does not know cannot be made either.
        if number == __NR_SCMP_ERROR { continue }
        for alternative in alternatives {
            let result = seccomp_rule_add_array(filter, action, number, UInt32(alternative.count), alternative)
            if result != 0, result != -EEXIST { throw failure("add rule for \(name)", result) }
        }
    }
}

private func failure(_ what: String, _ result: CInt) -> RuntimeError {
    RuntimeError("\(what): \(Errno(rawValue: -result).description)")
}

private func code(of action: Seccomp.Action, _ errnoRet: UInt32?) -> UInt32 {
    switch action {
    case .errno, .trace: action.bits | (errnoRet ?? UInt32(EPERM)) & 0xffff
    default: action.bits
    }
}

extension Seccomp.Action {
    /// SECCOMP_RET_*, which libseccomp uses too. seccomp(2).
    var bits: UInt32 {
        switch self {
        case .kill, .killThread: 0
        case .killProcess: 0x8000_0000
        case .trap: 0x0003_0000
        case .errno: 0x0005_0000
        case .trace: 0x7ff0_0000
        case .allow: 0x7fff_0000
        case .log: 0x7ffc_0000
        case .notify: 0x7fc0_0000
        }
    }
}

extension Seccomp.Flag {
    /// SECCOMP_FILTER_FLAG_*. seccomp(2).
    var bit: UInt32 {
        switch self {
        case .tsync: 1 << 0
        case .log: 1 << 1
        case .specAllow: 1 << 2
        case .waitKillableRecv: 1 << 5
        }
    }

    var isKnownToKernel: Bool {
        kernelKnowsSeccompFlags(self == .waitKillableRecv ? bit | newListener : bit)
    }
}

private let newListener: UInt32 = 1 << 3

extension Seccomp.Operator {
    fileprivate var library: scmp_compare {
        switch self {
        case .notEqual: SCMP_CMP_NE
        case .less: SCMP_CMP_LT
        case .lessOrEqual: SCMP_CMP_LE
        case .equal: SCMP_CMP_EQ
        case .greaterOrEqual: SCMP_CMP_GE
        case .greater: SCMP_CMP_GT
        case .maskedEqual: SCMP_CMP_MASKED_EQ
        }
    }
}

extension Seccomp.Architecture {
    /// libseccomp calls SCMP_ARCH_X86_64 `x86_64`.
    fileprivate var libraryName: String { rawValue.dropFirst("SCMP_ARCH_".count).lowercased() }

    /// libseccomp's number for it; nil if this version does not know it.
    var token: UInt32? {
        let token = seccomp_arch_resolve_name(libraryName)
        return token == 0 ? nil : token
    }
}
