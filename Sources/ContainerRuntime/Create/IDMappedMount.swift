import LinuxSystem
import OCISpec

/// The maps that a mount applies to the owners of its files. mount_setattr(2) MOUNT_ATTR_IDMAP, kernel 5.12.
struct IDMappedMount: Sendable {
    /// A user namespace with these maps, open until the command ends.
    let namespace: CInt
    /// For the mounts below it, too.
    let isRecursive: Bool

    /// For each of the configuration's mounts what it asks for, if it does.
    static func prepare(_ spec: Spec) throws(RuntimeError) -> [IDMappedMount?] {
        var made: [(maps: IDMaps, namespace: CInt)] = []
        var result: [IDMappedMount?] = []
        for (index, mount) in spec.mounts.enumerated() {
            let isRecursive = mount.options.contains("ridmap")
            guard isRecursive || mount.options.contains("idmap") || !mount.uidMappings.isEmpty else {
                result.append(nil)
                continue
            }
            guard mount.isBind else {
                throw RuntimeError("config.json: mounts[\(index)].uidMappings: only a bind mount can have mappings")
            }
            let maps =
                mount.uidMappings.isEmpty
                ? IDMaps(spec.linux) : IDMaps(users: mount.uidMappings, groups: mount.gidMappings)
            let known = made.first { $0.maps == maps }?.namespace
            let namespace = try within("mounts[\(index)].uidMappings") { () throws(RuntimeError) in
                if let known { return known }
                return try makeNamespace(maps, spec.linux)
            }
            if known == nil { made.append((maps, namespace)) }
            result.append(IDMappedMount(namespace: namespace, isRecursive: isRecursive))
        }
        return result
    }

    private static func makeNamespace(_ maps: IDMaps, _ linux: Linux?) throws(RuntimeError) -> CInt {
        // Of a container that joins a user namespace the configuration need not say its maps.
        if maps.users.isEmpty, let path = linux?.namespaces.first(where: { $0.type == .user })?.path {
            return try launching { () throws(SystemError) in try openAt(AT_FDCWD, path, O_RDONLY).release() }
        }
        return try maps.makeNamespace().release()
    }
}
