import LinuxSystem

/// What `criu check --feature` is asked about, in CRIU's names, and what stasis's own engine can do of it.
struct CriuFeature {
    let name: String
    /// The kernel from which on the engine can do it; nil where it cannot. What ``KernelFeature`` can try is tried.
    let kernel: KernelRelease?

    private init(_ name: String, _ major: Int, _ minor: Int) {
        (self.name, kernel) = (name, KernelRelease(major: major, minor: minor))
    }

    private init(notBuilt name: String) { (self.name, kernel) = (name, nil) }

    func isThere(on running: KernelRelease) -> Bool {
        if kernel != nil, let tried = KernelFeature.all.first(where: { $0.name == name }) { return tried.isThere }
        return kernel.map { $0 <= running } ?? false
    }

    static let all: [CriuFeature] =
        [
            CriuFeature("can_map_vdso", 4, 8), CriuFeature("cgroupns", 4, 6), CriuFeature("clone3_set_tid", 5, 5),
            CriuFeature("external_net_ns", 3, 8), CriuFeature("fdinfo_lock", 4, 1),
            CriuFeature("get_rseq_conf", 5, 13), CriuFeature("kcmp", 3, 5), CriuFeature("mem_dirty_track", 3, 2),
            CriuFeature("mnt_id", 3, 15),
            CriuFeature("openat2", 5, 6), CriuFeature("overlayfs_maps", 6, 7), CriuFeature("pagemap_scan", 6, 7),
            CriuFeature("seccomp_filters", 4, 16), CriuFeature("seccomp_suspend", 4, 3),
            CriuFeature("sockopt_buf_lock", 5, 15), CriuFeature("timens", 5, 6),
            CriuFeature("timer_cr_ids", 6, 15), CriuFeature("timerfd", 3, 17),
        ]
        + [
            "aio_remap", "autofs", "compat_cr", "has_ipt_legacy", "ipv6_freebind", "lazy_pages", "link_nsid",
            "loginuid", "move_mount_set_group", "net_diag_raw", "network_lock_nftables",
            "newifindex", "nftables", "nsid", "pidfd_store", "sk_ns", "sk_unix_file", "tcp_half_closed", "tun", "uffd",
            "uffd-noncoop", "userns",
        ].map(CriuFeature.init(notBuilt:))
}

/// `6.18` of `6.18.5-cloud`.
struct KernelRelease: Comparable {
    var major: Int
    var minor: Int

    init(major: Int, minor: Int) { (self.major, self.minor) = (major, minor) }

    init(_ text: String) {
        let numbers = text.split { !$0.isNumber }.prefix(2).map { Int($0) ?? 0 }
        (major, minor) = (numbers.first ?? 0, numbers.count > 1 ? numbers[1] : 0)
    }

    static func < (one: Self, other: Self) -> Bool { (one.major, one.minor) < (other.major, other.minor) }
}
