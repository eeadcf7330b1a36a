import CheckpointImages
import LinuxSystem
import Tracee

/// How the kernel treats a thread, where CRIU's format has no place for it: the CPUs that it may use, its I/O priority, timer
/// slack and NUMA policy; and of its process which memory a core dump has, and whether all future memory is locked.
///
/// They travel in `tunables.stasis`, a line for each thread that differs from a new one. CRIU does not look at the file.
struct Tunables: Equatable, Sendable, ProcessKind {
    final class DumpState: KindState {
        /// The content of ``fileName``.
        fileprivate var text = ""
    }

    static let fileName = "tunables.stasis"

    /// As /proc/PID/status writes it: `0-3,7`. nil for every CPU of the cpuset.
    var cpus: String?
    /// The class in bits 13 to 15, the level below. ioprio_get(2).
    var ioPriority = 0
    /// Nanoseconds.
    var timerSlack = Self.usualSlack
    /// core(5).
    var coreFilter: UInt32?
    /// mlockall(2): 2 is MCL_FUTURE, 4 MCL_ONFAULT.
    var locking = 0
    /// Where memory comes from: the mode with its flags, and the nodes. set_mempolicy(2).
    var memoryPolicy = MemoryPolicy()

    struct MemoryPolicy: Equatable {
        var mode: Int32 = 0
        /// A bit for each node.
        var nodes = SIMD16<UInt64>(repeating: 0)
    }

    private static let usualSlack = 50_000

    // MARK: Dump

    private struct Question {
        let timerSlack: Program.Reference
        let memoryPolicy: RemoteAddress
    }

    static func askThread(in program: inout Program) -> ThreadAnswer? {
        let policy = program.reserve(8 + MemoryLayout<SIMD16<UInt64>>.size)
        program.call(
            "get_mempolicy", Int(SYS_get_mempolicy), [policy.raw, (policy + 8).raw, 1024, 0, 0], tolerated: [ENOSYS])
        let question = Question(
            timerSlack: program.call("prctl PR_GET_TIMERSLACK", Int(SYS_prctl), [30, 0, 0, 0, 0]),
            memoryPolicy: policy)
        return { results, thread, dump, _ in
            let tunables = try capture(question, results, thread, all: dump.usableCPUs)
            dump[Tunables.self].text += tunables.line(of: thread.innerID) ?? ""
        }
    }

    static func seal(_ dump: Dump) throws {
        let text = dump[Tunables.self].text
        if !text.isEmpty { try dump.images.add(fileName, Array(text.utf8)) }
    }

    /// - Parameter all: the CPUs of the container's cpuset.
    private static func capture(
        _ question: Question, _ results: Program.Results, _ captured: CapturedThread, all: String?
    ) throws -> Tunables {
        let (process, status) = (captured.process, captured.status)
        let thread = status.task
        var tunables = Tunables()
        guard let mode = results.value(question.memoryPolicy, as: Int32.self) else {
            throw CheckpointError("the agent's answer is too short")
        }
        if mode != 0 {
            var nodes = SIMD16<UInt64>(repeating: 0)
            for index in nodes.indices {
                nodes[index] = results.value(question.memoryPolicy + (8 + index * 8), as: UInt64.self) ?? 0
            }
            tunables.memoryPolicy = MemoryPolicy(mode: mode, nodes: nodes)
        }
        tunables.timerSlack = results[question.timerSlack]
        if let cpus = status.allowedCPUs, let all, cpus != all { tunables.cpus = cpus }
        tunables.ioPriority = try systemCall("ioprio_get", Int(SYS_ioprio_get), 1, Int(thread))
        guard thread == process.hostPid else { return tunables }
        let filter = try readText("/proc/\(thread)/coredump_filter").split(separator: "\n").first ?? ""
        tunables.coreFilter = UInt32(filter, radix: 16)
        if tunables.coreFilter == 0x33 { tunables.coreFilter = nil }
        // The agent's memory is locked if all new memory is, and filled at once unless that is done on fault.
        if status.lockedMemory > process.status.lockedMemory, let area = process.session?.area {
            let isFilled = try isPresent(area.end.raw - 4096, of: thread)
            tunables.locking = isFilled ? 2 : 6
        }
        return tunables
    }

    private static func isPresent(_ address: UInt64, of process: pid_t) throws -> Bool {
        let pagemap = try openAt(AT_FDCWD, "/proc/\(process)/pagemap", O_RDONLY)
        var entry: UInt64 = 0
        try system("read pagemap") { pread(pagemap.raw, &entry, 8, off_t(address / 4096 * 8)) }
        return entry >> 63 != 0
    }

    // MARK: Image

