/// What not every kernel has, and how to find out: by trying, when somebody asks. CRIU's names, where it has one.
public struct KernelFeature: Sendable, CustomStringConvertible {
    public let name: String
    /// The system call and the configuration that bring it.
    public let origin: String
    /// The first kernel that can have it.
    public let since: String
    /// What the engine does with it; without it that is refused by name.
    public let purpose: String
    /// Whether there is no checkpoint without it.
    public var isNeeded = false
    private let probe: @Sendable () -> Bool

    public var isThere: Bool { probe() }
    public var description: String { name }

    public static let all: [KernelFeature] = [
        KernelFeature(
            name: "kcmp", origin: "kcmp(2), CONFIG_KCMP", since: "3.5", purpose: "every checkpoint", isNeeded: true,
            probe: { call(SYS_kcmp, Int(getpid()), Int(getpid()), 1) == 0 }),  // KCMP_VM
        KernelFeature(
            name: "pagemap_scan", origin: "PAGEMAP_SCAN, CONFIG_PROC_PAGE_MONITOR", since: "6.7",
            purpose: "finding pages; else /proc/PID/pagemap is read page by page", probe: { canScanPagemap }),
        KernelFeature(
            name: "pidfd_getfd", origin: "pidfd_getfd(2)", since: "5.6", purpose: "every checkpoint", isNeeded: true,
            probe: { failure(SYS_pidfd_getfd, -1, 0, 0) == EBADF }),
        KernelFeature(
            name: "clone3_set_tid", origin: "clone3(2) set_tid, CONFIG_CHECKPOINT_RESTORE", since: "5.5",
            purpose: "every restore", isNeeded: true, probe: { canChooseIDs }),
        KernelFeature(
            name: "mm_map", origin: "PR_SET_MM_MAP, CONFIG_CHECKPOINT_RESTORE", since: "3.18", purpose: "every restore",
            isNeeded: true,
            probe: {
                var size: UInt32 = 0
                return withUnsafeMutablePointer(to: &size) { call(SYS_prctl, 35, 15, Int(bitPattern: $0)) == 0 }
            }),
        KernelFeature(
            name: "timens", origin: "time_namespaces(7), CONFIG_TIME_NS", since: "5.6",
            purpose: "clocks that go on where they were", probe: { access("/proc/self/ns/time", F_OK) == 0 }),
        KernelFeature(
            name: "timer_cr_ids", origin: "PR_TIMER_CREATE_RESTORE_IDS", since: "6.15",
            purpose: "the ids of POSIX timers", probe: { call(SYS_prctl, 77, 2) >= 0 }),
        KernelFeature(
            name: "sockopt_buf_lock", origin: "SO_BUF_LOCK", since: "5.15", purpose: "sizes of socket buffers",
            probe: { hasSocketOption(72) }),
        KernelFeature(
            name: "peer_pidfd", origin: "SO_PEERPIDFD", since: "6.5", purpose: "whether a socket's peer has ended",
            probe: { hasSocketOption(77) }),
        KernelFeature(
            name: "membarrier_registrations", origin: "MEMBARRIER_CMD_GET_REGISTRATIONS, CONFIG_MEMBARRIER",
            since: "6.3", purpose: "registrations for membarrier(2)", probe: { call(SYS_membarrier, 0x200, 0, 0) >= 0 }),
        KernelFeature(
            name: "droppable_memory", origin: "MAP_DROPPABLE", since: "6.11", purpose: "memory of that kind",
            probe: { onPage(CInt(0x8)) { _ in true } }),
        KernelFeature(
            name: "guard_pages", origin: "MADV_GUARD_INSTALL", since: "6.13", purpose: "guard pages",
            probe: { onPage(MAP_PRIVATE) { madvise($0, 4096, CInt(CLINUX_MADV_GUARD_INSTALL)) == 0 } }),
    ]

    /// Those that are not here.
    public static var missing: [KernelFeature] { all.filter { !$0.isThere } }

    private static func call(_ number: some BinaryInteger, _ a: Int = 0, _ b: Int = 0, _ c: Int = 0) -> Int {
        clinux_syscall(Int(number), a, b, c, 0, 0, 0)
    }

    private static func failure(_ number: some BinaryInteger, _ a: Int, _ b: Int, _ c: Int) -> CInt {
        call(number, a, b, c) < 0 ? Errno.current.rawValue : 0
    }

    /// Asked for nothing, a kernel that knows the request finds no arguments there (EFAULT).
    private static var canScanPagemap: Bool {
        guard let file = try? openAt(AT_FDCWD, "/proc/self/pagemap", O_RDONLY) else { return false }
        return clinux_ioctl(file.raw, UInt(clinux_pagemap_scan()), 0) < 0 && Errno.current.rawValue == EFAULT
    }

    /// struct clone_args has set_tid from its second size (80 bytes) on. An address without a count is no valid argument.
    private static var canChooseIDs: Bool {
        var words = [UInt64](repeating: 0, count: 10)
        words[8] = 1
        return words.withUnsafeBufferPointer {
            failure(CLINUX_SYS_clone3, Int(bitPattern: $0.baseAddress), 80, 0) == EINVAL
        }
    }

    private static func hasSocketOption(_ option: CInt) -> Bool {
        guard let pair = try? socketPair(1) else { return false }
        var value: CInt = 0
        var length = socklen_t(4)
        guard getsockopt(pair.first.raw, SOL_SOCKET, option, &value, &length) == 0 else { return false }
        if option == 77 { close(value) }
        return true
    }

    private static func onPage(_ flags: CInt, _ body: (UnsafeMutableRawPointer) -> Bool) -> Bool {
        guard let page = mmap(nil, 4096, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0),
            Int(bitPattern: page) != -1
        else { return false }
        defer { munmap(page, 4096) }
        return body(page)
    }
}
