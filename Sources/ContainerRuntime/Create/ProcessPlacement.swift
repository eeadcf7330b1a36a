import LinuxSystem
import OCISpec

/// Where and how urgently a process runs: scheduling, I/O priority, CPUs, memory nodes; and its personality.
struct ProcessPlacement: Sendable {
    private var scheduling: SchedulingAttributes?
    private var ioPriority: (class: Int, level: Int)?
    private var personality: Int?
    private var memoryPolicy: (mode: Int, nodes: Set<Int>)?
    /// For `exec`: before the process is in the container's cgroups, and after.
    private(set) var initialCPUs: Set<Int>?
    private(set) var finalCPUs: Set<Int>?

    init(_ process: Process, _ linux: Linux?) throws(RuntimeError) {
        scheduling = process.scheduler.map(SchedulingAttributes.init)
        ioPriority = process.ioPriority.map { ($0.class.number, Int($0.priority ?? 0)) }
        initialCPUs = try Self.numbers(process.execCPUAffinity?.initial, "process.execCPUAffinity.initial")
        finalCPUs = try Self.numbers(process.execCPUAffinity?.final, "process.execCPUAffinity.final")
        personality = linux?.personality.map { $0.domain == .linux32 ? 8 : 0 }  // PER_LINUX32
        if let policy = linux?.memoryPolicy, let mode = policy.mode {
            memoryPolicy = (
                policy.flags.reduce(mode.number) { $0 | $1.number },
                try Self.numbers(policy.nodes, "linux.memoryPolicy.nodes") ?? []
            )
        }
    }

    private static func numbers(_ list: String?, _ field: String) throws(RuntimeError) -> Set<Int>? {
        guard let list, !list.isEmpty else { return nil }
        guard let numbers = parseNumberList(list) else {
            throw RuntimeError("config.json: \(field): \(list.quoted) is not a list such as 0-3,7")
        }
        return numbers
    }

    /// For the calling process, which still has the runtime's privileges.
    func apply() throws(RuntimeError) {
        if let scheduling {
            try launching("process.scheduler") { () throws(SystemError) in try scheduling.apply() }
        }
        if let ioPriority {
            try launching("process.ioPriority") { () throws(SystemError) in
                try CallingProcess.setIOPriority(class: ioPriority.class, level: ioPriority.level)
            }
        }
        if let memoryPolicy {
            try launching("linux.memoryPolicy") { () throws(SystemError) in
                try CallingProcess.setMemoryPolicy(memoryPolicy.mode, nodes: memoryPolicy.nodes)
            }
        }
        if let personality {
            try launching("linux.personality") { () throws(SystemError) in
                try CallingProcess.setPersonality(personality)
            }
        }
    }
}

extension SchedulingAttributes {
    fileprivate init(_ scheduler: Scheduler) {
        self.init(policy: scheduler.policy.number)
        flags = scheduler.flags.reduce(0) { $0 | $1.number }
        nice = scheduler.nice ?? 0
        priority = UInt32(scheduler.priority ?? 0)
        runtime = scheduler.runtime ?? 0
        deadline = scheduler.deadline ?? 0
        period = scheduler.period ?? 0
    }
}

// Numbers of linux/sched.h, linux/ioprio.h and linux/mempolicy.h.

extension Scheduler.Policy {
    fileprivate var number: UInt32 {
        switch self {
        case .other: 0
        case .fifo: 1
        case .roundRobin: 2
        case .batch: 3
        case .iso: 4
        case .idle: 5
        case .deadline: 6
        }
    }
}

extension Scheduler.Flag {
    fileprivate var number: UInt64 {
        switch self {
        case .resetOnFork: 0x01
        case .reclaim: 0x02
        case .deadlineOverrun: 0x04
        case .keepPolicy: 0x08
        case .keepParams: 0x10
        case .utilClampMin: 0x20
        case .utilClampMax: 0x40
        }
    }
}

extension IOPriority.Class {
    fileprivate var number: Int {
        switch self {
        case .realTime: 1
        case .bestEffort: 2
        case .idle: 3
        }
    }
}

extension MemoryPolicy.Mode {
    fileprivate var number: Int {
        switch self {
        case .default: 0
        case .preferred: 1
        case .bind: 2
        case .interleave: 3
        case .local: 4
        case .preferredMany: 5
        case .weightedInterleave: 6
        }
    }
}

extension MemoryPolicy.Flag {
    fileprivate var number: Int {
        switch self {
        case .numaBalancing: 1 << 13
        case .relativeNodes: 1 << 14
        case .staticNodes: 1 << 15
        }
    }
}
