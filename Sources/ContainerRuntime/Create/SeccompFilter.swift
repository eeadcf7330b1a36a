import CSeccomp
import LinuxSystem
import OCISpec

/// A seccomp filter ready for the kernel: compiled once, in the runtime, before there is a container.
struct SeccompFilter: Sendable {
    /// An array of `sock_filter`.
    var program: [UInt8]
    /// SECCOMP_FILTER_FLAG_*.
    var flags: UInt32
    var listenerPath: String?
    var listenerMetadata: String?

    init?(_ seccomp: Seccomp?) throws(RuntimeError) {
        guard let seccomp else { return nil }
        program = try compileSeccomp(seccomp)
        var bits: UInt32 = 0
        for flag in seccomp.flags {
            switch flag {
            // One thread needs no synchronizing, and the flag excludes a listener.
            case .tsync: break
            case .log: bits |= 1 << 1
            case .specAllow: bits |= 1 << 2
            case .waitKillableRecv: bits |= 1 << 5
            }
        }
        flags = bits
        listenerMetadata = seccomp.listenerMetadata
        guard seccomp.syscalls.contains(where: { $0.action == .notify }) else { return }
        guard let path = seccomp.listenerPath, !path.isEmpty else {
            throw RuntimeError("seccomp: SCMP_ACT_NOTIFY needs a listenerPath")
        }
        listenerPath = path
        flags |= 1 << 3
    }

    /// Confines the caller. Returns the listener's descriptor if there is one. seccomp(2).
    func install() throws(SystemError) -> CInt? {
        let result = try installSeccompFilter(program, flags: flags)
        return listenerPath == nil ? nil : CInt(result)
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
        let token = seccomp_arch_resolve_name(architecture.libraryName)
        if token == 0 { throw RuntimeError("unknown architecture \(architecture.rawValue)") }
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
    case .kill, .killThread: 0
    case .killProcess: 0x8000_0000
    case .trap: 0x0003_0000
    case .errno: 0x0005_0000 | (errnoRet ?? UInt32(EPERM)) & 0xffff
    case .trace: 0x7ff0_0000 | (errnoRet ?? UInt32(EPERM)) & 0xffff
    case .allow: 0x7fff_0000
    case .log: 0x7ffc_0000
    case .notify: 0x7fc0_0000
    }
}

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
    var libraryName: String { rawValue.dropFirst("SCMP_ARCH_".count).lowercased() }
}