    /// `TID name=value …`; nil if nothing is unusual.
    func line(of thread: pid_t) -> String? {
        var words: [String] = []
        if let cpus { words.append("cpus=\(cpus)") }
        if ioPriority != 0 { words.append("io=\(ioPriority)") }
        if timerSlack != Self.usualSlack { words.append("slack=\(timerSlack)") }
        if let coreFilter { words.append("core=\(coreFilter)") }
        if locking != 0 { words.append("lock=\(locking)") }
        if memoryPolicy != MemoryPolicy() {
            let nodes = memoryPolicy.nodes.indices.map { String(memoryPolicy.nodes[$0], radix: 16) }
            words.append("memory=\(memoryPolicy.mode):\(nodes.joined(separator: ","))")
        }
        return words.isEmpty ? nil : "\(thread) \(words.joined(separator: " "))\n"
    }

    /// The content of `tunables.stasis`, by thread.
    static func decode(_ text: String) throws -> [pid_t: Tunables] {
        var all: [pid_t: Tunables] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard let first = words.first, let thread = pid_t(first), all[thread] == nil else { throw damaged(line) }
            var tunables = Tunables()
            for word in words.dropFirst() { try tunables.set(word) }
            all[thread] = tunables
        }
        return all
    }

    private mutating func set(_ word: Substring) throws {
        let parts = word.split(separator: "=", maxSplits: 1)
        guard parts.count == 2 else { throw Self.damaged(word) }
        let number = Int(parts[1])
        switch (parts[0], number) {
        case ("cpus", _) where parseNumberList(String(parts[1])) != nil: cpus = String(parts[1])
        case ("io", let value?) where (0..<4 << 13).contains(value): ioPriority = value
        case ("slack", let value?) where value > 0: timerSlack = value
        case ("core", let value?) where (0..<512).contains(value): coreFilter = UInt32(value)
        case ("lock", let value?) where value == 2 || value == 6: locking = value
        case ("memory", _): memoryPolicy = try Self.policy(parts[1])
        default: throw Self.damaged(word)
        }
    }

    private static func policy(_ text: Substring) throws -> MemoryPolicy {
        let parts = text.split(separator: ":")
        let words = parts.last?.split(separator: ",").compactMap { UInt64($0, radix: 16) } ?? []
        guard parts.count == 2, let mode = Int32(parts[0]), mode > 0, words.count == 16 else { throw damaged(text) }
        return MemoryPolicy(mode: mode, nodes: SIMD16(words))
    }

    private static func damaged(_ text: Substring) -> CheckpointError {
        CheckpointError("\(fileName): `\(text.prefix(100))` says nothing that is known")
    }

    // MARK: Restore

    /// Class 1 (realtime) goes before all others: only config.json gives it, or the right to take it.
    func check(_ policy: RestorePolicy) throws {
        let mayTake = policy.capabilities & (1 << 21 | 1 << 23) != 0  // CAP_SYS_ADMIN, CAP_SYS_NICE
        guard ioPriority >> 13 != 1 || policy.givesRealTimeIO || mayTake else {
            throw CheckpointError("has an I/O priority of the real-time class, which config.json does not give it")
        }
    }

    func recreate(in program: inout Program) {
        program.call("prctl PR_SET_TIMERSLACK", Int(SYS_prctl), [29, UInt64(timerSlack), 0, 0, 0])
        let nodes = program.place(value: memoryPolicy.nodes)
        let isSet = memoryPolicy.mode != 0
        program.call(
            "set_mempolicy", Int(SYS_set_mempolicy),
            [UInt64(memoryPolicy.mode), isSet ? nodes.raw : 0, isSet ? 1024 : 0], tolerated: [ENOSYS])
        if locking != 0 { program.call("mlockall", Int(SYS_mlockall), [UInt64(locking)]) }
    }

    /// What the engine does from outside.
    ///
    /// - Returns: what could not be done, because this machine is another.
    func apply(to thread: pid_t, of process: pid_t) throws -> String? {
        if try systemCall("ioprio_get", Int(SYS_ioprio_get), 1, Int(thread)) != ioPriority {
            _ = try systemCall("ioprio_set", Int(SYS_ioprio_set), 1, Int(thread), ioPriority)
        }
        if let coreFilter { try writeControl("/proc/\(process)/coredump_filter", String(coreFilter)) }
        guard let cpus, let numbers = parseNumberList(cpus) else { return nil }
        do throws(SystemError) { try setAffinity(numbers, of: thread) } catch {
            guard error.errno == .invalidArgument else { throw error }
            return "it ran on CPUs \(cpus), none of which it may use here; it runs on all"
        }
        return nil
    }
}
