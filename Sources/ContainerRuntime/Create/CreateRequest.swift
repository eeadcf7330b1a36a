import LinuxSystem
import OCISpec

/// What the first process of a new container is to become.
package enum FirstProcess: Sendable, Equatable {
    /// Waits for `start`, then becomes config.json's `process`.
    case command
    /// As ``command``, but the creator itself starts it: no socket is needed to wait on.
    case commandAtOnce
    /// Sets up what belongs to the container and nothing of what belongs to a process, then sleeps until the
    /// checkpoint engine takes it over.
    case restored
}

/// Who makes a container's cgroups: `--cgroup-manager`, as crun has it. `--systemd-cgroup` is ``systemd``.
package enum CgroupManager: String, Sendable {
    case cgroupfs, systemd, disabled
}

/// Offsets of the clocks of a new time namespace. time_namespaces(7).
package struct ClockOffsets: Sendable {
    package var monotonic: timespec
    package var boottime: timespec

    package init(monotonic: timespec, boottime: timespec) {
        self.monotonic = monotonic
        self.boottime = boottime
    }

    init(_ offsets: TimeOffsets) {
        monotonic = offsets.monotonic.map(Self.time) ?? timespec()
        boottime = offsets.boottime.map(Self.time) ?? timespec()
    }

    private static func time(_ offset: TimeOffsets.Offset) -> timespec {
        timespec(tv_sec: Int(offset.secs ?? 0), tv_nsec: Int(offset.nanosecs ?? 0))
    }
}

/// A container to be made by ``createContainer(_:)``.
package struct CreateRequest: Sendable {
    package var id: String
    /// The state store's directory (`--root`).
    package var stateRoot: String
    /// Absolute.
    package var bundle: String
    package var spec: Spec
    /// config.json as it was read.
    package var configuration: [UInt8]
    package var firstProcess: FirstProcess
    /// Set for a restore; config.json's `timeOffsets` otherwise.
    package var clockOffsets: ClockOffsets?
    package var consoleSocket: String?
    package var pidFile: String?
    package var pidfdSocket: String?
    /// Descriptors that the process keeps beside its standard streams.
    package var preservedDescriptors: [CInt] = []
    package var noPivot = false
    package var noNewKeyring = false
    package var cgroupManager = CgroupManager.cgroupfs
    package var rootless = Rootless.no
    /// The pid in the new pid namespace, if it shall not be the next one.
    package var pid: Int32?

    /// What keeps the peers of restored connections silent: closed before anything is attached to the container's network.
    package var connectionLock: ConnectionLock?

    package var notifySocket: NotifySocket?
    /// For socket activation and the like: what the process gets besides config.json's `env`.
    package var extraEnvironment: [String] = []
    /// The signal mask that the process shall have if the creator has blocked signals.
    package var signals: SignalMask?

    package init(
        id: String, stateRoot: String, bundle: String, spec: Spec, configuration: [UInt8], firstProcess: FirstProcess
    ) {
        self.id = id
        self.stateRoot = stateRoot
        self.bundle = bundle
        self.spec = spec
        self.configuration = configuration
        self.firstProcess = firstProcess
        self.spec.stripRoot(rootPath)
        clockOffsets = spec.linux?.timeOffsets.map(ClockOffsets.init)
    }

    /// Reads the bundle's config.json. `bundle` may be relative.
    package init(id: String, stateRoot: String, bundle: String, firstProcess: FirstProcess) throws(RuntimeError) {
        guard let resolved = realpath(bundle, nil) else {
            throw RuntimeError("chdir \(bundle): \(SystemError(.current, "").reason)")
        }
        defer { free(resolved) }
        let bundle = String(cString: resolved)
        do {
            let text = try readRegularFile("\(bundle)/config.json")
            self.init(
                id: id, stateRoot: stateRoot, bundle: bundle, spec: try Spec.decode(text), configuration: text,
                firstProcess: firstProcess)
        } catch let error as SystemError where error.errno == .noSuchFileOrDirectory {
            throw RuntimeError("JSON specification file config.json not found")
        } catch {
            throw RuntimeError("\(error)")
        }
    }

    /// The root file system's absolute path on the host.
    var rootPath: String {
        let path = spec.root?.path ?? "rootfs"
        return path.hasPrefix("/") ? path : "\(bundle)/\(path)"
    }
}
