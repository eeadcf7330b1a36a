import CheckpointImages
import LinuxSystem
import Tracee

/// Grows the dumped tree from the container's first process: parents, sessions, process groups, zombies, with the ids
/// that they had.
///
/// Sessions are inherited, so the moment of a clone decides:
/// 1. A child in the session that its parent was born in, while the parent leads a new one: cloned before its setsid.
/// 2. A child that leads its own session, or is in its parent's: cloned after it.
/// 3. A child in a session of neither is an orphan that was adopted, a daemon mostly. A helper takes the place of the
///    parent that died: with the pid of the dead session leader (or, where the leader lives, as a child of it), clones
///    the orphan and ends, and the kernel hands the orphan to the same adopter as then.
struct Growth {
    let first: ProcessPlan
    let area: InjectedArea
    private let images: RestoreImages
    private let all: [ProcessPlan]
    private let living: [pid_t: ProcessPlan]
    /// Nobody's, for a helper.
    private let freeID: pid_t?
    private var late: [ProcessPlan] = []

    init(_ first: ProcessPlan, _ area: InjectedArea, _ images: RestoreImages) {
        self.first = first
        self.area = area
        self.images = images
        all = first.all
        living = Dictionary(all.map { ($0.pid, $0) }, uniquingKeysWith: { one, _ in one })
        let usedIDs = first.allIDs
        freeID = (2...32_000).first { !usedIDs.contains($0) }
    }

    /// Fails where the tree has a shape that cannot be grown: an orphan whose adopter the kernel would not choose again.
    static func check(_ first: ProcessPlan) throws {
        let living = Dictionary(first.all.map { ($0.pid, $0) }, uniquingKeysWith: { one, _ in one })
        /// Whom an orphan goes to whose parent was a child of `plan`.
        func adopter(above plan: ProcessPlan) -> ProcessPlan {
            var next: ProcessPlan? = plan
            while let candidate = next, !candidate.task.childSubreaper { next = candidate.parent }
            return next ?? first
        }
        var adopted: [pid_t: ProcessPlan] = [:]
        var births = SharedBirths(first)
        var next = [(plan: first, birthSession: first.session)]
        while let (plan, birthSession) = next.popLast() {
            let session = plan.isSessionLeader ? plan.pid : birthSession
            // As `grow` clones them.
            let moments = Dictionary(grouping: plan.children) { child in
                child.isSessionLeader || child.session == session ? session : child.session
            }
            for (moment, children) in moments {
                let isLate = moment != session && moment != birthSession && living[moment] != nil
                for together in isLate ? children.map({ [$0] }) : [children] {
                    try births.plan(together, of: isLate ? nil : plan)
                }
            }
            for child in plan.children {
                let isEarly = session != birthSession && child.session == birthSession && !child.isSessionLeader
                guard !isEarly, !child.isSessionLeader, child.session != session else {
                    next.append((child, isEarly ? birthSession : session))
                    continue
                }
                next.append((child, child.session))
                let leader = living[child.session]
                guard adopter(above: leader ?? plan) === plan,
                    leader != nil || adopted.updateValue(plan, forKey: child.session) ?? plan === plan
                else {
                    throw CheckpointError(
                        "\(child): an orphan of session \(child.session) that \(plan) has adopted: "
                            + "such a place among the processes cannot be restored yet")
                }
            }
        }
    }

    mutating func run() throws {
        try dropCapabilities()
        let birthSession = try ProcessStatus(first.stubs[0].tid).innerSession
        try grow(first, birthSession: birthSession)
        // Growing one may find others below it.
        while let orphan = late.popLast() { try adoptFromLivingSession(orphan) }
        try makeGroups()
        try verify()
        try endZombies()
    }

    /// What no thread has in its bounding set the first process drops before all others are born: each would have to, one
    /// by one. Nothing that follows needs them in there; who inherits more than that takes it while they are.
    private func dropCapabilities() throws {
        let all = all.flatMap(\.credentials)
        let inheritable = all.contains { Credentials.set($0.capInh) & ~Credentials.set($0.capBnd) != 0 }
        guard !inheritable else { return }
        let kept = all.reduce(UInt64(0)) { $0 | Credentials.set($1.capBnd) }
        let bounding = try ProcessStatus(first.stubs[0].tid).capabilities("Bnd")
        try run(first.stubs[0]) { Credentials.dropBounding(bounding & ~kept, in: &$0) }
    }

