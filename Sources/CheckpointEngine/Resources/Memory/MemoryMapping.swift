import CheckpointImages
import LinuxSystem
import Tracee

/// What a mapping is: the `status` bits of a vma_entry.
struct MappingKind: OptionSet {
    let rawValue: UInt32
    static let regular = MappingKind(rawValue: 1 << 0)
    static let vsyscall = MappingKind(rawValue: 1 << 2)
    static let vdso = MappingKind(rawValue: 1 << 3)
    static let heap = MappingKind(rawValue: 1 << 5)
    static let filePrivate = MappingKind(rawValue: 1 << 6)
    static let fileShared = MappingKind(rawValue: 1 << 7)
    static let anonymousShared = MappingKind(rawValue: 1 << 8)
    static let anonymousPrivate = MappingKind(rawValue: 1 << 9)
    static let systemV = MappingKind(rawValue: 1 << 10)
    static let vvar = MappingKind(rawValue: 1 << 12)
    static let memfd = MappingKind(rawValue: 1 << 14)
    /// No mapping, but guard pages in those before it.
    static let guardPages = MappingKind(rawValue: 1 << 16)
    /// Nobody may change it any more. mseal(2), Linux 6.10.
    static let sealed = MappingKind(rawValue: 1 << 17)
}

extension VmaEntry {
    var kind: MappingKind { MappingKind(rawValue: status) }
    var length: UInt64 { end - start }
    /// Whether its pages can be the process's own, and so are in its pagemap.
    var isPrivate: Bool {
        !kind.isDisjoint(with: [.filePrivate, .anonymousPrivate]) && kind.isDisjoint(with: [.vvar, .vsyscall])
    }
    /// Whether the program has sealed it. The kernel's own mappings come as the kernel has them.
    var isSealed: Bool { kind.contains(.sealed) && kind.isDisjoint(with: [.vdso, .vvar, .vsyscall]) }
    /// MAP_DROPPABLE, kernel 6.11: the kernel may take its pages away at any time.
    var isDroppable: Bool { flags & 0xf == 0x8 }

    init(guardPages range: Range<UInt64>) {
        self.init()
        start = range.lowerBound
        end = range.upperBound
        pgoff = 0
        shmid = 0
        prot = 0
        flags = 0
        status = MappingKind.guardPages.rawValue
        fd = -1
    }
}

/// mmap(2): the mappings of a process.
enum MemoryMapping: Kind {
    static let pageSize: UInt64 = 4096

    /// Mappings as the image format has them. Files that are mapped get entries in `dump.files`.
    ///
    /// - Parameter flags: VmFlags, read before the process stood still.
    static func capture(
        _ process: CapturedProcess, flags: [Range<UInt64>: MappingFlags], into dump: Dump
    ) throws -> [VmaEntry] {
        var entries: [VmaEntry] = []
        let lines = try memoryMap(of: process.task)
        // Whoever mapped something since then costs the container the time to look again.
        let isStale = lines.contains { flags[$0.range] == nil && !$0.name.hasPrefix("[v") }
        let flags = isStale ? try mappingFlags(of: process.task) : flags
        for line in lines {
            let told = flags[line.range]
            let entry = try about("mapping \(RemoteAddress(line.start))-\(RemoteAddress(line.end)) \(line.name)") {
                try capture(line, flags: told, process, into: dump)
            }
            // vvar and vvar_vclock are one mapping to CRIU, and to the call that makes them.
            if entry.kind.contains(.vvar), let last = entries.last, last.kind.contains(.vvar), last.end == entry.start {
                entries[entries.count - 1].end = entry.end
            } else {
                entries.append(entry)
            }
        }
        return entries
    }

    private static func capture(
        _ line: MemoryMapLine, flags: MappingFlags?, _ process: CapturedProcess, into dump: Dump
    ) throws -> VmaEntry {
        var entry = VmaEntry()
        entry.start = line.start
        entry.end = line.end
        entry.pgoff = line.offset
        entry.shmid = 0
        entry.prot = line.protection
        entry.flags = line.isShared ? 1 : 2
        entry.fd = -1
        var kind: MappingKind = .regular
        let link = "/proc/\(process.task)/map_files/\(line.link)"
        switch line.name {
        case "[vsyscall]": kind = [.vsyscall, .anonymousPrivate]
        case "[vvar]", "[vvar_vclock]": kind = [.regular, .vvar, .anonymousPrivate]
        case "[vdso]": kind = [.regular, .vdso, .anonymousPrivate]
        case "[heap]": kind = [.regular, .heap, .anonymousPrivate]
        case _ where line.inode == 0 && !line.isShared: kind = [.regular, .anonymousPrivate]
        case "/dev/zero (deleted)" where try line.isShared && MemFD.isOne(status(link)),
            _ where line.isShared && line.name.hasPrefix("[anon_shmem:"):
            kind = [.regular, .anonymousShared]
            entry.shmid = UInt64(SharedMemory.id(of: line.inode, link: link, in: dump))
        case IORing.name[...]:
            kind = [.regular, .fileShared]
            entry.shmid = UInt64(try IORing.id(of: line, process, in: dump))
        case _ where try SystemVSegment.has(line, link, in: dump):
            kind = [.regular, .systemV]
            entry.shmid = line.inode
            entry.fdflags = UInt32(flags?.contains("mw") == false ? O_RDONLY : O_RDWR)
        default:
            kind = [.regular, line.isShared ? .fileShared : .filePrivate]
            let mayWrite = flags?.contains("mw") ?? true
            let file = try file(of: line, link, mayWrite: mayWrite, into: dump)
            entry.shmid = UInt64(file.id)
            entry.fdflags = file.access
            if file.isMemory { kind.insert(.memfd) }
        }
        if kind.contains(.anonymousPrivate) || kind.contains(.anonymousShared) { entry.flags |= 0x20 }
        if kind.contains(.anonymousPrivate) { entry.pgoff = 0 }
        if line.name == "[stack]" { entry.flags |= 0x100 }
        // The kernel's own pages carry flags of their own (vvar says `io`).
        if kind.isDisjoint(with: [.vvar, .vdso, .vsyscall]) {
            let isRing = line.name == IORing.name
            try apply((flags ?? MappingFlags()).subtracting(isRing ? IORing.mappingFlags : []), to: &entry)
        }
        if flags?.contains("sl") == true { kind.insert(.sealed) }
        entry.status = kind.rawValue
        return entry
    }

