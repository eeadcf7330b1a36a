import CheckpointImages
import LinuxSystem
import Tracee

/// How the kernel treats a thread, where CRIU's format has no place for it: the CPUs that it may use, its I/O priority, timer
/// slack, NUMA policy and deadline scheduling, what the processor may guess for it (PR_SET_SPECULATION_CTRL), whether it may read the time stamp
/// counter, and when a fault of the machine's memory kills it; and of its process which memory a core dump has, whether all
/// future memory is locked, is merged (PR_SET_MEMORY_MERGE) or gets huge pages, and where single mappings have their memory from.
///
/// They travel in `tunables.stasis`, a line for each thread that differs from a new one. CRIU does not look at the file.
struct Tunables: Equatable, Sendable, ProcessKind {
    final class DumpState: KindState {
        /// What ``fileName`` says of each thread.
        fileprivate var words: [pid_t: [String]] = [:]
        /// Mappings of the process that is being asked whose memory may come from places of their own.
        fileprivate var unclear: [VmaEntry] = []
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
    /// The same of single mappings. mbind(2).
    var places: [Place] = []
    /// Of each kind of misfeature, PR_SPEC_STORE_BYPASS and on, what is set other than in a new process.
    var speculation: [Int: Int] = [:]
    /// PR_TSC_SIGSEGV
    var stampsFault = false
    /// PR_MCE_KILL_LATE or PR_MCE_KILL_EARLY.
    var faultPolicy: Int?
    /// PR_SET_MEMORY_MERGE, Linux 6.4.
    var isMerged = false
    /// SCHED_DEADLINE
    var deadline: DeadlineScheduling?
    /// What PR_GET_THP_DISABLE says besides that they are off: which they are not. Linux 6.18.
    var hugePages = 0

    struct Place: Equatable, Sendable {
        var range: Range<UInt64>
        var policy: MemoryPolicy
    }

    struct MemoryPolicy: Equatable {
        var mode: Int32 = 0
        /// A bit for each node.
        var nodes = SIMD16<UInt64>(repeating: 0)
    }

    private static let usualSlack = 50_000
    /// PR_SPEC_ENABLE; the flushing of the L1 data cache is PR_SPEC_DISABLE.
    private static let usualSpeculation = [2, 2, 4]
    private static let usualFaultPolicy = 2

    // MARK: Dump

    private struct Question {
        let timerSlack: Program.Reference
        let memoryPolicy: RemoteAddress
        let speculation: [Program.Reference]
        let stamps: RemoteAddress
        let faultPolicy: Program.Reference
    }

    static func askThread(_ thread: CapturedThread, in program: inout Program, of dump: Dump) -> ThreadAnswer? {
        let policy = program.reserve(8 + MemoryLayout<SIMD16<UInt64>>.size)
        program.call(
            "get_mempolicy", Int(SYS_get_mempolicy), [policy.raw, (policy + 8).raw, 1024, 0, 0], tolerated: [ENOSYS])
        let stamps = program.reserve(8)
        _ = get("PR_GET_TSC", 25, stamps.raw, in: &program)
        let question = Question(
            timerSlack: program.call("prctl PR_GET_TIMERSLACK", Int(SYS_prctl), [30, 0, 0, 0, 0]),
            memoryPolicy: policy,
            speculation: usualSpeculation.indices.map {
                get("PR_GET_SPECULATION_CTRL", 52, UInt64($0), in: &program)
            },
            stamps: stamps, faultPolicy: get("PR_MCE_KILL_GET", 34, in: &program))
        return { results, _ in
            let tunables = try capture(question, results, thread, all: dump.usableCPUs)
            dump[Tunables.self].words[thread.innerID, default: []] += tunables.words
        }
    }

    private static func get(
        _ name: String, _ option: UInt64, _ argument: UInt64 = 0, in program: inout Program
    ) -> Program.Reference {
        program.call("prctl \(name)", Int(SYS_prctl), [option, argument, 0, 0, 0], tolerated: nil)
    }

    /// What belongs to the process's memory. Hardly ever has a mapping a policy of its own, so of most only the mode is asked,
    /// in the batch that is run anyway.
    static func ask(_ process: CapturedProcess, in program: inout Program, of dump: Dump) -> ProcessAnswer? {
        let isMerged = get("PR_GET_MEMORY_MERGE", 68, in: &program)
        let hugePages = get("PR_GET_THP_DISABLE", 42, in: &program)
        let mappings = process.mappings.filter {
            $0.kind.isDisjoint(with: [.vdso, .vvar, .vsyscall, .guardPages])
        }
        let modes = mappings.prefix(500).map { mapping in
            let mode = program.reserve(4)
            askPlace(of: mapping, [mode.raw, 0, 0], in: &program)
            return mode
        }
        return { results, images in
            var tunables = Tunables()
            tunables.isMerged = results[isMerged] == 1
            tunables.hugePages = max(0, results[hugePages]) & ~1
            dump[Tunables.self].words[process.innerThreads[0], default: []] += tunables.words
            let unclear = zip(mappings, modes).filter { results.value($1, as: Int32.self) != 0 }.map(\.0)
            dump[Tunables.self].unclear = unclear + mappings.dropFirst(modes.count)
        }
    }

