import CheckpointImages
import LinuxSystem
import Tracee

/// The seccomp filters of a thread, or its strict mode, which takes no filters. seccomp(2).
enum Seccomp: ProcessKind {
    /// The filters of all threads, each once.
    final class DumpState: KindState {
        fileprivate var filters: [SeccompFilter] = []
        fileprivate var numbers: [SeccompFilter: UInt32] = [:]
        fileprivate var size: UInt64 = 0
    }

    static func capture(_ process: CapturedProcess, into images: inout ProcessImages, of dump: Dump) throws {
        for thread in process.capturedThreads {
            let mode = thread.status.seccompMode
            if mode == 1 { images.cores[thread.index].threadCore.seccompMode = .strict }
            guard let newest = try capture(thread.traced, mode: mode, into: dump[Seccomp.self]) else { continue }
            images.cores[thread.index].threadCore.seccompMode = .filter
            images.cores[thread.index].threadCore.seccompFilter = newest
        }
    }

    static func seal(_ dump: Dump) throws {
        try dump.images.add(.seccomp, entries: [SeccompEntry.with { $0.seccompFilters = dump[Seccomp.self].filters }])
    }

    /// Captures a thread's filters into the dump's common list, oldest first, each pointing at the one before.
    ///
    /// - Returns: the index of the newest, `nil` if there is none.
    private static func capture(_ thread: TracedThread, mode: Int, into state: DumpState) throws -> UInt32? {
        guard mode == 2 else { return nil }
        var previous: UInt32?
        for filter in try thread.ptrace.seccompFilters() {
            let entry = SeccompFilter.with {
                $0.filter = .init(filter.program)
                if let previous { $0.prev = previous }
                $0.flags = UInt32(truncatingIfNeeded: filter.flags)
            }
            if let known = state.numbers[entry] {
                previous = known
            } else {
                let number = UInt32(state.filters.count)
                state.size += UInt64(filter.program.count) + 32
                guard state.size <= ImageLimits.bytes("seccomp.img") else {
                    throw CheckpointError("the container has more seccomp filters than can be restored")
                }
                state.filters.append(entry)
                state.numbers[entry] = number
                previous = number
            }
        }
        return previous
    }

    /// A thread's filters, oldest first.
    static func chain(_ newest: UInt32?, in all: [SeccompFilter]) throws -> [SeccompFilter] {
        var chain: [SeccompFilter] = []
        var length = 0
        var next = newest
        while let index = next {
            guard Int(index) < all.count, chain.count <= all.count else {
                throw CheckpointError("seccomp.img: filter \(index) is not there, or the filters run in a circle")
            }
            let filter = all[Int(index)]
            // What the kernel takes for one thread: MAX_INSNS_PER_PATH instructions of 8 bytes, 4 of them for each filter.
            length += filter.filter.count + 32
            guard filter.filter.count >= 8, length <= 32_768 * 8 else {
                throw CheckpointError("seccomp.img: filter \(index) is empty, or the filters are too long")
            }
            chain.append(filter)
            next = filter.hasPrev ? filter.prev : nil
        }
        return chain.reversed()
    }

    /// What a restored thread gets, oldest first: the configuration's filter, then those of the program's own.
    static func filters(of core: CoreEntry, in all: [SeccompFilter], configured: SeccompPolicy?) throws
        -> [SeccompFilter]
    {
        let state = core.threadCore
        let isFiltered = state.hasSeccompFilter && state.seccompMode == .filter
        var filters = try chain(isFiltered ? state.seccompFilter : nil, in: all)
        guard let configured else { return filters }
        if filters.first?.filter == .init(configured.program) { filters.removeFirst() }
        let first = SeccompFilter.with {
            $0.filter = .init(configured.program)
            $0.flags = UInt32(truncatingIfNeeded: configured.flags)
        }
        return [first] + filters
    }

