import CheckpointImages
import LinuxSystem
import Tracee

/// What belongs to a process as a whole and is one value each.
enum ProcessAttributes: ProcessKind {
    private struct Question {
        let programBreak: Program.Reference
        let dumpable: Program.Reference
        let hugePagesOff: Program.Reference
        let reaper: RemoteAddress
        let registrations: Program.Reference
        /// As ``barriers``, where the kernel does not tell registrations.
        let made: [Program.Reference?]
        let isFlusher: Program.Reference
    }

    /// membarrier(2): the commands that register a process for one kind of barrier each, and those that make such a barrier,
    /// which fail where the registration is not there. MEMBARRIER_CMD_GLOBAL_EXPEDITED never does.
    private static let barriers: [(registration: UInt32, barrier: UInt64?)] = [
        (0x4, nil), (0x10, 0x8), (0x40, 0x20), (0x100, 0x80),
    ]

    private static let tellsRegistrations =
        KernelFeature.all.first { $0.name == "membarrier_registrations" }?.isThere ?? false

    static func ask(_ process: CapturedProcess, in program: inout Program, of dump: Dump) -> ProcessAnswer? {
        let reaper = program.reserve(8)
        program.call("prctl PR_GET_CHILD_SUBREAPER", Int(SYS_prctl), [37, reaper.raw, 0, 0, 0])
        let question = Question(
            programBreak: program.call("brk", Int(SYS_brk), [0]),
            dumpable: program.call("prctl PR_GET_DUMPABLE", Int(SYS_prctl), [3, 0, 0, 0, 0]),
            hugePagesOff: program.call("prctl PR_GET_THP_DISABLE", Int(SYS_prctl), [42, 0, 0, 0, 0]),
            reaper: reaper,
            // MEMBARRIER_CMD_GET_REGISTRATIONS, Linux 6.3.
            registrations: program.call(
                "membarrier", Int(SYS_membarrier), [0x200, 0, 0], tolerated: [EINVAL, ENOSYS]),
            made: tellsRegistrations
                ? []
                : barriers.map { _, barrier in
                    barrier.map { program.call("membarrier \($0)", Int(SYS_membarrier), [$0, 0, 0], tolerated: nil) }
                },
            // Told only to who may set it (CAP_SYS_RESOURCE).
            isFlusher: program.call(
                "prctl PR_GET_IO_FLUSHER", Int(SYS_prctl), [58, 0, 0, 0, 0], tolerated: [EPERM, EINVAL]))
        return { results, images in
            guard results[question.isFlusher] <= 0 else {
                throw CheckpointError(
                    "it writes for others that wait for memory (PR_SET_IO_FLUSHER); this cannot be checkpointed yet")
            }
            try capture(question, results, process, into: &images.task)
            try captureLayout(question, results, process, into: &images.mm)
        }
    }

    private static func capture(
        _ question: Question, _ results: Program.Results, _ process: CapturedProcess, into entry: inout TaskCoreEntry
    ) throws {
        entry.personality =
            UInt32(try readText("/proc/\(process.task)/personality").split(separator: "\n").first ?? "0", radix: 16)
            ?? 0
        entry.oomScoreAdj =
            Int32(try readText("/proc/\(process.task)/oom_score_adj").split(separator: "\n").first ?? "0") ?? 0
        entry.membarrierRegistrationMask = registrations(question, results)
        entry.childSubreaper = (results.value(question.reaper, as: Int32.self) ?? 0) != 0
    }

    /// Before Linux 6.3, which does not tell, the one that no barrier asks for counts as there: with it the barriers of others
    /// reach the process, too.
    private static func registrations(_ question: Question, _ results: Program.Results) -> UInt32 {
        let told = results[question.registrations]
        guard told == -Int(EINVAL) else { return UInt32(max(0, told)) }
        return zip(barriers, question.made).reduce(0) { mask, kind in
            kind.1.map { results[$0] == 0 } ?? true ? mask | kind.0.registration : mask
        }
    }

