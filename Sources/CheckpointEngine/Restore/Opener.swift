import CheckpointImages
import LinuxSystem
import Tracee

/// By whose rights a task looks up paths: ids and effective capabilities, as the container sees them.
struct Identity: Hashable {
    var users: [UInt32]
    var groups: [UInt32]
    var supplementary: [UInt32]
    var capabilities: UInt64

    /// What a thread was at the checkpoint.
    init(_ credentials: CredsEntry) {
        users = [credentials.uid, credentials.euid, credentials.suid, credentials.fsuid]
        groups = [credentials.gid, credentials.egid, credentials.sgid, credentials.fsgid]
        supplementary = credentials.groups
        capabilities = Credentials.set(credentials.capEff)
    }

    /// Whom a unix socket's peer is to see. What else it takes to reach that is not asked.
    init(_ peer: PeerCredentials) {
        users = Array(repeating: peer.user, count: 4)
        groups = Array(repeating: peer.group, count: 4)
        supplementary = peer.groups
        capabilities = .max
    }

    /// The most that config.json lets a process be at its start.
    init(_ policy: RestorePolicy) {
        users = Array(repeating: policy.user, count: 4)
        groups = Array(repeating: policy.group, count: 4)
        supplementary = policy.groups.sorted()
        capabilities = policy.capabilities
    }
}

/// The task that is being furnished, where it makes files itself: by its own calls, in its namespaces, root and profile,
/// and with no more rights than an ``Identity`` has. So the kernel decides as it would for the task, also where it asks
/// for capabilities or keeps in mind who opened a file (procfs, sysfs, cgroups).
struct Opener {
    let plan: ProcessPlan
    let area: InjectedArea
    let policy: RestorePolicy
    /// The task, and what config.json grants: a file may have been opened, or a name bound, before the rights were given up.
    let own: Identity
    let granted: Identity
    private let permitted: UInt64
    private let inheritable: UInt64

    init(_ plan: ProcessPlan, _ policy: RestorePolicy, _ area: InjectedArea) throws {
        self.plan = plan
        self.area = area
        self.policy = policy
        own = Identity(plan.cores[0].threadCore.creds)
        granted = Identity(policy)
        let status = try ProcessStatus(plan.stubs[0].hostProcess)
        permitted = status.capabilities("Prm")
        inheritable = status.capabilities("Inh")
    }

    /// Opens a path without following links, and without waiting for anybody.
    ///
    /// - Parameter root: another root directory than the task's, in another mount namespace; it is lent to the task.
    func open(
        _ path: String, beneath root: CInt? = nil, flags: CInt, as identity: Identity
    ) throws -> OwnedDescriptor {
        if let root {
            try run(as: identity) { program in
                let pair = program.reserve(8)
                program.call("socketpair", Int(SYS_socketpair), [UInt64(AF_UNIX), 5, 0, pair.raw])
            }
            let ours = try take(1)
            try sendMessage(ours.raw, [1], descriptors: [root])
            try run(as: identity, keeping: 2) { program in
                Furnishing.receiveMessage(0, in: &program)
                Self.open(path, from: 2, flags: flags, in: &program)
            }
        } else {
            try run(as: identity) { Self.open(path, flags: flags, in: &$0) }
        }
        let opened = try take(root == nil ? 0 : 3)
        try Self.setFlags(flags, of: opened.raw, path)
        return opened
    }

    /// Opens as many paths at once, and hands over those that it could.
    func open(
        _ files: [(path: String, flags: CInt)], as identity: Identity,
        _ body: (Int, consuming OwnedDescriptor) throws -> Void
    ) throws {
        var calls: [Program.Reference] = []
        let results = try run(as: identity) { program in
            calls = files.map { Self.open($0.path, flags: $0.flags, tolerated: nil, in: &program) }
        }
        let task = try Pidfd(pid: plan.stubs[0].hostProcess)
        for (index, call) in calls.enumerated() where results[call] >= 0 {
            let opened = try task.descriptor(CInt(truncatingIfNeeded: results[call]))
            try Self.setFlags(files[index].flags, of: opened.raw, files[index].path)
            try body(index, opened)
        }
    }

    @discardableResult
    private static func open(
        _ path: String, from root: UInt64? = nil, flags: CInt, tolerated: Set<CInt>? = [], in program: inout Program
    ) -> Program.Reference {
        let name = program.place(path: path)
        // struct open_how. Nobody waits for a pipe that has been put there meanwhile.
        let patient = flags & CLINUX_O_PATH == 0 ? flags | O_NOCTTY | O_NONBLOCK : flags
        let resolve: Resolve = root == nil ? .noSymlinks : [.noSymlinks, .inRoot]
        let how = program.place(
            value: SIMD4<UInt64>(UInt64(UInt32(bitPattern: patient)), 0, resolve.rawValue, 0))
        return program.call(
            "open \(path)", Int(CLINUX_SYS_openat2),
            [root ?? UInt64(bitPattern: Int64(AT_FDCWD)), name.raw, how.raw, 24], tolerated: tolerated)
    }

