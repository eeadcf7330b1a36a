import CheckpointEngine
import LinuxSystem
import OCISpec

// What a checkpoint compares with: the container's surroundings when its program started, hooks that a restore runs again
// included. What a `startContainer` hook changes counts as the program's: no restore runs it.
extension StateStore {
    static let mountsName = "mounts"
    static let networkName = "network"

    /// Starts the program, and takes note before it could change anything: of mounts that it may not change, while it
    /// starts and nobody waits.
    func recordingStart(
        of id: String, _ process: pid_t, _ spec: Spec, start: () throws(RuntimeError) -> Void
    ) throws(RuntimeError) {
        if spec.grants(CAP_SYS_ADMIN) || spec.grants(CAP_NET_ADMIN) {
            try recordStart(of: id, process, spec)
            try start()
        } else {
            try start()
            try recordStart(of: id, process, spec)
        }
    }

    func recordStart(of id: String, _ process: pid_t, _ spec: Spec) throws(RuntimeError) {
        try recordMounts(of: id, process)
        if spec.grants(CAP_NET_ADMIN) { try recordNetwork(of: id, process, spec) }
    }

    func recordMounts(of id: String, _ process: pid_t) throws(RuntimeError) {
        try noting("mounts") {
            try writeNewFile("\(path(id))/\(Self.mountsName)", try readFile("/proc/\(process)/mountinfo"))
        }
    }

    /// Of a container that is being restored.
    ///
    /// - Parameter lock: the restore's own, which is no part of the container's network.
    func recordRestored(
        of id: String, _ process: pid_t, _ spec: Spec, except lock: ConnectionLock?
    ) throws(RuntimeError) {
        if spec.grants(CAP_NET_ADMIN) { try recordNetwork(of: id, process, spec, except: lock) }
    }

    /// For `exec` with a right that no process of the container has had so far.
    func recordNetwork(of id: String, _ process: pid_t, before exec: Process, _ spec: Spec) throws(RuntimeError) {
        guard exec.grants(CAP_NET_ADMIN), (try? status("\(path(id))/\(Self.networkName)")) == nil else { return }
        try recordNetwork(of: id, process, spec)
    }

    private func recordNetwork(
        of id: String, _ process: pid_t, _ spec: Spec, except lock: ConnectionLock? = nil
    ) throws(RuntimeError) {
        // Without the host's rights there is no checkpoint.
        guard spec.makes(.network), try Rootless.hasRights(), !Rootless.isMapped else { return }
        try noting("network") {
            let text = try NetworkConfiguration.text(of: process, except: lock)
            try writeNewFile("\(path(id))/\(Self.networkName)", Array(text.utf8))
        }
    }

    /// A process that has died meanwhile has nothing to take note of.
    private func noting(_ what: String, _ body: () throws -> Void) throws(RuntimeError) {
        do { try body() } catch let error as SystemError
            where [.noSuchFileOrDirectory, .noSuchProcess, .invalidArgument].contains(error.errno)
        {
        } catch {
            throw RuntimeError("cannot take note of the container's \(what)", because: error)
        }
    }

    /// Nil for a container that was started by a runtime that took no note.
    func loadStart(_ id: String, _ spec: Spec) throws(RuntimeError) -> StartRecord? {
        guard let mounts = try note(Self.mountsName, of: id) else { return nil }
        let binds = spec.mounts.filter { MountOptions($0.options).isRecursiveBind }
        return StartRecord(
            mounts: mounts, network: try note(Self.networkName, of: id),
            destinations: Set(spec.mounts.map { RootMounts.clean($0.destination) }),
            // The root is bound with all that is mounted in it.
            recursiveBinds: Set(["/"] + binds.map { RootMounts.clean($0.destination) }))
    }

    private func note(_ name: String, of id: String) throws(RuntimeError) -> String? {
        do throws(SystemError) {
            return String(decoding: try readRegularFile("\(path(id))/\(name)", O_NOFOLLOW), as: UTF8.self)
        } catch  where error.errno == .noSuchFileOrDirectory {
            return nil
        } catch {
            throw RuntimeError("cannot load what the container started with", because: error)
        }
    }
}

extension Process {
    /// Whether it, or a program that it starts, may have a capability.
    fileprivate func grants(_ capability: CInt) -> Bool {
        guard let sets = capabilities else { return false }
        return CapabilityNames.mask(sets.bounding + sets.permitted) & (1 << UInt64(capability)) != 0
    }
}

extension Spec {
    fileprivate func grants(_ capability: CInt) -> Bool { process?.grants(capability) == true }

    /// Whether the container gets a namespace of this kind that is its own.
    func makes(_ kind: Namespace.Kind) -> Bool {
        linux?.namespaces.contains { $0.type == kind && $0.path?.isEmpty != false } == true
    }

    /// The namespaces whose sysctls a process of the container may change: where /proc/sys is writable, or it can mount
    /// another one. proc_sys(5)
    var parameterNamespaces: Namespaces {
        let isReadOnly =
            linux?.readonlyPaths.contains { ["/proc", "/proc/sys"].contains(RootMounts.clean($0)) } == true
        guard
            grants(CAP_SYS_ADMIN)
                || !isReadOnly && (process?.user.uid == 0 || grants(CAP_SETUID) || grants(CAP_NET_ADMIN))
        else { return [] }
        return Namespaces([(Namespace.Kind.network, Namespaces.network), (.ipc, .ipc)].filter { makes($0.0) }.map(\.1))
    }
}