    /// The layout of the address space. proc_pid_stat(5) tells most of it.
    private static func captureLayout(
        _ question: Question, _ results: Program.Results, _ process: CapturedProcess, into mm: inout MmEntry
    ) throws {
        let status = process.status
        let auxv = try readFile("/proc/\(process.task)/auxv")
        let words = auxv.withUnsafeBytes { raw in
            stride(from: 0, to: raw.count & ~7, by: 8).map { raw.loadUnaligned(fromByteOffset: $0, as: UInt64.self) }
        }
        mm.mmStartCode = try status.stat(26)
        mm.mmEndCode = try status.stat(27)
        mm.mmStartStack = try status.stat(28)
        mm.mmStartData = try status.stat(45)
        mm.mmEndData = try status.stat(46)
        mm.mmStartBrk = try status.stat(47)
        mm.mmBrk = UInt64(bitPattern: Int64(results[question.programBreak]))
        mm.mmArgStart = try status.stat(48)
        mm.mmArgEnd = try status.stat(49)
        mm.mmEnvStart = try status.stat(50)
        mm.mmEnvEnd = try status.stat(51)
        mm.mmSavedAuxv = words
        mm.dumpable = Int32(truncatingIfNeeded: results[question.dumpable])
        mm.thpDisabled = results[question.hugePagesOff] > 0
    }

    /// PR_SET_MM_MAP, prctl(2): needs CAP_CHECKPOINT_RESTORE, and that nothing of the old executable is mapped.
    static func recreateLayout(_ mm: MmEntry, executable: CInt, in program: inout Program) {
        let auxv = program.place(mm.mmSavedAuxv.flatMap { word in withUnsafeBytes(of: word) { Array($0) } })
        var map = clinux_prctl_mm_map()
        map.start_code = mm.mmStartCode
        map.end_code = mm.mmEndCode
        map.start_data = mm.mmStartData
        map.end_data = mm.mmEndData
        map.start_brk = mm.mmStartBrk
        map.brk = mm.mmBrk
        map.start_stack = mm.mmStartStack
        map.arg_start = mm.mmArgStart
        map.arg_end = mm.mmArgEnd
        map.env_start = mm.mmEnvStart
        map.env_end = mm.mmEnvEnd
        map.auxv = auxv.raw
        map.auxv_size = UInt32(mm.mmSavedAuxv.count * 8)
        map.exe_fd = UInt32(bitPattern: executable)
        let address = program.place(value: map)
        program.call(
            "prctl PR_SET_MM_MAP", Int(SYS_prctl),
            [35, 14, address.raw, UInt64(MemoryLayout<clinux_prctl_mm_map>.size), 0])
    }

    /// - Parameter hugePages: which of them are not off, where others are (``Tunables``).
    static func recreate(_ core: TaskCoreEntry, _ mm: MmEntry, hugePages: Int, in program: inout Program) {
        if core.personality != 0 {
            program.call("personality", Int(SYS_personality), [UInt64(core.personality)])
        }
        if core.childSubreaper {
            program.call("prctl PR_SET_CHILD_SUBREAPER", Int(SYS_prctl), [36, 1, 0, 0, 0])
        }
        if mm.thpDisabled {
            program.call("prctl PR_SET_THP_DISABLE", Int(SYS_prctl), [41, 1, UInt64(hugePages), 0, 0])
        }
    }

    static func recreateBarriers(_ core: TaskCoreEntry, in program: inout Program) {
        for (command, _) in barriers where core.membarrierRegistrationMask & command != 0 {
            program.call("membarrier \(command)", Int(SYS_membarrier), [UInt64(command), 0, 0])
        }
    }

    /// A change of credentials resets it, so it comes after them. 2 (root only) is what such a change has left already.
    static func recreateDumpable(_ mm: MmEntry, in program: inout Program) {
        guard mm.hasDumpable, (0..<2).contains(mm.dumpable) else { return }
        program.call("prctl PR_SET_DUMPABLE", Int(SYS_prctl), [4, UInt64(mm.dumpable), 0, 0, 0])
    }
}