    private static func setFlags(_ flags: CInt, of opened: CInt, _ path: String) throws {
        guard flags & (CLINUX_O_PATH | O_NONBLOCK) == 0 else { return }
        try system("flags of \(path)") { clinux_fcntl(opened, F_SETFL, Int(flags)) }
    }

    /// Runs calls with somebody's rights, in a task whose descriptors they number from 0. The first that fails is the
    /// error; those after it run all the same.
    ///
    /// - Parameter kept: how many descriptors of earlier runs stay; `nil` for all that the task has.
    @discardableResult
    func run(
        as identity: Identity, keeping kept: UInt64? = 0, _ body: (inout Program) -> Void
    ) throws -> Program.Results {
        var program = Program(area.main)
        if let kept { Self.closeAll(from: kept, in: &program) }
        assume(identity, in: &program)
        body(&program)
        resume(in: &program)
        do throws(TraceeError) { return try plan.stubs[0].run(program, agent: area.base).results } catch {
            guard case .refused(_, let call, let errno) = error else { throw error }
            throw SystemError(errno, call)
        }
    }

    /// Tries as the task, and where that is refused, with what config.json grants.
    func runAsEither<R: ~Copyable>(_ body: (Identity) throws -> R) throws -> R {
        do { return try body(own) } catch let error as SystemError
            where [.permissionDenied, .notPermitted].contains(error.errno)
        { return try body(granted) }
    }

    /// A descriptor that a run has left in the task.
    func take(_ number: CInt) throws -> OwnedDescriptor { try Pidfd(pid: plan.stubs[0].hostProcess).descriptor(number) }

    /// Closes descriptors of the task.
    func close(_ numbers: [CInt]) throws {
        var program = Program(area.main)
        for number in numbers { program.call("close", Int(SYS_close), [UInt64(number)]) }
        try plan.stubs[0].run(program, agent: area.base)
    }

    static func closeAll(from first: UInt64 = 0, in program: inout Program) {
        program.call("close_range", Int(CLINUX_SYS_close_range), [first, UInt64(UInt32.max), 0])
    }

    private func assume(_ identity: Identity, in program: inout Program) {
        // SECBIT_NO_SETUID_FIXUP: a change of users takes no capabilities.
        program.call("prctl PR_SET_SECUREBITS", Int(SYS_prctl), [28, 0x4, 0, 0, 0])
        let groups = program.place(
            identity.supplementary.flatMap { group in withUnsafeBytes(of: group) { Array($0) } })
        // EPERM: a user namespace in which nobody's change, where the task has had them since its birth.
        program.call(
            "setgroups", Int(SYS_setgroups), [UInt64(identity.supplementary.count), groups.raw], tolerated: [EPERM])
        program.call("setresgid", Int(SYS_setresgid), identity.groups.prefix(3).map { UInt64($0) })
        program.call("setfsgid", Int(SYS_setfsgid), [UInt64(identity.groups[3])], tolerated: nil)
        program.call("setresuid", Int(SYS_setresuid), identity.users.prefix(3).map { UInt64($0) })
        program.call("setfsuid", Int(SYS_setfsuid), [UInt64(identity.users[3])], tolerated: nil)
        // So that its own files in /proc are its own.
        program.call("prctl PR_SET_DUMPABLE", Int(SYS_prctl), [4, 1, 0, 0, 0])
        setCapabilities(effective: identity.capabilities & permitted, in: &program)
    }

    private func resume(in program: inout Program) {
        setCapabilities(effective: permitted, in: &program)
        program.call("prctl PR_SET_DUMPABLE", Int(SYS_prctl), [4, 0, 0, 0, 0])
        program.call("setresuid", Int(SYS_setresuid), [0, 0, 0])
        program.call("setresgid", Int(SYS_setresgid), [0, 0, 0])
        program.call("prctl PR_SET_SECUREBITS", Int(SYS_prctl), [28, 0, 0, 0, 0])
    }

    private func setCapabilities(effective: UInt64, in program: inout Program) {
        // struct __user_cap_header_struct of version 3, and two blocks of effective, permitted, inheritable.
        let header = program.place(value: SIMD2<UInt32>(0x2008_0522, 0))
        let sets = [0, 32].flatMap { shift in
            [effective, permitted, inheritable].map { UInt32(truncatingIfNeeded: $0 >> shift) }
        }
        let data = program.place(sets.flatMap { word in withUnsafeBytes(of: word) { Array($0) } })
        program.call("capset", Int(SYS_capset), [header.raw, data.raw])
    }
}
