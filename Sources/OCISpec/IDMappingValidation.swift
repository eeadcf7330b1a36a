extension Linux {
    /// What the kernel would only call invalid. user_namespaces(7).
    func checkMappings() throws(FieldError) {
        for (name, mappings) in [("uidMappings", uidMappings), ("gidMappings", gidMappings)] {
            let field = "linux.\(name)"
            guard let namespace = namespaces.first(where: { $0.type == .user }) else {
                if mappings.isEmpty { continue }
                throw FieldError(field, "user namespace mappings specified, but no user namespace")
            }
            try mappings.check(field)
            if !(namespace.path ?? "").isEmpty, mappings.isEmpty { continue }
            if mappings.isEmpty { throw FieldError(field, "user namespace enabled, but no mappings specified") }
            if mappings.hostID(of: 0) == nil { throw FieldError(field, "the container's id 0 is not mapped") }
        }
    }
}

extension Mount {
    func checkMappings(_ field: String, of linux: Linux?) throws(FieldError) {
        try uidMappings.check("\(field).uidMappings")
        try gidMappings.check("\(field).gidMappings")
        if uidMappings.isEmpty != gidMappings.isEmpty {
            throw FieldError("\(field).\(uidMappings.isEmpty ? "uid" : "gid")Mappings", "missing: both are needed")
        }
        guard options.contains("idmap") || options.contains("ridmap"), uidMappings.isEmpty else { return }
        guard linux?.has(.user) == true else {
            throw FieldError("\(field).uidMappings", "missing, and no user namespace has some to take")
        }
    }
}

extension IDMapping {
    fileprivate var containerIDs: Range<UInt64> { UInt64(containerID)..<UInt64(containerID) + UInt64(size) }
    fileprivate var hostIDs: Range<UInt64> { UInt64(hostID)..<UInt64(hostID) + UInt64(size) }
}

extension [IDMapping] {
    fileprivate func check(_ field: String) throws(FieldError) {
        if count > 340 { throw FieldError(field, "the kernel takes at most 340 mappings") }
        for (index, mapping) in enumerated() {
            let field = "\(field)[\(index)]"
            if mapping.size == 0 { throw FieldError("\(field).size", "must be greater than zero") }
            for (name, range) in [("containerID", mapping.containerIDs), ("hostID", mapping.hostIDs)] {
                // The last number means "no id".
                if range.upperBound > UInt64(UInt32.max) {
                    throw FieldError(
                        "\(field).size", "\(name) \(range.lowerBound) and \(mapping.size) more exceed 32 bits")
                }
            }
            for (earlier, other) in self[..<index].enumerated() {
                if other.containerIDs.overlaps(mapping.containerIDs) {
                    throw FieldError("\(field).containerID", "overlaps the ids of mapping \(earlier)")
                }
                if other.hostIDs.overlaps(mapping.hostIDs) {
                    throw FieldError("\(field).hostID", "overlaps the ids of mapping \(earlier)")
                }
            }
        }
    }

    /// What an id of the container is outside; nil if it is nothing there.
    package func hostID(of id: UInt32) -> UInt32? {
        for mapping in self where id >= mapping.containerID && id - mapping.containerID < mapping.size {
            return mapping.hostID + (id - mapping.containerID)
        }
        return nil
    }
}
