import CheckpointImages
import LinuxSystem
import Tracee

/// A Landlock domain, which a thread has entered by landlock_restrict_self(2) and everybody has whom it has made since.
/// landlock(7). Refused: nobody is told what it forbids.
///
/// Nor whether there is one. But whatever a domain forbids, who is in it may look at no process outside of it (ptrace(2), Ptrace
/// access mode checking). So each thread asks for the robust list of a process at which anybody with its ids may look.
enum LandlockDomain: ProcessKind {
    fileprivate struct Identity: Hashable {
        var user: UInt32
        var group: UInt32
    }

    final class DumpState: KindState {
        fileprivate var bystanders: [Identity: Bystander] = [:]
        fileprivate var isTold = false
    }

    static func askThread(
        _ thread: CapturedThread, in program: inout Program, of dump: Dump
    ) throws -> ThreadAnswer? {
        guard SecurityModules.hasLandlock else { return nil }
        let bystander = try bystander(for: thread, of: dump)
        let (head, length) = (program.reserve(8), program.reserve(8))
        let seen = program.call(
            "get_robust_list of a bystander", Int(SYS_get_robust_list),
            [UInt64(bystander.pid), head.raw, length.raw], tolerated: [EPERM])
        return { results, _ in
            guard results[seen] != 0 else { return }
            if let module = try otherModule(thread) { return tell(thread, module, dump) }
            throw CheckpointError(
                "thread \(thread.innerID) is in a Landlock domain (landlock_restrict_self), which cannot be checkpointed: "
                    + "the kernel tells nobody what it forbids, and a restored process would be without it; checkpoint the "
                    + "container before it enters one, or run its program without")
        }
    }

    /// They end while the pages are copied.
    static func seal(_ dump: Dump) {
        for bystander in dump[LandlockDomain.self].bystanders.values { bystander.dismiss() }
    }

    /// Whoever is buried by nobody is seen by the container, and is in the way of its end.
    static func resume(_ dump: Dump) { dump[LandlockDomain.self].bystanders = [:] }
    static func end(_ dump: Dump) { resume(dump) }

    private static func bystander(for thread: CapturedThread, of dump: Dump) throws -> Bystander {
        // The real ones count.
        let identity = Identity(
            user: try dump.userNamespace.inside(user: thread.status.users.first ?? 0),
            group: try dump.userNamespace.inside(group: thread.status.groups.first ?? 0))
        let state = dump[LandlockDomain.self]
        if let known = state.bystanders[identity] { return known }
        let first = dump.first
        // Nobody can go into the user namespace in which he is.
        let namespaces: Namespaces = dump.userNamespace == .own ? .mount : [.user, .mount]
        let made = try inNamespace(.pid, of: first.task) {
            let pidfd = try Pidfd(task: first.task, of: first.hostPid)
            return try Bystander(user: identity.user, group: identity.group, in: namespaces, of: pidfd.raw)
        }
        state.bystanders[identity] = made
        return made
    }

    /// What else may have forbidden the look.
    private static func otherModule(_ thread: CapturedThread) throws -> String? {
        if let profile = try AppArmorProfile.of(thread.path) { return "the AppArmor profile \(profile)" }
        return SecurityModules.hasSELinux ? "SELinux" : nil
    }

    /// Once for a container: as a rule it is the module, and there is no domain.
    private static func tell(_ thread: CapturedThread, _ module: String, _ dump: Dump) {
        // landlock_restrict_self(2) wants one of the two.
        let sets = ["Inh", "Prm", "Bnd", "Amb"].map { thread.status.capabilities($0) }
        let administration = UInt64(1) << 21
        let canHaveOne = thread.status.noNewPrivileges || sets.contains { $0 & administration != 0 }
        guard canHaveOne, !dump[Self.self].isTold else { return }
        dump[Self.self].isTold = true
        dump.request.logger.warning(
            """
            nobody can tell whether thread \(thread.innerID) is in a Landlock domain, because \(module) keeps it from looking at \
            others: a domain would not come back
            """)
    }
}
