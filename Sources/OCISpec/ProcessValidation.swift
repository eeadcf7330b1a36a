extension Process {
    /// The process that `exec` reads from a file or puts together.
    ///
    /// - Parameter document: what an error calls it.
    package func validate(document: String) throws(SpecError) {
        try checking(document) { () throws(FieldError) in try check(in: "") }
    }

    /// - Parameter parent: what stands in front of the fields' names.
    func check(in parent: String) throws(FieldError) {
        if cwd.isEmpty { throw FieldError("\(parent)cwd", "empty") }
        if !cwd.hasPrefix("/") { throw FieldError("\(parent)cwd", "must be an absolute path") }
        if args.isEmpty { throw FieldError("\(parent)args", "must not be empty") }
        for (index, variable) in env.enumerated() {
            guard let end = variable.utf8.firstIndex(of: UInt8(ascii: "=")) else {
                throw FieldError("\(parent)env[\(index)]", "\"\(variable)\" has no \"=\"")
            }
            if end == variable.startIndex { throw FieldError("\(parent)env[\(index)]", "\"\(variable)\" has no name") }
        }
        if let size = consoleSize {
            try checkConsole(size.height, "\(parent)consoleSize.height")
            try checkConsole(size.width, "\(parent)consoleSize.width")
        }
        try checkLimits(in: parent)
        if let adjustment = oomScoreAdj, !(-1000...1000).contains(adjustment) {
            throw FieldError("\(parent)oomScoreAdj", adjustment, isNotIn: -1000...1000)
        }
        if let priority = ioPriority?.priority, !(0...7).contains(priority) {
            throw FieldError("\(parent)ioPriority.priority", priority, isNotIn: 0...7)
        }
        try scheduler?.check(in: "\(parent)scheduler")
        for (name, list) in [("initial", execCPUAffinity?.initial), ("final", execCPUAffinity?.final)] {
            guard let list, !list.utf8.allSatisfy({ "0123456789, -".utf8.contains($0) }) else { continue }
            throw FieldError("\(parent)execCPUAffinity.\(name)", "\"\(list)\" is not a list of CPUs")
        }
    }

    /// TIOCSWINSZ takes 16 bits. ioctl_tty(2).
    private func checkConsole(_ length: UInt64, _ field: String) throws(FieldError) {
        if length > UInt16.max { throw FieldError(field, length, isNotIn: 0...Int(UInt16.max)) }
    }

    private func checkLimits(in parent: String) throws(FieldError) {
        for (index, limit) in rlimits.enumerated() {
            let letters = limit.type.dropFirst("RLIMIT_".count)
            guard limit.type.hasPrefix("RLIMIT_"), !letters.isEmpty,
                letters.utf8.allSatisfy({ (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) })
            else { throw FieldError("\(parent)rlimits[\(index)].type", unknown: limit.type) }
            guard !rlimits[..<index].contains(where: { $0.type == limit.type }) else {
                throw FieldError("\(parent)rlimits[\(index)].type", "duplicated \(limit.type)")
            }
            guard limit.soft <= limit.hard else {
                throw FieldError("\(parent)rlimits[\(index)].soft", "above the hard limit of \(limit.type)")
            }
        }
    }
}

extension Scheduler {
    /// What each policy takes. sched(7); the kernel would only say EINVAL.
    func check(in field: String) throws(FieldError) {
        if let nice, !(-20...19).contains(nice) { throw FieldError("\(field).nice", nice, isNotIn: -20...19) }
        let isRealTime = policy == .fifo || policy == .roundRobin
        if let priority, priority != 0, !isRealTime {
            throw FieldError("\(field).priority", "only SCHED_FIFO and SCHED_RR have one")
        }
        if isRealTime, !(1...99).contains(priority ?? 0) {
            throw FieldError("\(field).priority", priority ?? 0, isNotIn: 1...99)
        }
        if policy != .deadline, [runtime, deadline, period].contains(where: { $0 ?? 0 != 0 }) {
            throw FieldError("\(field).policy", "only SCHED_DEADLINE has a runtime, deadline and period")
        }
    }
}