    /// By the address of each mapping; memory that several processes have at one place is asked for in each.
    static func ask(
        _ process: CapturedProcess, by session: AgentSession, into images: inout ProcessImages, of dump: Dump
    ) throws {
        for mappings in ProgramRunner.portions(dump[Tunables.self].unclear) {
            var program = Program(session.area.main)
            let answers = mappings.map { mapping in
                let answer = program.reserve(policySize)
                askPlace(of: mapping, [answer.raw, (answer + 8).raw, 1024], in: &program)
                return answer
            }
            let results = try session.run(program)
            try results.check()
            for (mapping, answer) in zip(mappings, answers) {
                guard let policy = policy(at: answer, results) else { continue }
                let place = Place(range: mapping.start..<mapping.end, policy: policy)
                dump[Tunables.self].words[process.innerThreads[0], default: []].append(place.word)
            }
        }
    }

    private static func askPlace(of mapping: VmaEntry, _ answer: [UInt64], in program: inout Program) {
        program.call(
            "get_mempolicy of a mapping", Int(SYS_get_mempolicy), answer + [mapping.start, 2],  // MPOL_F_ADDR
            tolerated: [ENOSYS, EFAULT])
    }

    private static let policySize = 8 + MemoryLayout<SIMD16<UInt64>>.size

    /// `nil` for that of all memory.
    private static func policy(at answer: RemoteAddress, _ results: Program.Results) -> MemoryPolicy? {
        guard let mode = results.value(answer, as: Int32.self), mode != 0 else { return nil }
        var nodes = SIMD16<UInt64>(repeating: 0)
        for index in nodes.indices {
            nodes[index] = results.value(answer + (8 + index * 8), as: UInt64.self) ?? 0
        }
        return MemoryPolicy(mode: mode, nodes: nodes)
    }

    static func seal(_ dump: Dump) throws {
        let words = dump[Tunables.self].words.filter { !$0.value.isEmpty }.sorted { $0.key < $1.key }
        let text = words.map { "\($0.key) \($0.value.joined(separator: " "))\n" }.joined()
        if !text.isEmpty { try dump.images.add(fileName, Array(text.utf8)) }
    }

    /// - Parameter all: the CPUs of the container's cpuset.
    private static func capture(
        _ question: Question, _ results: Program.Results, _ captured: CapturedThread, all: String?
    ) throws -> Tunables {
        let (process, status) = (captured.process, captured.status)
        let thread = status.task
        var tunables = Tunables()
        if let policy = policy(at: question.memoryPolicy, results) { tunables.memoryPolicy = policy }
        // Urgent threads (SCHED_FIFO, SCHED_RR, SCHED_DEADLINE) have none, from Linux 6.12 on, and get it with their policy.
        if results[question.timerSlack] > 0 { tunables.timerSlack = results[question.timerSlack] }
        for (kind, answer) in question.speculation.enumerated() {
            // PR_SPEC_PRCTL: it is up to the thread.
            let now = results[answer]
            if now > 0, now & 1 != 0, now & ~1 != usualSpeculation[kind] { tunables.speculation[kind] = now & ~1 }
        }
        tunables.stampsFault = results.value(question.stamps, as: Int32.self) == 2
        let faultPolicy = results[question.faultPolicy]
        if faultPolicy >= 0, faultPolicy != usualFaultPolicy { tunables.faultPolicy = faultPolicy }
        if let cpus = status.allowedCPUs, let all, cpus != all { tunables.cpus = cpus }
        tunables.ioPriority = try systemCall("ioprio_get", Int(SYS_ioprio_get), 1, Int(thread))
        tunables.deadline = try DeadlineScheduling(of: thread)
        guard thread == process.task else { return tunables }
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

    /// `name=value`, for what is unusual.
    var words: [String] {
        var words: [String] = []
        if let cpus { words.append("cpus=\(cpus)") }
        if ioPriority != 0 { words.append("io=\(ioPriority)") }
        if timerSlack != Self.usualSlack { words.append("slack=\(timerSlack)") }
        if let coreFilter { words.append("core=\(coreFilter)") }
        if locking != 0 { words.append("lock=\(locking)") }
        if memoryPolicy != MemoryPolicy() { words.append("memory=\(memoryPolicy.text)") }
        for (kind, value) in speculation.sorted(by: { $0.key < $1.key }) { words.append("guess\(kind)=\(value)") }
        if stampsFault { words.append("stamps=0") }
        if let faultPolicy { words.append("faults=\(faultPolicy)") }
        if isMerged { words.append("merge=1") }
        if hugePages != 0 { words.append("huge=\(hugePages)") }
        if let deadline { words.append("deadline=\(deadline.text)") }
        return words + places.map(\.word)
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
        case ("place", _): places.append(try Self.place(parts[1]))
        case ("guess0", let value?) where Self.guesses.contains(value): speculation[0] = value
        case ("guess1", let value?) where Self.guesses.contains(value): speculation[1] = value
        case ("guess2", let value?) where Self.guesses.contains(value): speculation[2] = value
        case ("stamps", 0?): stampsFault = true
        case ("faults", let value?) where value == 0 || value == 1: faultPolicy = value
        case ("merge", 1?): isMerged = true
        case ("deadline", _):
            guard let told = DeadlineScheduling(parts[1]) else { throw Self.damaged(word) }
            deadline = told
        case ("huge", 2?): hugePages = 2  // PR_THP_DISABLE_EXCEPT_ADVISED
        default: throw Self.damaged(word)
        }
    }

