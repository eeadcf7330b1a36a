import LinuxSystem
import OCISpec

/// Turns this process, which already stands in the container, into config.json's `process`.
struct ProcessSetup: Sendable {
    var process: Process
    var filter: SeccompFilter?
    /// Name of the session keyring to join, if any. keyrings(7).
    var keyring: String?
    var preservedDescriptors: [CInt]
    var capabilities: CapabilitySets
    var lastCapability: CInt
    var environment: [String]
    let placement: ProcessPlacement
    let hasUserNamespace: Bool
    private let mayKeepGroups: Bool
    private let labels: ProcessLabels

    init(
        _ process: Process, in linux: Linux?, filter: SeccompFilter?, keyring: String?, preservedDescriptors: [CInt],
        extraEnvironment: [String] = []
    ) throws(RuntimeError) {
        guard !process.args.isEmpty else { throw RuntimeError("process.args must not be empty") }
        guard process.cwd.hasPrefix("/") else { throw RuntimeError("process.cwd must be an absolute path") }
        for limit in process.rlimits where ResourceLimit.resources[limit.type] == nil {
            throw RuntimeError("process.rlimits: unknown type \(limit.type)")
        }
        self.process = process
        labels = try ProcessLabels(process)
        placement = try ProcessPlacement(process, linux)
        self.filter = filter
        self.keyring = keyring
        self.preservedDescriptors = preservedDescriptors
        environment = process.env + extraEnvironment
        lastCapability = CapabilityNames.last
        hasUserNamespace = linux?.has(.user) ?? false
        mayKeepGroups = hasUserNamespace || Rootless.isMapped
        try Self.checkMapped(process.user, linux)
        // Who enters a user namespace has every capability in there.
        let available =
            hasUserNamespace
            ? UInt64.max >> (63 - UInt64(lastCapability))
            : try launching { () throws(SystemError) in try CapabilitySets.current().permitted }
        capabilities = CapabilitySets(process.capabilities, available: available)
        let ignored = CapabilityNames.missing(process.capabilities, in: available)
        if !ignored.isEmpty {
            Warnings.add("ignoring unknown or unavailable capabilities: [\(ignored.joined(separator: " "))]")
        }
        let raisable = capabilities.permitted & capabilities.inheritable
        for name in CapabilityNames.names(in: capabilities.ambient & ~raisable) {
            Warnings.add("can't raise ambient capability \(name): operation not permitted")
        }
    }

    private static func checkMapped(_ user: User, _ linux: Linux?) throws(RuntimeError) {
        guard let linux, linux.has(.user), !linux.uidMappings.isEmpty else { return }
        if linux.uidMappings.hostID(of: user.uid) == nil {
            throw RuntimeError("process.user.uid: cannot set uid to unmapped user in user namespace: \(user.uid)")
        }
        for group in [user.gid] + user.additionalGids where linux.gidMappings.hostID(of: group) == nil {
            throw RuntimeError("process.user: cannot set gid to unmapped group in user namespace: \(group)")
        }
    }

    /// Limits, priorities and session: what needs the runtime's privileges but not its view of the host.
    func prepare(_ channel: borrowing InitChannel) throws(RuntimeError) {
        do throws(SystemError) {
            try applyLimits(to: 0)
        } catch  where error.errno == .notPermitted && hasUserNamespace {
            // No right in here counts for hard limits.
            try channel.send(.limits)
            try channel.expect(.proceed, orDied: "the runtime is gone")
        } catch {
            throw RuntimeError("error setting rlimits for ready process: \(error)")
        }
        try placement.apply()
        try labels.applyAtExec()
        if let keyring {
            try launching { () throws(SystemError) in try joinSessionKeyring(keyring) }
        }
    }

    func applyLimits(to pid: pid_t) throws(SystemError) {
        for limit in process.rlimits {
            guard let resource = ResourceLimit.resources[limit.type] else { continue }
            do throws(SystemError) {
                try ResourceLimit(resource: resource, soft: limit.soft, hard: limit.hard).apply(to: pid)
            } catch {
                throw SystemError(error.errno, "process.rlimits: \(limit.type): \(error.attempt)")
            }
        }
    }

    /// For the process in ``prepare(_:)``, by the runtime.
    func raiseLimits(of pid: pid_t, _ channel: borrowing InitChannel) throws(RuntimeError) {
        try launching("error setting rlimits for ready process") { () throws(SystemError) in try applyLimits(to: pid) }
        try channel.send(.proceed)
    }

