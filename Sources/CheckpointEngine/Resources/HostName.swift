import CheckpointImages
import LinuxSystem

/// Host and domain name of a container with a UTS namespace of its own, if they are not those of config.json any more.
/// uts_namespaces(7).
enum HostName {
    static func capture(into dump: Dump, configured: HostNames?) throws {
        guard let configured, let ids = dump.rootIDs else { return }
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
    static func check(_ entry: UtsnsEntry) throws {
        for name in [entry.nodename, entry.domainname] where name.utf8.count > 64 || name.utf8.contains(0) {
            throw CheckpointError("utsns.img: no host is called `\(name.prefix(100))`")
        }
    }

    /// In the new container's namespace.
    static func recreate(_ entry: UtsnsEntry, of first: pid_t) throws {
        try inNamespace(.uts, of: first) {
            try HostNames(host: entry.nodename, domain: entry.domainname).set()
        }
    }
}
