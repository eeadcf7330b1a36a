import CheckpointImages
import LinuxSystem
import Tracee

/// Gives a furnished process its threads, and every thread what it is allowed and what it was waiting for, in the order
/// that the kernel's permission checks demand: raise first, lower last.
struct Dressing {
    let plan: ProcessPlan
    let images: RestoreImages
    let policy: RestorePolicy
    let area: InjectedArea

    /// - Returns: what could not be done, because this machine is another.
    func run() throws -> [String] {
        var remarks: [String] = []
        let common = try commonFilters()
        var runner = ProgramRunner(plan.stubs[0], area)
        // Nobody looks up a name for this process any more.
        if let root = plan.root, plan.completed.contains(.directory) {
            try runner.add {
                let path = $0.place(path: root)
                $0.call("chroot to \(root)", Int(SYS_chroot), [path.raw])
            }
        }
        try runner.add {
            // While there is one thread: with more the kernel waits for all processors.
            ProcessAttributes.recreateBarriers(plan.task, in: &$0)
            Seccomp.recreate(common, together: !plan.early.isEmpty, in: &$0)
        }
        try runner.flush()
        try cloneThreads()
        try SignalOwner.connectThreads(plan, images, by: &runner)
        try runner.flush()
        if let ended = plan.endedLeader {
            // Before its children are told of a parent's death.
            let leader = plan.stubs.removeFirst()
            try about("thread \(plan.pid)") {
                try dress(leader, as: ended, inherited: common.count)
                try EndedLeader.recreate(leader, code: plan.task.exitCode, area: area)
            }
        }
        // Threads before their leader: what belongs to the process as a whole is set last, by the leader.
        for index in plan.threads.indices.reversed() {
            try about("thread \(plan.threads[index])") {
                try dress(plan.stubs[index], as: plan.cores[index], inherited: common.count, isLast: index == 0)
                let tunables = images.tunables(of: plan.threads[index])
                let remark = try tunables.apply(to: plan.stubs[index].tid, of: plan.stubs[0].tid)
                if let remark { remarks.append("thread \(plan.threads[index]): \(remark)") }
            }
        }
        return remarks
    }

    private func cloneThreads() throws {
        let leader = plan.stubs[0]
        let others = plan.threads.filter { $0 != plan.pid && plan.early[$0] == nil }
        var stubs = plan.early
        var runner = ProgramRunner(leader, area)
        for ids in ProgramRunner.portions(others) {
            try runner.add { program in for id in ids { TaskCreation.cloneThread(id, in: &program) } }
            let born = try runner.flush().born
            guard born.count == ids.count else {
                throw CheckpointError("\(born.count) of \(ids.count) threads were born")
            }
            for (id, task) in zip(ids, born) { stubs[id] = try leader.sibling(task, thread: id) }
        }
        plan.stubs += plan.threads.compactMap { stubs[$0] }
    }

    /// The filters that every thread has, oldest first. Its first one installs them before there are others, which makes
    /// them one family to the kernel: SECCOMP_FILTER_FLAG_TSYNC reaches all of them, now as then.
    private func commonFilters() throws -> [SeccompFilter] {
        let all = try plan.cores.map {
            try Seccomp.filters(of: $0, in: images.seccompFilters, configured: policy.seccomp)
        }
        guard let first = all.first else { return [] }
        let count = all.dropFirst().reduce(first.count) { count, other in
            zip(first, other).prefix(count).prefix { $0 == $1 }.count
        }
        return Array(first.prefix(count))
    }