    private mutating func grow(_ plan: ProcessPlan, birthSession: pid_t) throws {
        let stub = plan.stubs[0]
        let leads = plan.isSessionLeader && birthSession != plan.pid
        var rest = plan.children
        func take(_ belongs: (ProcessPlan) -> Bool) -> [ProcessPlan] {
            defer { rest.removeAll(where: belongs) }
            return rest.filter(belongs)
        }
        if plan.task.childSubreaper {
            try run(stub) { $0.call("prctl PR_SET_CHILD_SUBREAPER", Int(SYS_prctl), [36, 1, 0, 0, 0]) }
        }
        try shareMemory(of: plan)
        let early = leads ? take { !$0.isSessionLeader && $0.session == birthSession } : []
        try clone(early, from: stub, of: plan)
        if leads { try run(stub) { $0.call("setsid", Int(SYS_setsid)) } }
        let session = plan.isSessionLeader ? plan.pid : birthSession
        let natural = take { $0.isSessionLeader || $0.session == session }
        try clone(natural, from: stub, of: plan)
        for child in early { try grow(child, birthSession: birthSession) }
        for child in natural { try grow(child, birthSession: session) }

        late += rest.filter { living[$0.session] != nil }
        let orphans = Dictionary(grouping: rest.filter { living[$0.session] == nil }, by: \.session)
        for (dead, members) in orphans.sorted(by: { $0.key < $1.key }) {
            try about("session \(dead) of a leader that has ended") {
                let shared = members.reduce(into: Set<SharedObject>()) { $0.formUnion($1.source == nil ? $1.born : []) }
                try withHelper(dead, of: stub, sharing: shared) { helper in
                    try run(helper) { $0.call("setsid", Int(SYS_setsid)) }
                    try clone(members, from: helper, of: plan)
                }
            }
            for member in members { try grow(member, birthSession: dead) }
        }
    }

    private mutating func adoptFromLivingSession(_ orphan: ProcessPlan) throws {
        guard let leader = living[orphan.session], let stub = leader.stubs.first else {
            throw CheckpointError("\(orphan): its session \(orphan.session) cannot be made")
        }
        guard let freeID else { throw CheckpointError("no process id is free for a helper") }
        try withHelper(freeID, of: stub) { helper in try clone([orphan], from: helper, of: leader) }
        try grow(orphan, birthSession: orphan.session)
    }

    /// A process that is only there to be somebody's parent, session or group leader for a moment.
    private func withHelper(
        _ pid: pid_t, of stub: Stub, sharing shared: Set<SharedObject> = [], code: UInt32 = 0,
        _ body: (Stub) throws -> Void
    ) throws {
        let born = try clone([(pid, shared, false)], from: stub)
        let pid = pid != 0 ? pid : try ProcessStatus(born[0]).innerPid
        let helper = try stub.child(born[0], process: pid)
        try body(helper)
        try end(helper, code: code)
        try run(stub) {
            $0.call("wait4 for helper \(pid)", Int(SYS_wait4), [UInt64(pid), 0, 0, 0])
            PendingSignals.forgetChildren(in: &$0)
        }
    }

    /// A process of the container that ends as it is told, and is nobody's any more.
    func withEndedProcess(code: UInt32, _ body: (pid_t) throws -> Void) throws {
        try withHelper(0, of: first.stubs[0], code: code) { try body($0.hostProcess) }
    }

    /// - Parameter parent: whose memory the stub has.
    private func clone(_ plans: [ProcessPlan], from stub: Stub, of parent: ProcessPlan) throws {
        let (own, brothers) = (plans.filter { $0.source == nil }, plans.filter { $0.source != nil })
        if !own.isEmpty {
            let born = try clone(own.map { ($0.pid, $0.born, false) }, from: stub)
            for (plan, child) in zip(own, born) { plan.stubs = [try stub.child(child, process: plan.pid)] }
        }
        for plan in brothers {
            guard let stub = plan.source?.stubs.first else { continue }
            let born = try clone([(plan.pid, plan.born, true)], from: stub)
            plan.stubs = [try stub.child(born[0], process: plan.pid)]
        }
        for plan in plans { plan.memory.inherit(from: parent.memory) }
    }

    private func shareMemory(of plan: ProcessPlan) throws {
        let children = plan.children.filter { !$0.isZombie }
        // What several processes have is filled once, when all of them are there.
        guard !children.isEmpty, !plan.shares(.memory) else { return }
        var runner = ProgramRunner(plan.stubs[0], area)
        try about("\(plan)") {
            try plan.memory.share(with: children.map(\.memory), in: images, by: &runner)
        }
    }

    private func clone(
        _ processes: [(pid: pid_t, shared: Set<SharedObject>, isBrother: Bool)], from stub: Stub
    ) throws -> [pid_t] {
        var born: [pid_t] = []
        // As many at once as a program has room for.
        for batch in stride(from: 0, to: processes.count, by: 1000) {
            var program = Program(area.main)
            for process in processes[batch..<min(batch + 1000, processes.count)] {
                TaskCreation.clone(
                    process.pid, sharing: process.shared, asBrother: process.isBrother, in: &program)
            }
            do { born += try stub.run(program, agent: area.base).born } catch {
                throw Self.explained(error)
            }
        }
        guard born.count == processes.count else {
            throw CheckpointError("\(born.count) of \(processes.count) children were born")
        }
        return born
    }

    private static func explained(_ error: TraceeError) -> any Error {
        guard case .refused(_, let call, let errno) = error, errno == .fileExists else { return error }
        let what = "a process or thread with this id is in the container's pid namespace already"
        return CheckpointError("\(call): \(what); end it, or let config.json make a pid namespace")
    }

