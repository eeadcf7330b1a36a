import CheckpointImages
import LinuxSystem
import Tracee

/// What the kernel keeps for each thread beside registers, credentials and filters: name, alternate signal stack, robust
/// list, the address to clear at its end, its restartable sequence, scheduling, and the signal for its parent's death.
enum ThreadState: ProcessKind {
    private struct Question {
        let alternateStack: RemoteAddress
        let tidAddress: RemoteAddress
        let deathSignal: RemoteAddress
        let robustHead: RemoteAddress
        let robustLength: RemoteAddress
        let secureBits: Program.Reference
    }

    static func askThread(_ thread: CapturedThread, in program: inout Program, of dump: Dump) -> ThreadAnswer? {
        let stack = program.reserve(24)
        let tidAddress = program.reserve(8)
        let deathSignal = program.reserve(8)
        let head = program.reserve(8)
        let length = program.reserve(8)
        program.call("sigaltstack", Int(SYS_sigaltstack), [0, stack.raw])
        program.call("prctl PR_GET_TID_ADDRESS", Int(SYS_prctl), [40, tidAddress.raw, 0, 0, 0])
        program.call("prctl PR_GET_PDEATHSIG", Int(SYS_prctl), [2, deathSignal.raw, 0, 0, 0])
        program.call("get_robust_list", Int(SYS_get_robust_list), [0, head.raw, length.raw])
        let secureBits = program.call("prctl PR_GET_SECUREBITS", Int(SYS_prctl), [27, 0, 0, 0, 0])
        let question = Question(
            alternateStack: stack, tidAddress: tidAddress, deathSignal: deathSignal, robustHead: head,
            robustLength: length, secureBits: secureBits)
        return { results, core in
            try capture(question, results, thread, into: &core, in: dump.userNamespace)
        }
    }

    /// Before the first one is asked: the calls of an agent would be dispatched, too, and be answered with nonsense.
    static func gather(_ dump: Dump) throws {
        for process in dump.processes {
            for thread in process.threads where thread.ptrace.hasSyscallUserDispatch() {
                throw CheckpointError(
                    "\(process): thread \(process.innerThreads[process.threadNumbers[thread.tid] ?? 0]) has its system calls "
                        + "dispatched to itself (PR_SET_SYSCALL_USER_DISPATCH); this cannot be checkpointed yet")
            }
        }
    }

    private static func capture(
        _ question: Question, _ results: Program.Results, _ captured: CapturedThread, into core: inout CoreEntry,
        in userNamespace: UserNamespace
    ) throws {
        let thread = captured.traced
        guard let stack = results.value(question.alternateStack, as: SIMD3<UInt64>.self),
            let tidAddress = results.value(question.tidAddress, as: UInt64.self),
            let deathSignal = results.value(question.deathSignal, as: UInt32.self),
            let head = results.value(question.robustHead, as: UInt64.self),
            let length = results.value(question.robustLength, as: UInt64.self)
        else { throw CheckpointError("the agent's answer is too short") }
        let path = captured.path
        var state = try scheduling(of: thread.tid)
        state.futexRla = head
        state.futexRlaLen = UInt32(truncatingIfNeeded: length)
        state.blkSigset = thread.signalMask
        state.sas = .with {
            $0.ssSp = stack[0]
            $0.ssFlags = UInt32(truncatingIfNeeded: stack[1])
            $0.ssSize = stack[2]
        }
        state.pdeathSig = deathSignal
        state.creds = try Credentials.capture(
            captured.status, secureBits: results[question.secureBits], in: userNamespace)
        if let profile = try AppArmorProfile.of(path) { state.creds.lsmProfile = profile }
        state.comm = try commandName(at: path)
        if thread.rseq.rseq_abi_pointer != 0 {
            state.rseqEntry = .with {
                $0.rseqAbiPointer = thread.rseq.rseq_abi_pointer
                $0.rseqAbiSize = thread.rseq.rseq_abi_size
                $0.signature = thread.rseq.signature
            }
        }
        core.threadInfo.clearTidAddr_p = tidAddress
        core.threadCore = state
    }

    static func scheduling(of task: pid_t) throws -> ThreadCoreEntry {
        let policy = try systemCall("sched_getscheduler", Int(SYS_sched_getscheduler), Int(task))
        // SCHED_RESET_ON_FORK may be set. Deadline scheduling has parameters that the format has no fields for: it is in
        // ``Tunables``.
        let isDeadline = policy & 0xff == Int(SchedulingAttributes.deadlinePolicy)
        var priority: CInt = 0
        try withUnsafeMutablePointer(to: &priority) {
            _ = try systemCall("sched_getparam", Int(SYS_sched_getparam), Int(task), Int(bitPattern: $0))
        }
        let nice = 20 - (try systemCall("getpriority", Int(SYS_getpriority), 0, Int(task)))
        return ThreadCoreEntry.with {
            $0.schedNice = Int32(nice)
            $0.schedPolicy = isDeadline ? 0 : UInt32(policy)
            $0.schedPrio = UInt32(priority)
        }
    }

    static func recreate(_ entry: ThreadCoreEntry, tidAddress: UInt64, in program: inout Program) throws {
        program.call(
            "set_robust_list", Int(SYS_set_robust_list),
            [entry.futexRla, UInt64(entry.futexRlaLen == 0 ? 24 : entry.futexRlaLen)])
        program.call("set_tid_address", Int(SYS_set_tid_address), [tidAddress], tolerated: nil)
        if entry.hasSas, entry.sas.ssFlags & 2 == 0 {
            // SS_ONSTACK is a state and not a setting; SS_AUTODISARM is a setting.
            let flags = UInt64(entry.sas.ssFlags) & 0x8000_0000
            let stack = program.place(value: SIMD3<UInt64>(entry.sas.ssSp, flags, entry.sas.ssSize))
            program.call("sigaltstack", Int(SYS_sigaltstack), [stack.raw, 0])
        }
        if entry.hasRseqEntry, entry.rseqEntry.rseqAbiPointer != 0 {
            let rseq = entry.rseqEntry
            program.call(
                "rseq", 334, [rseq.rseqAbiPointer, UInt64(rseq.rseqAbiSize), 0, UInt64(rseq.signature)])
        }
        if entry.hasComm {
            let name = program.place(path: entry.comm)
            program.call("prctl PR_SET_NAME", Int(SYS_prctl), [15, name.raw, 0, 0, 0])
        }
    }

    /// By the engine: in a user namespace a thread may not become more urgent, whatever its capabilities.
    static func recreateScheduling(_ entry: ThreadCoreEntry, of task: pid_t) throws {
        if entry.schedPolicy != 0 {
            var priority = Int32(bitPattern: entry.schedPrio)
            try withUnsafeMutablePointer(to: &priority) {
                _ = try systemCall(
                    "sched_setscheduler", Int(SYS_sched_setscheduler), Int(task), Int(entry.schedPolicy),
                    Int(bitPattern: $0))
            }
        }
        if entry.schedNice != 0 {
            _ = try systemCall("setpriority", Int(SYS_setpriority), 0, Int(task), Int(entry.schedNice))
        }
    }

    /// A change of credentials clears it, so it comes after them. The first process has one until here.
    static func recreateDeathSignal(_ entry: ThreadCoreEntry, in program: inout Program) {
        program.call("prctl PR_SET_PDEATHSIG", Int(SYS_prctl), [1, UInt64(entry.pdeathSig), 0, 0, 0])
    }
}