    /// Gives up the runtime's privileges for the process's own.
    ///
    /// - Parameter door: stays open, as the channel does.
    func confine(_ channel: borrowing InitChannel, door: CInt? = nil) throws(RuntimeError) {
        try launching { () throws(SystemError) in
            // Before the image has a say in any path: `/proc/self/fd/N/../..` of a directory of the host's leads all
            // over the host, as working directory, as program, or as a script's interpreter (CVE-2024-21626).
            try CallingProcess.closeAll(
                from: 3, but: preservedDescriptors + [channel.socket.raw] + (door.map { [$0] } ?? []))
            for number in CInt(0)...2 { try handStream(number, to: process.user.uid) }
            if process.noNewPrivileges { try CallingProcess.setNoNewPrivileges() }
        }
        try launching { () throws(SystemError) in
            try capabilities.dropBounding(last: lastCapability)
            try CallingProcess.setKeepCapabilities(true)
            let entered = chdir(process.cwd) == 0
            var credentials = Credentials(
                user: process.user.uid, group: process.user.gid, additionalGroups: process.user.additionalGids)
            credentials.mayKeepGroups = mayKeepGroups
            try credentials.apply()
            // A directory on a file system that distrusts root opens only for the user.
            if !entered {
                try system("chdir to cwd (\(process.cwd.quoted)) set in config.json failed") { chdir(process.cwd) }
            }
            try verifyWorkingDirectory()
            try CallingProcess.setKeepCapabilities(false)
            try withRightToFilter(effective: false).apply()
            try capabilities.applyAmbient(last: lastCapability)
            umask(process.user.umask ?? 0o022)
        }
    }

    /// Without no_new_privs the kernel takes a filter only from who has CAP_SYS_ADMIN. It is kept until the exec, which
    /// makes a program's permitted capabilities of the other sets alone. capabilities(7).
    private func withRightToFilter(effective: Bool) throws(SystemError) -> CapabilitySets {
        var sets = capabilities
        guard filter != nil, !process.noNewPrivileges else { return sets }
        let right = try CapabilitySets.current().permitted & (1 << UInt64(CAP_SYS_ADMIN))
        sets.permitted |= right
        if effective { sets.effective |= right }
        return sets
    }

    /// To be called last: a filter need allow nothing of the set-up, only the exec, and an agent's listener its message.
    func loadFilter(_ channel: borrowing InitChannel) throws(RuntimeError) {
        guard let filter else { return }
        try launching { () throws(SystemError) in try withRightToFilter(effective: true).apply() }
        try filter.install(telling: channel)
    }

    /// The program, looked up as the process itself: the error is wanted before the container counts as created.
    func findProgram() throws(RuntimeError) -> ProgramFile {
        try ProgramFile(process.args[0], environment: environment)
    }

    func completedEnvironment() -> [String] {
        let environment = withoutRepetition(environment)
        if environment.contains(where: { $0.hasPrefix("HOME=") && $0 != "HOME=" }) { return environment }
        return environment.filter { $0 != "HOME=" } + ["HOME=\(homeDirectory(of: process.user.uid))"]
    }

    func execute(
        _ program: ProgramFile, environment: [String], _ channel: borrowing InitChannel, isFiltered: Bool = false
    ) throws(RuntimeError) -> Never {
        let prepared = PreparedProgram(path: program.path, arguments: process.args, environment: environment)
        try launching { () throws(SystemError) in try CallingProcess.closeOnExec(from: 3, but: preservedDescriptors) }
        if !isFiltered { try loadFilter(channel) }
        let error = prepared.execute()
        // A file that is there, and no program: as with runc the container has started, and says so itself.
        try? writeAll(2, Array("exec \(program.path): \(error.reason)\n".utf8))
        _exit(1)
    }

    /// A descriptor that the caller passed on could make it a directory outside (CVE-2024-21626).
    private func verifyWorkingDirectory() throws(SystemError) {
        guard try CallingProcess.workingDirectory().hasPrefix("/") else {
            throw SystemError(
                .noSuchFileOrDirectory, "current working directory is outside of container mount namespace root")
        }
    }
}

/// Of a variable that is given twice the last one counts, as with runc; getenv(3) would find the first.
func withoutRepetition(_ environment: [String]) -> [String] {
    var names: Set<Substring> = []
    return environment.reversed().filter { names.insert($0.prefix { $0 != "=" }).inserted }.reversed()
}