    private static func policy(_ text: Substring) throws -> MemoryPolicy {
        let parts = text.split(separator: ":")
        let words = parts.last?.split(separator: ",").compactMap { UInt64($0, radix: 16) } ?? []
        guard parts.count == 2, let mode = Int32(parts[0]), mode > 0, words.count == 16 else { throw damaged(text) }
        return MemoryPolicy(mode: mode, nodes: SIMD16(words))
    }

    /// PR_SPEC_ENABLE, _DISABLE, _FORCE_DISABLE, _DISABLE_NOEXEC
    private static let guesses: Set<Int> = [2, 4, 8, 16]

    private static func place(_ text: Substring) throws -> Place {
        let parts = text.split(separator: ":", maxSplits: 1)
        let ends = parts.first?.split(separator: "-").compactMap { UInt64($0, radix: 16) } ?? []
        guard parts.count == 2, ends.count == 2, ends[0] < ends[1], ends[1] <= 0x7fff_ffff_f000, ends[0] % 4096 == 0,
            ends[1] % 4096 == 0
        else { throw damaged(text) }
        return Place(range: ends[0]..<ends[1], policy: try policy(parts[1]))
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
        guard deadline == nil || policy.grantsUrgency else {
            throw CheckpointError(
                "has deadline scheduling (SCHED_DEADLINE), and config.json does not grant CAP_SYS_NICE")
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
        for (kind, value) in speculation.sorted(by: { $0.key < $1.key }) {
            // ENXIO: this processor makes no such guesses.
            program.call(
                "prctl PR_SET_SPECULATION_CTRL", Int(SYS_prctl), [53, UInt64(kind), UInt64(value), 0, 0],
                tolerated: [ENXIO])
        }
        if stampsFault { program.call("prctl PR_SET_TSC", Int(SYS_prctl), [26, 2, 0, 0, 0]) }
        if let faultPolicy {
            program.call("prctl PR_MCE_KILL", Int(SYS_prctl), [33, 1, UInt64(faultPolicy), 0, 0])
        }
        if isMerged { program.call("prctl PR_SET_MEMORY_MERGE", Int(SYS_prctl), [67, 1, 0, 0, 0]) }
    }

    /// What is in memory stays there, as it did.
    func recreatePlaces(by runner: inout ProgramRunner) throws {
        for places in ProgramRunner.portions(places) {
            try runner.add { program in
                for place in places {
                    let nodes = program.place(value: place.policy.nodes)
                    program.call(
                        "mbind of \(RemoteAddress(place.range.lowerBound))", Int(SYS_mbind),
                        [
                            place.range.lowerBound, UInt64(place.range.count), UInt64(place.policy.mode), nodes.raw,
                            1024,
                            0,
                        ])
                }
            }
        }
    }

    /// What the engine does from outside.
    ///
    /// - Returns: what could not be done, because this machine is another.
    func apply(to thread: pid_t, of process: pid_t) throws -> String? {
        if try systemCall("ioprio_get", Int(SYS_ioprio_get), 1, Int(thread)) != ioPriority {
            _ = try systemCall("ioprio_set", Int(SYS_ioprio_set), 1, Int(thread), ioPriority)
        }
        if let coreFilter { try writeControl("/proc/\(process)/coredump_filter", String(coreFilter)) }
        try deadline?.apply(to: thread)
        guard let cpus, let numbers = parseNumberList(cpus) else { return nil }
        do throws(SystemError) { try setAffinity(numbers, of: thread) } catch {
            guard error.errno == .invalidArgument else { throw error }
            return "it ran on CPUs \(cpus), none of which it may use here; it runs on all"
        }
        return nil
    }
}

extension Tunables.MemoryPolicy {
    /// The mode, and a word of hexadecimal digits for each 64 nodes.
    fileprivate var text: String {
        "\(mode):\(nodes.indices.map { String(nodes[$0], radix: 16) }.joined(separator: ","))"
    }
}

extension Tunables.Place {
    fileprivate var word: String {
        "place=\(String(range.lowerBound, radix: 16))-\(String(range.upperBound, radix: 16)):\(policy.text)"
    }
}
