import CheckpointImages
import LinuxSystem

/// What config.json allows. An image is data from anywhere; it can never grant more than this.
package struct RestorePolicy: Sendable {
    /// Every capability in any set of process.capabilities, as a bit set.
    package var capabilities: UInt64
    package var noNewPrivileges: Bool
    package var seccomp: SeccompPolicy?
    package var user: UInt32
    package var group: UInt32
    /// ``group`` and the additional ones.
    package var groups: Set<UInt32>
    package var limits: ProcessLimits
    /// Where config.json mounts a tmpfs of the container's own, which an image may fill.
    package var memoryMounts: Set<String>
    /// Whether config.json gives an I/O priority of the real-time class.
    package var givesRealTimeIO = false
    /// Whether config.json makes a UTS namespace, whose names an image may set.
    package var makesHostName = false
    /// Whether config.json makes an IPC namespace, in which an image may make objects.
    package var makesIPC = false
    /// Whether config.json makes a network namespace, and lets the container configure it.
    package var configuresNetwork = false
    /// Whether config.json makes a mount namespace, in which an image may change mounts.
    package var makesMounts = false
    /// Of those that config.json makes, the namespaces whose sysctls an image may set.
    package var parameterNamespaces: Namespaces = []
    /// Whether config.json mounts cgroups that a process can write to.
    package var writesCgroups = false
    /// Whether the container has a terminal.
    package var hasTerminal: Bool
    /// `nil` for one that the container joins, whose maps only the kernel tells.
    package var userNamespace: UserNamespace?
    /// The AppArmor profile that every task is born in.
    package var profile: String?
    /// Whether the caller has named it, which then counts for all tasks.
    package var overridesProfile = false
    /// Of this machine.
    package var hasAppArmor = SecurityModules.hasAppArmor

    package init(
        capabilities: UInt64, noNewPrivileges: Bool, seccomp: SeccompPolicy?, user: UInt32, group: UInt32 = 0,
        groups: Set<UInt32>, limits: ProcessLimits, memoryMounts: Set<String> = [], hasTerminal: Bool = false,
        userNamespace: UserNamespace? = .own
    ) {
        self.memoryMounts = memoryMounts
        self.hasTerminal = hasTerminal
        self.userNamespace = userNamespace
        self.capabilities = capabilities
        self.noNewPrivileges = noNewPrivileges
        self.seccomp = seccomp
        self.user = user
        self.group = group
        self.groups = groups
        self.limits = limits
    }

    /// Fails if a thread is to have more than the configuration gives.
    func check(_ plan: ProcessPlan, _ images: RestoreImages) throws {
        try checkLimits(of: plan)
        // Elsewhere a program with a set-user-ID bit would believe files that its caller has made.
        if let root = plan.root, capabilities & 1 << Self.sysChroot == 0 {
            throw CheckpointError(
                "\(plan): has its root directory at \(root), and config.json does not grant CAP_SYS_CHROOT")
        }
        for (thread, _) in plan.everyThread { try about("\(plan)") { try images.tunables(of: thread).check(self) } }
        for (_, core) in plan.everyThread where core.hasThreadCore {
            let credentials = core.threadCore.creds
            _ = try about("\(plan)") { try AppArmorProfile.entered(by: credentials, images, self) }
            let sets = [
                ("permitted", credentials.capPrm), ("effective", credentials.capEff),
                ("inheritable", credentials.capInh), ("bounding", credentials.capBnd), ("ambient", credentials.capAmb),
            ]
            for (name, words) in sets where Credentials.set(words) & ~capabilities != 0 {
                let excess = Credentials.set(words) & ~capabilities
                throw CheckpointError(
                    "\(plan): its \(name) capabilities have 0x\(String(excess, radix: 16)), which config.json does not "
                        + "grant; restore with the bundle that was checkpointed")
            }
            let users = [credentials.uid, credentials.euid, credentials.suid, credentials.fsuid]
            if let other = users.first(where: { !allows(user: $0) }) {
                throw CheckpointError("\(plan): has user id \(other), which config.json does not give it")
            }
            let groups = [credentials.gid, credentials.egid, credentials.sgid, credentials.fsgid] + credentials.groups
            if let other = groups.first(where: { !allows(group: $0) }) {
                throw CheckpointError("\(plan): has group id \(other), which config.json does not give it")
            }
        }
    }

    /// What a thread gets: the image's, but not without the promise that the configuration makes.
    func credentials(of core: CoreEntry) -> CredsEntry {
        var credentials = core.threadCore.creds
        if noNewPrivileges { credentials.noNewPrivs = 1 }
        return credentials
    }

    /// Fails if no process could have made a namespace of this kind.
    func checkMaking(_ kind: Namespaces) throws {
        guard capabilities & 1 << UInt64(CAP_SYS_ADMIN) != 0 else {
            throw CheckpointError(
                "is in a \(kind) namespace of its own, and config.json does not grant CAP_SYS_ADMIN")
        }
        let flag = UInt64(kind.rawValue)
        guard
            seccomp.map({
                $0.allows(call: Int(SYS_unshare), [flag]) || $0.allows(call: Int(SYS_clone), [flag | UInt64(SIGCHLD)])
            }) ?? true
        else {
            throw CheckpointError(
                "is in a \(kind) namespace of its own, which config.json's seccomp filter does not allow")
        }
    }

    /// Fails if no process could have joined the mount namespace of another. setns(2)
    func checkJoiningMounts() throws {
        guard capabilities & 1 << Self.sysChroot != 0 else {
            throw CheckpointError(
                "is in a mount namespace with others, or in a copy of theirs, and config.json does not grant CAP_SYS_CHROOT "
                    + "to join it")
        }
    }

    /// Without CAP_SETUID and CAP_SETGID, and without set-user-ID programs, ids stay what they were at the start.
    func allows(user id: UInt32) -> Bool { !noNewPrivileges || capabilities & (1 << 7) != 0 || id == user }
    func allows(group id: UInt32) -> Bool { !noNewPrivileges || capabilities & (1 << 6) != 0 || groups.contains(id) }

    /// Fails if a socket has options that none like it can have, or passes for somebody's that config.json does not make.
    func check(_ entries: [SocketOptionEntry], of file: FileEntry?, _ userNamespace: UserNamespace) throws {
        guard let file, file.hasUsk || file.hasIsk || file.hasNlsk || file.hasPsk else {
            throw CheckpointError("is no socket of files.img")
        }
        let peer = try PeerCredentials(entries)
        let senders = try MessageSender.all(entries).values
        _ = try MessageOrigin.all(entries)
        for user in senders.map(\.user) + (peer.map { [$0.user] } ?? []) {
            guard allows(user: user) else {
                throw CheckpointError("passes for user \(user)'s, whom config.json does not give a process")
            }
            _ = try userNamespace.outside(user: user)
        }
        for group in senders.map(\.group) + (peer.map { [$0.group] + $0.groups } ?? []) {
            guard allows(group: group) else {
                throw CheckpointError("passes for group \(group)'s, which config.json does not give a process")
            }
            _ = try userNamespace.outside(group: group)
        }
        try SocketOptionTable.check(entries, of: file)
    }
}