    private func run(_ stub: Stub, _ body: (inout Program) throws -> Void) throws {
        var program = Program(area.main)
        try body(&program)
        try stub.run(program, agent: area.base)
    }

    /// Groups led by a living process first, then their members; a group whose leader is dead gets one for a moment.
    private func makeGroups() throws {
        for plan in all where plan.group == plan.pid && !plan.isSessionLeader {
            try run(plan.stubs[0]) { $0.call("setpgid", Int(SYS_setpgid), [0, 0]) }
        }
        let groups = try all.map { try ProcessStatus(thread: $0.stubs[0].tid, of: $0.stubs[0].tid).innerGroup }
        var members: [pid_t: Int] = [:]
        for group in groups { members[group, default: 0] += 1 }
        for (plan, before) in zip(all, groups) where plan.group != plan.pid && before != plan.group {
            let stub = plan.stubs[0]
            let join: (inout Program) -> Void = {
                $0.call("setpgid to \(plan.group)", Int(SYS_setpgid), [0, UInt64(plan.group)])
            }
            if living[plan.group] != nil || members[plan.group, default: 0] > 0 {
                try run(stub, join)
            } else {
                try about("process group \(plan.group) of a leader that has ended") {
                    try withHelper(plan.group, of: stub) { helper in
                        try run(helper) { $0.call("setpgid", Int(SYS_setpgid), [0, 0]) }
                        try run(stub, join)
                    }
                }
            }
            members[before, default: 0] -= 1
            members[plan.group, default: 0] += 1
        }
    }

    /// The tree must be what was dumped, before anything else is built on it.
    private func verify() throws {
        for plan in all {
            let status = try ProcessStatus(plan.stubs[0].tid)
            let parent = try pid_t(truncatingIfNeeded: status.stat(4))
            guard status.innerPid == plan.pid, status.innerSession == plan.session, status.innerGroup == plan.group,
                plan.parent == nil || parent == plan.parent?.stubs[0].tid
            else {
                throw CheckpointError(
                    "\(plan): its place in the tree (parent \(plan.parentPid), session \(plan.session), group "
                        + "\(plan.group)) cannot be rebuilt; got session \(status.innerSession), group \(status.innerGroup)"
                )
            }
        }
    }

    private func endZombies() throws {
        for plan in all where plan.isZombie {
            let name = plan.task.comm
            try run(plan.stubs[0]) {
                let address = $0.place(path: name)
                $0.call("prctl PR_SET_NAME", Int(SYS_prctl), [15, address.raw, 0, 0, 0])
            }
            try end(plan.stubs[0], code: plan.task.exitCode)
        }
    }

    /// - Parameter code: as wait(2) tells it: a signal in the low seven bits, or an exit code in the next eight.
    private func end(_ stub: Stub, code: UInt32) throws {
        var program = Program(area.main)
        let signal = code & 0x7f
        let none = program.place(value: SIMD2<UInt64>(0, 0))
        program.call("prlimit core", Int(SYS_prlimit64), [0, 4, none.raw, 0])
        if signal == 0 {
            program.call("exit_group", Int(SYS_exit_group), [UInt64(code >> 8 & 0xff)])
        } else {
            program.call("kill", Int(SYS_kill), [UInt64(stub.process), UInt64(signal)])
        }
        try stub.end(program, signal: CInt(signal), agent: area.base)
    }
}

/// clone3(2) in a stub, with the id that the new task must have; any for 0.
enum TaskCreation {
    /// - Parameter sharesDescriptors: whether it has the same table; else it gets a copy.
    static func cloneThread(_ id: pid_t, sharesDescriptors: Bool = true, in program: inout Program) {
        var arguments = clinux_clone_args()
        // CLONE_VM | FS | SIGHAND | THREAD | SYSVSEM, and FILES
        arguments.flags = 0x100 | 0x200 | 0x800 | 0x1_0000 | 0x4_0000 | (sharesDescriptors ? 0x400 : 0)
        clone(id, arguments, in: &program)
    }

    /// - Parameter asBrother: whether it becomes a child of the stub's parent.
    static func clone(
        _ id: pid_t, sharing shared: Set<SharedObject>, asBrother: Bool = false, in program: inout Program
    ) {
        var arguments = clinux_clone_args()
        arguments.flags = shared.reduce(0) { $0 | $1.flag }
        if asBrother {
            // CLONE_PARENT; its end is told by the signal that tells the stub's.
            arguments.flags |= 0x8000
        } else {
            arguments.exit_signal = UInt64(SIGCHLD)
        }
        clone(id, arguments, in: &program)
    }

    private static func clone(_ id: pid_t, _ arguments: clinux_clone_args, in program: inout Program) {
        let wanted = program.place(value: id)
        var arguments = arguments
        if id != 0 {
            arguments.set_tid = wanted.raw
            arguments.set_tid_size = 1
        }
        let address = program.place(value: arguments)
        program.call(
            "clone3 with id \(id)", Int(CLINUX_SYS_clone3),
            [address.raw, UInt64(MemoryLayout<clinux_clone_args>.size)])
    }
}