    /// - Parameter isLast: whether the thread sets what belongs to the process as a whole.
    private func dress(_ stub: Stub, as core: CoreEntry, inherited: Int, isLast: Bool = false) throws {
        let state = core.threadCore
        var runner = ProgramRunner(stub, area)
        try runner.add { try ThreadState.recreate(named(state), tidAddress: core.threadInfo.clearTidAddr_p, in: &$0) }
        let tunables = images.tunables(of: stub.thread)
        try runner.add { tunables.recreate(in: &$0) }
        try tunables.recreatePlaces(by: &runner)
        try ThreadState.recreateScheduling(state, of: stub.tid)
        if isLast {
            try runner.add {
                ProcessAttributes.recreate(plan.task, plan.mm, hugePages: tunables.hugePages, in: &$0)
                try SignalActions.recreate(plan.task.sigactions, in: &$0)
                if plan.task.hasRlimits { try ResourceLimits.recreate(policy.limits(of: plan).limits, in: &$0) }
                PendingSignals.forgetChildren(in: &$0)
            }
            for timers in ProgramRunner.portions(plan.task.timers.posix) {
                try runner.add { PosixTimer.recreate(timers, in: &$0) }
            }
        }
        let filters = try Seccomp.filters(
            of: core, in: images.seccompFilters, configured: policy.seccomp)
        try runner.add {
            Seccomp.recreate(Array(filters.dropFirst(inherited)), in: &$0)
            if Seccomp.isStrict(core) { Seccomp.recreateStrictMode(in: &$0) }
        }
        let credentials = policy.credentials(of: core)
        let profile = try AppArmorProfile.entered(by: credentials, images, policy)
        let task = "/proc/\(stub.hostProcess)/task/\(stub.tid)"
        let status = try ProcessStatus(thread: stub.tid, of: stub.hostProcess)
        let groups = try credentials.groups.map { try images.userNamespace.outside(group: $0) }
        let hasGroups = groups == status.supplementaryGroups
        try runner.add {
            Credentials.recreate(credentials, now: status, hasGroups: hasGroups, in: &$0)
            if let profile {
                AppArmorProfile.recreate(
                    profile, from: policy.profile, descriptor: plan.freeDescriptor(of: stub.thread), in: &$0)
            }
            Credentials.recreateNoNewPrivileges(credentials, in: &$0)
            if let own = plan.threadDirectories[stub.thread] {
                ThreadDirectory.recreate(
                    own.path, umask: own.umask, descriptor: plan.freeDescriptor(of: stub.thread), in: &$0)
            }
            ThreadState.recreateDeathSignal(state, in: &$0)
            if isLast { ProcessAttributes.recreateDumpable(plan.mm, in: &$0) }
        }
        for signals in ProgramRunner.portions(state.signalsP.signals) {
            try runner.add {
                try PendingSignals.recreate(
                    .with { $0.signals = signals }, process: plan.pid, thread: stub.thread, in: &$0)
            }
        }
        for signals in isLast ? ProgramRunner.portions(plan.task.signalsS.signals) : [] {
            try runner.add {
                // By its own number: of nobody else a thread may say what only the kernel does.
                try PendingSignals.recreate(.with { $0.signals = signals }, process: stub.thread, thread: nil, in: &$0)
            }
        }
        try runner.flush()
        if let profile { try AppArmorProfile.verify(profile, of: task) }
    }

    /// The first thread's name may be in its process's entry only.
    private func named(_ state: ThreadCoreEntry) -> ThreadCoreEntry {
        var state = state
        if !state.hasComm { state.comm = plan.task.comm }
        return state
    }

    /// Lets timers run, when nothing that they do can matter any more: the rights are gone, and were looked at.
    func arm(in restore: RestorePlan) throws {
        var runner = ProgramRunner(plan.stubs[0], area)
        for kind in kinds { try kind.arm(plan, in: restore, by: &runner) }
        if plan.task.hasTimers { try runner.add { IntervalTimer.arm(plan.task.timers, in: &$0) } }
        for timers in ProgramRunner.portions(plan.task.timers.posix) {
            try runner.add { PosixTimer.arm(timers, in: &$0) }
        }
        try runner.flush()
    }

    /// Takes the agent out, if nobody else who has this memory needs it, and puts the dumped registers in. After this only
    /// ``Stub``'s tracer holds the tasks.
    func release() throws {
        let leader = plan.stubs[0]
        if plan.completed.contains(.memory) {
            let gone = try leader.call(
                Int(SYS_munmap), [area.base.raw, UInt64(area.size)], at: area.base + Agent.systemCallInstruction)
            guard gone == 0 else {
                throw CheckpointError("the agent's memory cannot be unmapped: \(Errno(rawValue: CInt(-gone)))")
            }
        }
        for (stub, core) in zip(plan.stubs, plan.cores) {
            let template = try stub.ptrace.extendedState()
            try stub.ptrace.setExtendedState(try ExtendedState.area(core.threadInfo.fpregs, template: template))
            try stub.ptrace.setRegisters(try Registers.registers(core.threadInfo.gpregs))
            let mask = core.threadCore.hasBlkSigset ? core.threadCore.blkSigset : plan.task.blkSigset
            try stub.ptrace.setSignalMask(mask)
        }
        if plan.stubs.contains(where: \.isToStop) {
            LinuxSystem.kill(leader.hostProcess, SIGSTOP)
        } else if plan.isStopped {
            LinuxSystem.kill(leader.hostProcess, plan.stopSignal)
        }
    }
}
