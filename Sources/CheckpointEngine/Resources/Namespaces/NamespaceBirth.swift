import CheckpointImages
import LinuxSystem
import Tracee

/// Puts the processes of a new tree into the namespaces that they had for themselves (``InnerNamespace``), before
/// anything is made in there.
struct NamespaceBirth {
    let workshop: Workshop
    let area: InjectedArea
    private let state: InnerNamespace.RestoreState

    init(_ workshop: Workshop, _ area: InjectedArea) {
        (self.workshop, self.area) = (workshop, area)
        state = workshop[InnerNamespace.self]
    }

    func run(_ first: ProcessPlan) throws {
        for plan in first.all where !plan.isZombie {
            guard let names = state.members[plan.pid] else { continue }
            try about("\(plan)") { try enter(names, plan) }
        }
    }

    private func enter(_ names: [InnerNamespace.Name], _ plan: ProcessPlan) throws {
        let stub = plan.stubs[0]
        let new = names.filter { state.made[$0] == nil }
        var runner = ProgramRunner(stub, area)
        if !new.isEmpty {
            try enterBase(of: new, stub)
            let kinds = Namespaces(new.map(\.kind))
            try runner.add { $0.call("unshare \(kinds)", Int(SYS_unshare), [UInt64(kinds.rawValue)]) }
            try runner.flush()
        }
        for name in new {
            // A time namespace is its children's alone, until it joins that, too.
            let file = name.kind == .time ? "time_for_children" : name.kind.description
            state.made[name] = workshop.keep(try openAt(AT_FDCWD, "/proc/\(stub.hostProcess)/ns/\(file)", O_RDONLY))
            try fill(name, of: stub.hostProcess)
            if name.kind == .mount { try InnerMounts.recreate(name.number, by: plan, in: workshop, area: area) }
        }
        let joined = names.filter { !new.contains($0) || $0.kind == .time }
        try lend(joined.compactMap { state.made[$0] }, to: stub) { program, numbers in
            for (name, number) in zip(joined, numbers) {
                program.call("setns \(name.kind)", Int(SYS_setns), [number, UInt64(name.kind.rawValue)])
            }
        }
        for name in names {
            guard let made = state.made[name] else { continue }
            let link = try linkTarget("/proc/self/fd/\(made)")
            state.links[plan.pid, default: [:]][name.kind.description] = link
            if name.kind == .time { state.links[plan.pid, default: [:]]["time_for_children"] = link }
        }
    }

    /// Goes into the mount namespace that a new one is a copy of, where that is not the container's.
    private func enterBase(of names: [InnerNamespace.Name], _ stub: Stub) throws {
        guard let name = names.first(where: { $0.kind == .mount }),
            let base = workshop[InnerMounts.self].planned[name.number]?.base,
            let made = state.made[InnerNamespace.Name(kind: .mount, number: base)]
        else { return }
        try lend([made], to: stub) { program, numbers in
            program.call("setns mnt", Int(SYS_setns), [numbers[0], UInt64(Namespaces.mount.rawValue)])
        }
    }

    /// Gives a new one what it had.
    private func fill(_ name: InnerNamespace.Name, of process: pid_t) throws {
        if name.kind == .uts { try HostName.recreate(name.number, of: process, in: workshop) }
        if name.kind == .time { try Clocks.recreate(name.number, of: process, in: workshop) }
        if state.up.contains(name) { try inNamespace(.network, of: process) { try NetworkInterface("lo").bringUp() } }
        try KernelParameters.recreate(name, of: process, in: workshop)
    }

    /// Gives a process that has no descriptors some, for what `use` makes of their numbers.
    private func lend(_ descriptors: [CInt], to stub: Stub, _ use: (inout Program, [UInt64]) -> Void) throws {
        if descriptors.isEmpty { return }
        var runner = ProgramRunner(stub, area)
        try runner.add {
            let pair = $0.reserve(8)
            $0.call("socketpair", Int(SYS_socketpair), [UInt64(AF_UNIX), 5, 0, pair.raw])
        }
        try runner.flush()
        let ours = try Pidfd(pid: stub.hostProcess).descriptor(1)
        try sendMessage(ours.raw, [1], descriptors: descriptors)
        try runner.add {
            Furnishing.receiveMessage(0, in: &$0)
            use(&$0, descriptors.indices.map { UInt64($0 + 2) })
            Opener.closeAll(in: &$0)
        }
        try runner.flush()
    }
}

extension InnerNamespace {
    static func furnish(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        try NamespaceBirth(workshop, area).run(first)
    }
}