    /// What memory is that looks like an unlinked file, and has never had a name: by what /proc calls it.
    static func nameless(_ path: some StringProtocol) -> String? {
        guard path.hasSuffix(" (deleted)") else { return nil }
        return names.first { path.hasPrefix($0.prefix) }?.what
    }

    private static let names: [(prefix: String, what: String)] = [
        ("/SYSV", "System V shared memory of huge pages (SHM_HUGETLB)"),
        ("/memfd:", "a memory file of huge pages (MFD_HUGETLB)"),
        ("/secretmem", "secret memory (memfd_secret)"), ("/[aio]", "asynchronous I/O (io_setup)"),
        ("/anon_hugepage", "huge pages of hugetlbfs"),
    ]

    /// Advice and restrictions that only smaps tells, by the letters of proc_pid_smaps(5).
    private static func apply(_ flags: MappingFlags, to entry: inout VmaEntry) throws {
        if let refused = flags.subtracting(kept).sorted().first {
            let what = refusals[refused].map { "\($0) (VmFlags \(refused))" } ?? "memory with the VmFlags \(refused)"
            throw CheckpointError("\(what) cannot be checkpointed yet")
        }
        // Memory that may be executed and not read has a key of the kernel's own choice.
        if flags.contains(MemoryMapLine.keyed), entry.prot != UInt32(PROT_EXEC) {
            throw CheckpointError("memory with a protection key (pkey_mprotect) cannot be checkpointed yet")
        }
        if flags.contains("gd") { entry.flags |= 0x100 }
        if flags.contains("nr") { entry.flags |= 0x4000 }
        if flags.contains("lo") { entry.flags |= 0x2000 }
        if flags.contains("lf") { entry.flags |= lockedOnFault }
        if flags.contains("dp") { entry.flags = entry.flags & ~0xf | 0x8 }
        let bits = advice.filter { flags.contains($0.0) }.reduce(UInt64(0)) { $0 | 1 << $1.1 }
        if bits != 0 { entry.madv = bits }
    }

    /// MAP_NONBLOCK beside MAP_LOCKED: what is locked is not brought in before it is used (mlock2(2) MLOCK_ONFAULT).
    private static let lockedOnFault: UInt32 = 0x1_0000

    private static let advice: [(Substring, UInt64)] = [
        ("sr", 2), ("rr", 1), ("dc", 10), ("dd", 16), ("mg", 12), ("hg", 14), ("nh", 15), ("wf", 18),
    ]

    /// What is kept, comes with the mapping, or (`gu`) is looked for page by page.
    private static let kept = Set<Substring>([
        "rd", "wr", "ex", "sh", "mr", "mw", "me", "ms", "dw", "ac", "sd", "mm", "gd", "nr", "lo", "lf", "dp", "gu",
        "sl", MemoryMapLine.keyed,
    ]).union(advice.map(\.0))

    private static let refusals: [Substring: String] = [
        "io": "memory of a device", "pf": "memory of a device", "ht": "huge pages of hugetlbfs",
        "um": "memory that a userfaultfd watches",
        "uw": "memory that a userfaultfd watches", "ui": "memory that a userfaultfd watches", "ss": "a shadow stack",
    ]

