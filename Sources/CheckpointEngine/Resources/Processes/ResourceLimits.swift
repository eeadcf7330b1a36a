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

    static func capture(_ process: pid_t) throws -> TaskRlimitsEntry {
        let lines = try readText("/proc/\(process)/limits").lines
        return try TaskRlimitsEntry.with {
            $0.rlimits = try names.map { name in
                guard let line = lines.first(where: { $0.utf8.starts(with: name.utf8) }) else {
                    throw CheckpointError("/proc/\(process)/limits: no `\(name)`")
                }
                let columns = Substring(line.utf8.dropFirst(name.utf8.count)).parts(between: UInt8(ascii: " "))
                let values = columns.prefix(2).map { $0 == "unlimited" ? UInt64.max : UInt64($0) ?? 0 }
                guard values.count == 2 else { throw CheckpointError("/proc/\(process)/limits: `\(line)`") }
                return RlimitEntry.with {
                    $0.cur = values[0]
                    $0.max = values[1]
                }
            }
        }
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
