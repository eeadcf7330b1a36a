import CheckpointImages
import LinuxSystem

/// Host and domain name of a container with a UTS namespace of its own, if they are not those of config.json any more.
/// uts_namespaces(7).
enum HostName: Kind {
    final class RestoreState: KindState {
        fileprivate var entry: UtsnsEntry?
    }

    static func seal(_ dump: Dump) throws {
        guard let configured = dump.configuredNames, let ids = dump.rootIDs else { return }
        let names = try inNamespace(.uts, of: dump.first.hostPid) { try HostNames.current() }
        guard names != configured else { return }
        try dump.images.add(
            .utsns, ids.utsNsID,
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
        let entry: UtsnsEntry = try restore.images.directory.entry(.utsns, number)
        restore[HostName.self].entry = entry
        for name in [entry.nodename, entry.domainname] where name.utf8.count > 64 || name.utf8.contains(0) {
            throw CheckpointError("utsns.img: no host is called `\(name.prefix(100))`")
        }
    }

    /// In the new container's namespace.
    static func recreate(in workshop: Workshop) throws {
        guard let entry = workshop[HostName.self].entry, workshop.policy.makesHostName else { return }
        try inNamespace(.uts, of: workshop.firstProcess) {
            try HostNames(host: entry.nodename, domain: entry.domainname).set()
        }
    }
}
