import LinuxSystem

/// Binds over a container's procfs. One that the image or a volume has made up would get what is meant for the kernel,
/// and hide what is to be masked (CVE-2019-16884).
enum ProcfsCover {
    /// Files that lxcfs emulates; runc lets the same be covered.
    private static let emulated: Set<String> = [
        "cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime",
        "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled",
    ]

    /// What the path says by itself; before anything is made there, which procfs would refuse in words of its own.
    static func check(_ destination: String) throws(SystemError) {
        let place = RootMounts.clean(destination)
        guard place.hasPrefix("/proc/"), !emulated.contains(String(place.dropFirst("/proc/".count))) else { return }
        throw inside(place)
    }

    private static func inside(_ place: String) -> SystemError {
        SystemError(.notSupported, "\(place.quoted) cannot be mounted because it is inside /proc")
    }

    /// - Parameter target: what `destination` has led to.
    static func check(_ source: CInt, over target: CInt, at destination: String) throws(SystemError) {
        let proc = UInt64(PROC_SUPER_MAGIC)
        let place = RootMounts.clean(destination)
        if place == "/proc" {
            guard try filesystemMagic(of: source) == proc else {
                throw SystemError(.notSupported, "\(place.quoted) cannot be mounted because it is not of type proc")
            }
        } else if try filesystemMagic(of: target) == proc,
            !place.hasPrefix("/proc/") || !emulated.contains(String(place.dropFirst("/proc/".count)))
        {
            throw inside(place)
        }
    }
}
