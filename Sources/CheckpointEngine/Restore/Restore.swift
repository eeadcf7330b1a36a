import CheckpointImages
import LinuxSystem
import Logging
import Tracee

/// Times of a restore, in microseconds.
package struct RestoreStatistics: Sendable {
    package var forking: UInt64 = 0
    package var total: UInt64 = 0
    package var pagesRestored: UInt64 = 0
}

/// A checkpoint on its way back to life, in a container that was created for it.
///
/// Phases: plan (pure) → stage (the runtime creates the container) → grow → furnish and fill → dress → release. Until the
/// release every task dies with the engine, and the runtime takes the container away after a failure.
package struct Restore {
    private let plan: RestorePlan
    private let images: RestoreImages
    private let first: ProcessPlan
    private let policy: RestorePolicy
    private let logger: Logger

    /// Reads the images and holds them against the configuration. Touches nothing.
    ///
    /// - Parameter options: what may be brought back, besides what the images say.
    package init(images: RestoreImages, policy: RestorePolicy, options: DumpOptions, logger: Logger) throws {
        self.images = images
        var allowed = images.options
        allowed.formUnion(options)
        self.policy = policy
        self.logger = logger
        first = try ProcessPlan.tree(from: images)
        plan = RestorePlan(images: images, first: first, policy: policy, options: allowed, states: KindStates())
        for plan in first.all { try policy.check(plan, images) }
        try Growth.check(first)
        try policy.checkFiles(images, of: first)
        for (id, entries) in images.socketOptions {
            try about("socket \(id)") { try policy.check(entries, of: images.files[id], images.userNamespace) }
        }
        for kind in kinds { try kind.plan(plan) }
        try images.directory.verify()
    }

    /// The id that the container's first process must have in its pid namespace.
    package var firstPid: pid_t { first.pid }

    /// What keeps peers silent until ``release()``, to be closed as soon as the container has a network.
    package var connectionLock: ConnectionLock { plan[TCPConnection.self].lock }

    /// Turns the process that waits in the new container into the dumped tree, which stands still until ``release()``.
    ///
    /// - Parameters:
    ///   - process: the container's first process, as the engine sees it.
    ///   - cgroups: the directories of its cgroups, by controller; that of v2 under the empty name.
    ///   - streams: what the container's standard streams become.
    package func prepare(in process: pid_t, cgroups: [String: String], streams: [CInt]) throws -> RestoreStatistics {
        var statistics = RestoreStatistics()
        let start = microseconds()
        // Of the engine alone: the container's processes have theirs from config.json and the images.
        try ResourceLimit.raiseOwnOpenFiles()
        let news = StopNews()
        defer { withExtendedLifetime(news) {} }
        let confinement = try Confinement(of: process, self.plan)
        let (area, userNamespace) = try build(in: process, cgroups, streams: streams, start: start, &statistics)
        let living = first.all.filter { !$0.isZombie }
        for plan in living {
            try about("\(plan)") {
                try adjustMemoryPressure(plan)
                if let difference = try LoginUser.recreate(plan, policy, userNamespace, area: area) {
                    logger.warning("\(difference)")
                }
                let remarks = try Dressing(plan: plan, images: images, policy: policy, area: area).run()
                for remark in remarks { logger.warning("\(plan): \(remark)") }
            }
        }
        for plan in living { try about("\(plan)") { try confinement.verify(plan) } }
        try confinement.verifyMounts()
        for plan in living {
            try about("\(plan)") {
                let dressing = Dressing(plan: plan, images: images, policy: policy, area: area)
                try dressing.arm(in: self.plan)
                try dressing.release()
            }
        }
        statistics.total = microseconds() - start
        return statistics
    }

    /// Grows the tree, and gives each process its descriptors and memory. What the engine has made is closed at the end.
    private func build(
        in process: pid_t, _ cgroups: [String: String], streams: [CInt], start: UInt64,
        _ statistics: inout RestoreStatistics
    ) throws -> (InjectedArea, UserNamespace) {
        let workshop = try Workshop(plan, in: process, cgroups: cgroups, streams: streams)
        let userNamespace = workshop.userNamespace
        for kind in kinds { try kind.recreate(in: workshop) }
        if !policy.hasTerminal {
            let user = try userNamespace.outside(user: policy.user)
            for stream in streams.prefix(3) {
                try handStream(stream, to: user, sparesReadOnly: userNamespace != .own)
            }
        }
        let root = try Stub.first(process, process: first.pid)
        first.stubs = [root]
        let area = try inject(
            root, spare: max(workshop[SharedMemory.self].largest, SystemVSegment.largest(in: workshop)))

        let living = first.all.filter { !$0.isZombie }
        for plan in living { try about("\(plan)") { try raiseLimits(of: root.hostProcess, for: plan) } }
        for kind in kinds { try kind.surround(first, in: workshop, area: area) }
        var growth = Growth(first, area, images)
        try growth.run()
        for kind in kinds { try kind.furnish(first, in: workshop, area: area) }
        statistics.forking = microseconds() - start
        logger.debug("\(first.all.count) processes grown after \(statistics.forking) us")

        workshop.processes = Dictionary(uniqueKeysWithValues: living.map { ($0.pid, $0) })
        for plan in living {
            try about("\(plan)") {
                // In their order, in which /proc shows them.
                for thread in plan.threads where !plan.threadTables.isEmpty && thread != plan.pid {
                    var furnishing = try Furnishing(plan, thread: thread, images, policy, workshop, area)
                    try about("thread \(thread)") { try furnishing.bear(thread) }
                }
                var furnishing = try Furnishing(plan, images, policy, workshop, area)
                try furnishing.run()
            }
            if plan.completed.contains(.memory) { statistics.pagesRestored += (plan.pages?.byteCount ?? 0) / 4096 }
        }
        for plan in living {
            try about("\(plan)") {
                var runner = ProgramRunner(plan.stubs[0], area)
                for kind in kinds { try kind.connect(plan, in: workshop, by: &runner) }
                try runner.flush()
            }
        }
        for kind in kinds { try kind.settle(first, in: workshop, area: area) }
        return (area, userNamespace)
    }

    /// Lets the restored tree run.
    ///
    /// What can still fail comes before connections, which are not to be had back once their peers have heard of them.
    package func release() throws {
        for kind in kinds.reversed() { try kind.release(plan) }
        for stub in first.all.filter({ !$0.isZombie }).flatMap(\.stubs) { try stub.release() }
    }

    /// Ends everything that ``prepare(in:streams:)`` has made, after a failure. The first process of a pid namespace is
    /// dead only when this tracer has buried all the others.
    package func abandon(_ process: pid_t) {
        kill(process, SIGKILL)
        Ptrace.buryAll()
    }

    /// Puts the agent into the first process, where no dumped mapping will be, and everything else out of it.
    private func inject(_ root: Stub, spare: UInt64) throws -> InjectedArea {
        let state = try root.ptrace.extendedState()
        let probe = InjectedArea(base: RemoteAddress(0), lanes: 1, extendedStateSize: state.count)
        let own = try memoryMap(of: root.tid)
        let taken = (own.map(\.range) + first.all.flatMap { $0.mm.vmas.map { $0.start..<$0.end } })
            .sorted { $0.lowerBound < $1.lowerBound }
        var base: UInt64 = 0x1000_0000
        for range in taken where range.upperBound > base {
            if range.lowerBound >= base + UInt64(probe.size) + spare { break }
            base = range.upperBound
        }
        let area = InjectedArea(base: RemoteAddress(base), lanes: 1, extendedStateSize: state.count)
        guard let code = own.first(where: { $0.name == "[vdso]" }) else {
            throw CheckpointError("this kernel lends no code (vdso) to its processes")
        }
        let instruction = try SystemCallInstruction.find(in: root.tid, code.range)
        // MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE
        let mapped = try root.call(
            Int(SYS_mmap), [base, UInt64(area.size), 7, 0x10_4022, UInt64.max, 0], at: instruction)
        guard mapped == Int(base) else { throw CheckpointError("no room for the agent at \(area.base)") }
        let memory = TaskMemory(root.tid)
        try memory.write(area.base, Agent.code)

        // What our C library registered for this process must go before its memory does, or the kernel writes there.
        var program = Program(area.main)
        let rseq = try root.ptrace.restartableSequence()
        if rseq.rseq_abi_pointer != 0 {
            program.call(
                "rseq", 334, [rseq.rseq_abi_pointer, UInt64(rseq.rseq_abi_size), 1, UInt64(rseq.signature)])
        }
        program.call("set_robust_list", Int(SYS_set_robust_list), [0, 24])
        program.call("set_tid_address", Int(SYS_set_tid_address), [0], tolerated: nil)
        let disabled = program.place(value: SIMD3<UInt64>(0, 2, 0))
        program.call("sigaltstack", Int(SYS_sigaltstack), [disabled.raw, 0])
        let action = program.place(value: SIMD4<UInt64>(0, 0, 0, 0))
        for signal in SignalActions.signals {
            program.call("rt_sigaction \(signal)", Int(SYS_rt_sigaction), [UInt64(signal), action.raw, 0, 8])
        }
        program.call("close_range", Int(CLINUX_SYS_close_range), [0, UInt64(UInt32.max), 0])
        program.call("munmap below the agent", Int(SYS_munmap), [0, base])
        program.call(
            "munmap above the agent", Int(SYS_munmap), [area.end.raw, 0x7fff_ffff_f000 - area.end.raw])
        try root.run(program, agent: area.base)
        return area
    }

    /// All others are born with the limits of the first process, and lower them to their own in the end.
    private func raiseLimits(of root: pid_t, for plan: ProcessPlan) throws {
        guard plan.task.hasRlimits else { return }
        let (limits, lowered) = policy.limits(of: plan)
        try ResourceLimits.raise(limits, of: root)
        if !lowered.isEmpty {
            logger.warning("\(plan): limits lowered to this machine's: \(lowered.joined(separator: ", "))")
        }
    }

    /// Lowering it needs CAP_SYS_RESOURCE, so a container that lowered its own stays where the engine is.
    private func adjustMemoryPressure(_ plan: ProcessPlan) throws {
        guard plan.task.hasOomScoreAdj else { return }
        let path = "/proc/\(plan.stubs[0].hostProcess)/oom_score_adj"
        let now = Int32(try readText(path).split(separator: "\n").first ?? "0")
        if now != plan.task.oomScoreAdj { try writeControl(path, "\(plan.task.oomScoreAdj)") }
    }
}