    /// The entry of a mapped file, and how it was opened.
    ///
    /// - Parameter mayWrite: whether mprotect(2) could let the program write there. Not if the file was sealed before.
    private static func file(
        of line: MemoryMapLine, _ link: String, mayWrite: Bool, into dump: Dump
    ) throws -> PageDump.MappedFile {
        // A mapping that is shared and may be written needs the file opened for writing, whatever it allows now.
        var access = UInt32(O_RDONLY)
        // The link's mode tells how the file behind it was opened.
        if line.isShared, mayWrite, try status(link, flags: AT_SYMLINK_NOFOLLOW).st_mode & 0o200 != 0 {
            access = UInt32(O_RDWR)
        }
        let mount = try dump.mount(of: link)
        let key = "\(line.device) \(line.inode) \(access) \(mount) \(line.name)"
        if let known = dump.pages.mappedFiles[key] { return known }
        let (status, id) = (try status(link), dump.files.newID())
        // In /proc/PID/maps a new line within the name is four characters.
        let path = try linkTarget(link)
        let memory = try MemFD.entry(
            path: path, link: link, status: status, flags: access, position: 0, id: id, in: dump)
        if memory == nil, let what = nameless(line.name) {
            throw CheckpointError("\(what) cannot be checkpointed yet")
        }
        try dump.files.add(
            memory
                ?? RegularFile.entry(
                    path: path, link: link, status: status, flags: access, position: 0, mount: mount, id: id,
                    isMapped: true, in: dump))
        let file = PageDump.MappedFile(id: id, access: access, isMemory: memory != nil)
        dump.pages.mappedFiles[key] = file
        return file
    }

    private static func status(_ path: String, flags: CInt = 0) throws -> stat {
        try LinuxSystem.status(at: AT_FDCWD, path, flags: flags)
    }

    /// Makes a mapping where it was. Pages that will be filled need it writable at first: see
    /// ``protect(_:isFilled:hasGuards:in:)``.
    ///
    /// - Parameter descriptor: of the mapped file or shared memory, in the task that runs the program.
    static func recreate(_ entry: VmaEntry, descriptor: CInt?, isFilled: Bool, in program: inout Program) {
        var flags = UInt64(entry.flags) & (0xf | 0x20 | 0x100 | 0x4000) | 0x10
        if descriptor != nil { flags &= ~0x20 }
        let protection = UInt64(entry.prot) | (isFilled ? 2 : 0)
        let isFile = descriptor != nil
        let kind = entry.isDroppable ? "mmap (MAP_DROPPABLE, Linux 6.11)" : "mmap"
        program.call(
            "\(kind) of \(RemoteAddress(entry.start))-\(RemoteAddress(entry.end))", Int(SYS_mmap),
            [
                entry.start, entry.length, protection, flags, isFile ? UInt64(descriptor ?? -1) : UInt64.max,
                isFile ? entry.pgoff : 0,
            ])
    }

    /// Last of all that is done to mappings: nobody can take it back.
    static func arm(_ plan: ProcessPlan, in restore: RestorePlan, by runner: inout ProgramRunner) throws {
        guard plan.completed.contains(.memory) else { return }
        for sealed in ProgramRunner.portions(plan.mm.vmas.filter(\.isSealed)) {
            try runner.add { program in
                for mapping in sealed {
                    program.call(
                        "mseal (Linux 6.10) of \(RemoteAddress(mapping.start))-\(RemoteAddress(mapping.end))", mseal,
                        [mapping.start, mapping.length, 0])
                }
            }
        }
    }

    /// SYS_mseal
    private static let mseal = 462

    /// Locked memory takes no guard pages: they come before ``protect(_:isFilled:hasGuards:in:)``.
    static func installGuards(_ guards: [VmaEntry], in program: inout Program) {
        for pages in guards {
            program.call(
                "guard pages (Linux 6.13) at \(RemoteAddress(pages.start))-\(RemoteAddress(pages.end))",
                Int(SYS_madvise), [pages.start, pages.length, UInt64(CLINUX_MADV_GUARD_INSTALL)])
        }
    }

    /// Brings a filled mapping to its own protection, and gives back what the program advised the kernel.
    static func protect(_ entry: VmaEntry, isFilled: Bool, hasGuards: Bool, in program: inout Program) {
        let range = "\(RemoteAddress(entry.start))-\(RemoteAddress(entry.end))"
        // Whatever an image has for it: the same state of a generator would give the same random numbers.
        if isFilled && entry.isDroppable {
            program.call("emptying of \(range)", Int(SYS_madvise), [entry.start, entry.length, UInt64(MADV_DONTNEED)])
        }
        if isFilled && entry.prot & 2 == 0 {
            program.call("mprotect of \(range)", Int(SYS_mprotect), [entry.start, entry.length, UInt64(entry.prot)])
        }
        for bit in UInt64(0)..<64 where entry.madv & (1 << bit) != 0 {
            program.call("madvise \(bit) of \(range)", Int(SYS_madvise), [entry.start, entry.length, bit])
        }
        guard entry.flags & 0x2000 != 0 else { return }
        // The second call also brings in what is not there yet. A guard page stops it with ENOMEM; the mapping is
        // locked all the same.
        program.call("mlock2 of \(range)", Int(SYS_mlock2), [entry.start, entry.length, 1])
        if entry.flags & lockedOnFault == 0 {
            program.call(
                "mlock of \(range)", Int(SYS_mlock), [entry.start, entry.length],
                tolerated: hasGuards ? [ENOMEM] : [])
        }
    }
}
