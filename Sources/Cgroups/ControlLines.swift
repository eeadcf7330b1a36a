import OCISpec

// Values of config.json as lines of control files that v1 and v2 share.

extension Optional where Wrapped: BinaryInteger {
    /// Clients write 0 for a limit that they do not set.
    var nonZero: Wrapped? { self == 0 ? nil : self }
}

extension Pids {
    /// -1 is no limit. 0 is one process, the least that a container can have and that systemd can be told.
    var line: String? { limit.map { $0 < 0 ? "max" : String(max($0, 1)) } }
}

extension Rdma {
    func line(_ device: String) -> String {
        let handles = hcaHandles.map { " hca_handle=\($0)" } ?? ""
        let objects = hcaObjects.map { " hca_object=\($0)" } ?? ""
        return device + handles + objects
    }
}

extension ControlFiles {
    /// Limits pages in use, and reserved ones where the kernel (5.7) counts them.
    func set(_ limit: HugepageLimit, suffix: String) throws(CgroupError) {
        let field = "hugepageLimits[\(limit.pageSize)]"
        try set("hugetlb.\(limit.pageSize).\(suffix)", limit.limit, field: field)
        let reserved = "hugetlb.\(limit.pageSize).rsvd.\(suffix)"
        if has(reserved) { try set(reserved, limit.limit, field: field) }
    }
}
