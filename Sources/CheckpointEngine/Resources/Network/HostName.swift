import CheckpointImages
import LinuxSystem

/// Host and domain name of a container with a UTS namespace of its own, if they are not those of config.json any more.
/// uts_namespaces(7).
enum HostName: Kind {
    final class RestoreState: KindState {
        fileprivate var entry: UtsnsEntry?
        /// Of namespaces of single processes, by their numbers.
        fileprivate var inner: [UInt32: UtsnsEntry] = [:]
    }

    static func seal(_ dump: Dump) throws {
        guard let configured = dump.configuredNames, let ids = dump.rootIDs else { return }
        let names = try inNamespace(.uts, of: dump.first.hostPid) { try HostNames.current() }
        guard names != configured else { return }
        try add(names, ids.utsNsID, to: dump)
    }

    /// Of a namespace in which a process is alone, or with others.
    static func capture(_ number: UInt32, of process: CapturedProcess, into dump: Dump) throws {
        try add(try inNamespace(.uts, of: process.task) { try HostNames.current() }, number, to: dump)
    }

    private static func add(_ names: HostNames, _ number: UInt32, to dump: Dump) throws {
        try dump.images.add(
            .utsns, number,
            entries: [
                UtsnsEntry.with {
                    $0.nodename = names.host
                    $0.domainname = names.domain
                }
            ])
    }

    /// Fails if no namespace could have such names.
    static func plan(_ restore: RestorePlan) throws {
        let number = restore.images.inventory.rootIds.utsNsID
        guard try restore.images.directory.contains(.utsns, number) else { return }
        restore[HostName.self].entry = try entry(number, restore)
    }

    static func plan(_ number: UInt32, _ restore: RestorePlan) throws {
        restore[HostName.self].inner[number] = try entry(number, restore)
    }

    private static func entry(_ number: UInt32, _ restore: RestorePlan) throws -> UtsnsEntry {
        let entry: UtsnsEntry = try restore.images.directory.entry(.utsns, number)
        for name in [entry.nodename, entry.domainname] where name.utf8.count > 64 || name.utf8.contains(0) {
            throw CheckpointError("utsns.img: no host is called `\(name.prefix(100))`")
        }
        return entry
    }

    /// In the new container's namespace.
    static func recreate(in workshop: Workshop) throws {
        guard let entry = workshop[HostName.self].entry, workshop.policy.makesHostName else { return }
        try set(entry, of: workshop.firstProcess)
    }

    /// In the namespace that a process has made.
    static func recreate(_ number: UInt32, of process: pid_t, in workshop: Workshop) throws {
        if let entry = workshop[HostName.self].inner[number] { try set(entry, of: process) }
    }

    private static func set(_ entry: UtsnsEntry, of process: pid_t) throws {
        try inNamespace(.uts, of: process) {
            try HostNames(host: entry.nodename, domain: entry.domainname).set()
        }
    }
}
