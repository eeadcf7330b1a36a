extension Seccomp {
    /// runtime-spec config-linux.md, "Seccomp". What is refused of SCMP_ACT_NOTIFY is what runc refuses.
    func check() throws(FieldError) {
        try Self.checkErrno(defaultErrnoRet, for: defaultAction, "linux.seccomp.defaultErrnoRet")
        if defaultAction == .notify {
            throw FieldError("linux.seccomp.defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action")
        }
        for (index, rule) in syscalls.enumerated() {
            let field = "linux.seccomp.syscalls[\(index)]"
            if rule.names.isEmpty { throw FieldError("\(field).names", "empty") }
            try Self.checkErrno(rule.errnoRet, for: rule.action, "\(field).errnoRet")
            for (number, argument) in rule.args.enumerated() where argument.index > 5 {
                throw FieldError("\(field).args[\(number)].index", argument.index, isNotIn: 0...5)
            }
            guard rule.action == .notify else { continue }
            if (listenerPath ?? "").isEmpty {
                throw FieldError("linux.seccomp.listenerPath", "missing, and SCMP_ACT_NOTIFY needs it")
            }
            // The confined process tells the runtime with it which descriptor is the listener.
            if rule.names.contains("write") {
                throw FieldError("\(field).names", "SCMP_ACT_NOTIFY cannot be used for the write syscall")
            }
        }
    }

    /// The kernel has 16 bits for it, and some actions have no number at all.
    private static func checkErrno(_ number: UInt32?, for action: Action, _ field: String) throws(FieldError) {
        guard let number else { return }
        guard action.takesErrno else { throw FieldError(field, "\(action.rawValue) has none") }
        if number > UInt16.max { throw FieldError(field, number, isNotIn: 0...Int(UInt16.max)) }
    }
}

extension Seccomp.Action {
    /// Whether `errnoRet` has a meaning: the number that the program sees, or that the tracer gets.
    var takesErrno: Bool { self == .errno || self == .trace }
}
