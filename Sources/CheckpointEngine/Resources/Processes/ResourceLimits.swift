import CheckpointImages
import LinuxSystem
import Tracee

/// getrlimit(2). Read from /proc/PID/limits: prlimit(2) on another task wants CAP_SYS_RESOURCE in its user namespace.
enum ResourceLimits: ProcessKind {
    static func capture(_ process: CapturedProcess, into images: inout ProcessImages, of dump: Dump) throws {
        images.task.rlimits = try capture(process.task)
    }

    /// In the order of the RLIMIT_ numbers; proc_pid_limits(5) has another.
    private static let names = [
        "Max cpu time", "Max file size", "Max data size", "Max stack size", "Max core file size", "Max resident set",
        "Max processes", "Max open files", "Max locked memory", "Max address space", "Max file locks",
        "Max pending signals", "Max msgqueue size", "Max nice priority", "Max realtime priority",
        "Max realtime timeout",
    ]

    private static let numbers = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1[...], $0) })

    /// Each line has a name in 25 columns, then both values and the unit.
    static func capture(_ process: pid_t) throws -> TaskRlimitsEntry {
        var limits = [RlimitEntry?](repeating: nil, count: names.count)
        for line in try readText("/proc/\(process)/limits").lines {
            guard let number = numbers[Substring(line.utf8.prefix(25)).trimmed] else { continue }
            let values = Substring(line.utf8.dropFirst(25)).parts(between: UInt8(ascii: " "), atMost: 3).prefix(2)
                .map { $0 == "unlimited" ? UInt64.max : UInt64($0) ?? 0 }
            guard values.count == 2 else { throw CheckpointError("/proc/\(process)/limits: `\(line)`") }
            limits[number] = .with { ($0.cur, $0.max) = (values[0], values[1]) }
        }
        if let missing = limits.firstIndex(of: nil) {
            throw CheckpointError("/proc/\(process)/limits: no `\(names[missing])`")
        }
        return .with { $0.rlimits = limits.compactMap(\.self) }
    }

    static func named(_ limits: TaskRlimitsEntry) -> [(String, RlimitEntry)] { Array(zip(names, limits.rlimits)) }

    /// Raises hard limits from outside: the root of a user namespace may not do that for itself.
    static func raise(_ limits: TaskRlimitsEntry, of process: pid_t) throws {
        for (resource, (limit, old)) in zip(limits.rlimits, try capture(process).rlimits).enumerated()
        where limit.max > old.max {
            try about("`\(names[resource])`") {
                try ResourceLimit(resource: CInt(resource), soft: max(limit.cur, old.cur), hard: limit.max)
                    .apply(to: process)
            }
        }
    }

    /// How many descriptors a process may have at most.
    static func openFiles(of process: pid_t) throws -> UInt64 { try capture(process).rlimits[7].max }

    static func recreate(_ limits: TaskRlimitsEntry, in program: inout Program) throws {
        guard limits.rlimits.count <= names.count else {
            throw CheckpointError("\(limits.rlimits.count) resource limits; this kernel has \(names.count)")
        }
        for (resource, limit) in limits.rlimits.enumerated() {
            let value = program.place(value: SIMD2<UInt64>(limit.cur, limit.max))
            program.call(
                "prlimit of `\(names[resource])` to \(limit.cur)/\(limit.max)", Int(SYS_prlimit64),
                [0, UInt64(resource), value.raw, 0])
        }
    }
}
