import Cgroups
import LinuxSystem
import OCISpec

/// What the runtime keeps of a container between two commands: `<root>/<id>/state.json`.
///
/// The configuration is beside it in `config.json`, byte for byte as it was loaded at create.
package struct ContainerState: Codable, Equatable, Sendable {
    package var id: String
    package var ociVersion: String
    /// 0 while the container is being made: such a container is never listed, but `delete --force` cleans up after it.
    package var initPid: pid_t = 0
    /// Field 22 of `/proc/PID/stat`: tells the container's init from a later process with the same id.
    package var initStartTime: UInt64 = 0
    /// Absolute.
    package var bundle: String
    /// Absolute.
    package var rootfs: String
    /// RFC 3339 with nanoseconds, UTC.
    package var created: String = Timestamp.now()
    package var annotations: [String: String] = [:]
    package var cgroups: CgroupSet
    /// All limits, once `update` has changed some; those of config.json until then.
    package var resources: Resources?
    /// What descriptors 0, 1 and 2 of the creator led to (`/dev/null`, `pipe:[1234]`), as a checkpoint records them.
    package var externalDescriptors: [String] = []
    /// Where to join each namespace of the container; kinds that it shares with the host are there too.
    package var namespacePaths: [String: String] = [:]
    package var restored: Bool = false
    /// Interfaces that are the container's while it lives, by their names on the host, and where they are.
    @OrEmpty package var netDevices: [String: String] = [:]
    package var netNamespace: String?

    package init(id: String, ociVersion: String, bundle: String, rootfs: String, cgroups: CgroupSet) {
        self.id = id
        self.ociVersion = ociVersion
        self.bundle = bundle
        self.rootfs = rootfs
        self.cgroups = cgroups
    }

    /// Fills in what depends on the container's first process.
    package mutating func setInit(pid: pid_t) throws(SystemError) {
        initStartTime = try ProcessStat(pid: pid).startTime
        initPid = pid
        namespacePaths = Dictionary(
            uniqueKeysWithValues: Namespace.Kind.allCases.map { ($0.rawValue, "/proc/\(pid)/ns/\($0.procName)") })
    }
}

extension Namespace.Kind {
    /// The file's name in `/proc/PID/ns`.
    package var procName: String {
        switch self {
        case .mount: "mnt"
        case .network: "net"
        default: rawValue
        }
    }
}

/// The fields of `/proc/PID/stat` that tell whether a process is the one that was meant. proc_pid_stat(5).
package struct ProcessStat: Equatable, Sendable {
    /// `R`, `S`, `Z` and so on.
    package var state: Character
    package var startTime: UInt64

    package init(pid: pid_t) throws(SystemError) {
        let path = "/proc/\(pid)/stat"
        guard let stat = ProcessStat(text: try readText(path)) else {
            throw SystemError(.invalidArgument, "parse \(path)")
        }
        self = stat
    }

    /// The name in field 2 may hold blanks and parentheses, so fields are counted from the last parenthesis.
    init?(text: String) {
        guard let end = text.utf8.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = text.utf8[end...].dropFirst().split(separator: UInt8(ascii: " ")).map(Substring.init)
        guard fields.count > 19, let state = fields[0].first, let startTime = UInt64(fields[19]) else { return nil }
        self.state = state
        self.startTime = startTime
    }

    package var isDead: Bool { state == "Z" || state == "X" }
}