    /// Strict mode and filters exclude each other.
    static func plan(_ restore: RestorePlan) throws {
        for plan in restore.first.all {
            for (thread, core) in plan.everyThread where isStrict(core) {
                guard restore.policy.seccomp == nil, !core.threadCore.hasSeccompFilter else {
                    throw CheckpointError(
                        "\(plan): thread \(thread) is in strict seccomp mode, in which no thread can be that has a filter, as "
                            + "config.json gives it or its image")
                }
            }
        }
    }

    static func isStrict(_ core: CoreEntry) -> Bool { core.threadCore.seccompMode == .strict }

    /// What the kernel tells of the thread then: 0 none, 1 strict, 2 filter.
    static func mode(of core: CoreEntry, filters: Int) -> Int { isStrict(core) ? 1 : filters == 0 ? 0 : 2 }

    /// Suspended as filters are: see ``recreate(_:together:in:)``.
    static func recreateStrictMode(in program: inout Program) {
        // SECCOMP_SET_MODE_STRICT
        program.call("seccomp: strict mode", Int(SYS_seccomp), [0, 0, 0])
    }

    /// The engine has filters suspended (PTRACE_O_SUSPEND_SECCOMP), so they bind only from the release on.
    ///
    /// - Parameter together: whether there are other threads already, which get them as well.
    static func recreate(_ filters: [SeccompFilter], together: Bool = false, in program: inout Program) {
        for filter in filters {
            install(Array(filter.filter), flags: UInt64(filter.flags) & 0x6 | (together ? 1 : 0), in: &program)
        }
    }

    private static func install(_ filter: [UInt8], flags: UInt64, in program: inout Program) {
        let code = program.place(filter)
        let count = UInt64(filter.count / MemoryLayout<sock_filter>.size)
        let header = program.place(value: SIMD2<UInt64>(count, code.raw))
        // SECCOMP_SET_MODE_FILTER; of its flags LOG and SPEC_ALLOW outlive the installation. With TSYNC a thread that could
        // not get it would be the result.
        program.call("seccomp", Int(SYS_seccomp), [1, flags, header.raw], expecting: 0)
    }
}

/// The filter that the configuration demands.
package struct SeccompPolicy: Sendable {
    /// An array of struct sock_filter.
    package var program: [UInt8]
    package var flags: UInt64

    package init(program: [UInt8], flags: UInt64) {
        self.program = program
        self.flags = flags
    }

    /// Whether a call with these arguments, and zeros for the others, passes. What the filter is goes by seccomp(2); one of another kind lets nothing pass.
    func allows(call: Int, _ arguments: [UInt64] = []) -> Bool {
        // struct seccomp_data: the number, AUDIT_ARCH_X86_64, instruction pointer and arguments.
        let words = (arguments + [UInt64](repeating: 0, count: 6 - arguments.count)).flatMap {
            [UInt32(truncatingIfNeeded: $0), UInt32($0 >> 32)]
        }
        let data = [UInt32(call), 0xc000_003e, 0, 0] + words
        var (accumulator, next) = (UInt32(0), 0)
        while next >= 0, next * 8 + 8 <= program.count {
            let bytes = program[next * 8..<next * 8 + 8]
            let instruction = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            let (code, operand) = (instruction & 0xffff, UInt32(instruction >> 32))
            func jump(_ isTrue: Bool) -> Int { Int(instruction >> (isTrue ? 16 : 24) & 0xff) }
            next += 1
            switch code {
            case 0x20 where operand % 4 == 0 && operand < 64: accumulator = data[Int(operand / 4)]
            case 0x54: accumulator &= operand
            case 0x05: next += Int(operand)
            case 0x15: next += jump(accumulator == operand)
            case 0x25: next += jump(accumulator > operand)
            case 0x35: next += jump(accumulator >= operand)
            case 0x45: next += jump(accumulator & operand != 0)
            // SECCOMP_RET_ALLOW, SECCOMP_RET_LOG
            case 0x06: return [0x7fff_0000, 0x7ffc_0000].contains(operand & 0xffff_0000)
            default: return false
            }
        }
        return false
    }
}
