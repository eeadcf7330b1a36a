import LinuxSystem
import Logging

@testable import CheckpointEngine
@testable import CheckpointImages
@testable import Tracee

/// A restore up to where it would need a container: everything that images can reach without a task. Programs are built
/// as ``Dressing`` and ``Furnishing`` build them, but never run.
struct Rehearsal {
    private let images: RestoreImages
    private let first: ProcessPlan
    private let area = InjectedArea(base: RemoteAddress(0x1000_0000), lanes: 1, extendedStateSize: 2696)

    init(_ copy: ImageCopy) throws {
        images = try copy.images()
        first = try ProcessPlan.tree(from: images)
    }

    private let policy = RestorePolicy(
        capabilities: .max, noNewPrivileges: false, seccomp: SeccompPolicy(program: [], flags: 0), user: 0,
        groups: [], limits: .most)

    func run() throws {
        var logger = Logger(label: "rehearsal")
        logger.logLevel = .critical
        _ = try Restore(images: images, policy: policy, options: DumpOptions(), logger: logger)
        _ = try? images.clockOffsets()
        for plan in first.all {
            if plan.isZombie { continue }
            for index in plan.cores.indices { dress(plan, index) }
            furnish(plan)
        }
    }

    /// What one ``ProgramRunner/add(_:)`` gets at the worst: 600 calls and one for the end, 128 KiB and some alignment.
    private func add(_ body: (inout Program) throws -> Void) {
        let data = RemoteAddress(0x2000_0000)
        var program = Program(
            Program.Space(table: area.main.table, callLimit: 601, data: data, dataLimit: (128 << 10) + 65))
        try? body(&program)
    }

    private func dress(_ plan: ProcessPlan, _ index: Int) {
        let core = plan.cores[index]
        let state = core.threadCore
        add { try ThreadState.recreate(state, tidAddress: core.threadInfo.clearTidAddr_p, in: &$0) }
        add {
            ProcessAttributes.recreate(plan.task, plan.mm, hugePages: 0, in: &$0)
            try SignalActions.recreate(plan.task.sigactions, in: &$0)
            try ResourceLimits.recreate(plan.task.rlimits, in: &$0)
            PendingSignals.forgetChildren(in: &$0)
        }
        for timers in ProgramRunner.portions(plan.task.timers.posix) { add { PosixTimer.recreate(timers, in: &$0) } }
        add { IntervalTimer.arm(plan.task.timers, in: &$0) }
        for timers in ProgramRunner.portions(plan.task.timers.posix) { add { PosixTimer.arm(timers, in: &$0) } }
        // Filters and credentials come in a program that was empty before.
        var program = Program(area.main)
        let configured = SeccompPolicy(program: [0, 0, 0, 0, 0, 0, 0, 0], flags: 0)
        if let filters = try? Seccomp.filters(of: core, in: images.seccompFilters, configured: configured) {
            Seccomp.recreate(filters, in: &program)
        }
        if !program.fits(calls: 600, bytes: 128 << 10) { program = Program(area.main) }
        if let now = try? ProcessStatus(getpid()) {
            Credentials.recreate(state.creds, now: now, hasGroups: false, in: &program)
        }
        Credentials.recreateNoNewPrivileges(state.creds, in: &program)
        ThreadState.recreateDeathSignal(state, in: &program)
        ProcessAttributes.recreateDumpable(plan.mm, in: &program)
        for (signals, thread) in [(state.signalsP.signals, pid_t(1)), (plan.task.signalsS.signals, nil)]
            as [([SiginfoEntry], pid_t?)]
        {
            for part in ProgramRunner.portions(signals) {
                add { try PendingSignals.recreate(.with { $0.signals = part }, process: 1, thread: thread, in: &$0) }
            }
        }
        _ = try? ExtendedState.area(core.threadInfo.fpregs, template: [UInt8](repeating: 0, count: 2696))
        _ = try? Registers.registers(core.threadInfo.gpregs)
    }

    private func furnish(_ plan: ProcessPlan) {
        for mapping in plan.mm.vmas {
            let id = try? SharedMemoryStore.id(of: mapping, images)
            if let id, let pagemap = try? images.directory.pagemap(.shmemPagemap, id) {
                _ = try? images.directory.pages(of: pagemap)
            }
            add { MemoryMapping.recreate(mapping, descriptor: 3, isFilled: true, in: &$0) }
            add { MemoryMapping.protect(mapping, isFilled: true, hasGuards: true, in: &$0) }
        }
        for pages in ProgramRunner.portions(plan.guards) { add { MemoryMapping.installGuards(pages, in: &$0) } }
        add { ProcessAttributes.recreateLayout(plan.mm, executable: 3, in: &$0) }
        for file in images.files.all {
            for targets in ProgramRunner.portions(file.epfd.tfd) {
                add { EventPoll.register(targets, number: 3, in: &$0) }
            }
        }
        guard let pages = plan.pages, let code = plan.mm.vmas.first(where: { $0.kind.contains(.vdso) }) else {
            return
        }
        _ = try? images.directory.pages(of: pages.pagemap)
        try? KernelCode.check(code, in: images, plan)
    }

    /// Makes every file of the images, in this process's own root and network. Dear: each change of network namespace
    /// waits for the kernel's other processors.
    func makeFiles() throws {
        let plan = RestorePlan(
            images: images, first: first, policy: policy, options: DumpOptions(), states: KindStates())
        for kind in kinds { try? kind.plan(plan) }
        let workshop = try Workshop(plan, in: getpid(), cgroups: [:], streams: [0, 1, 2])
        for file in images.files.all { _ = try? workshop.descriptor(for: file.id) }
    }
}
