import CheckpointImages
import LinuxSystem
import Tracee

/// Gives one process its descriptors and its memory.
///
/// All that the engine has made for it travels in one go over a socket (SCM_RIGHTS). The process has no other descriptor
/// then, so they arrive as 0, 1, 2, …: first those that it keeps, ascending by their final number, then the ones that it
/// needs only to map files and go to its directory. The kept ones move up from the last to the first: a
/// final number is never below the one it arrived at, so nothing is overwritten that has not moved yet.
struct Furnishing {
    let plan: ProcessPlan
    let images: RestoreImages
    let workshop: Workshop
    let shared: SharedMemoryStore
    let area: InjectedArea
    private var sent: [CInt]
    private var numbers: [String: CInt] = [:]
    private let spare: RemoteAddress

    init(
        _ plan: ProcessPlan, _ images: RestoreImages, _ policy: RestorePolicy, _ workshop: Workshop,
        _ shared: SharedMemoryStore, _ area: InjectedArea
    ) throws {
        self.plan = plan
        self.images = images
        self.workshop = workshop
        self.shared = shared
        self.area = area
        spare = area.end
        workshop.opener = try Opener(plan, policy, area)
        let owner = plan.cores[0].threadCore.creds
        sent = try workshop.asOwner(user: owner.euid, group: owner.egid) {
            try RegularFile.openAhead(plan.descriptors.map(\.id), in: workshop)
            return try plan.descriptors.map { entry in
                try about("descriptor \(entry.fd)") {
                    if let file = workshop.entry(entry.id),
                        let stream = ExternalFile.stream(for: file, number: entry.fd, in: workshop)
                    {
                        return workshop.keep(try workshop.standardStream(stream, for: file))
                    }
                    return try workshop.descriptor(for: entry.id)
                }
            }
        }
    }

    /// The number at which the task will find a descriptor of ours that it needs only now.
    private mutating func number(_ name: String, _ make: () throws -> CInt) rethrows -> CInt {
        if let known = numbers[name] { return known }
        let descriptor = try make()
        sent.append(descriptor)
        numbers[name] = CInt(sent.count - 1)
        return CInt(sent.count - 1)
    }

    mutating func run() throws {
        let stub = plan.stubs[0]
        let mapped = try plan.mm.vmas.map { try descriptor(for: $0) }
        let executableHere = try executableFile()
        let executable = number("exe") { executableHere }
        let directoryHere = try workingDirectory()
        let directory = number("cwd") { directoryHere }

        var runner = ProgramRunner(stub, area)
        let socket = try receive(&runner)
        for (mapping, descriptor) in zip(plan.mm.vmas, mapped) {
            guard let descriptor, let id = try SharedMemoryStore.id(of: mapping, images) else { continue }
            try shared.fill(id, descriptor: descriptor, at: spare, by: &runner)
        }
        try fillMemory(mapped, by: &runner)
        try runner.add { ProcessAttributes.recreateLayout(plan.mm, executable: executable, in: &$0) }
        try runner.add { $0.call("fchdir", Int(SYS_fchdir), [UInt64(directory)]) }
        try runner.add {
            $0.call("umask", Int(SYS_umask), [UInt64(plan.directories.umask)])
            $0.call(
                "close_range", Int(CLINUX_SYS_close_range), [UInt64(plan.descriptors.count), UInt64(socket - 1), 0])
        }
        try settleDescriptors(&runner, socket: socket)
        try runner.flush()
    }

    private mutating func descriptor(for mapping: VmaEntry) throws -> CInt? {
        let kind = mapping.kind
        guard kind.isDisjoint(with: [.vdso, .vvar, .vsyscall]) else { return nil }
        if let id = try SharedMemoryStore.id(of: mapping, images) {
            let descriptor = try shared.descriptor(id)
            return number("shared \(id)") { descriptor }
        }
        guard !kind.isDisjoint(with: [.filePrivate, .fileShared]) else { return nil }
        let id = UInt32(truncatingIfNeeded: mapping.shmid)
        guard let entry = workshop.entry(id), entry.hasReg, !entry.reg.ext else {
            throw CheckpointError(
                "mm-\(plan.pid).img: mapping \(RemoteAddress(mapping.start)) is of file \(id), which cannot be mapped")
        }
        // One file may be mapped shared and writable here, private there.
        let access =
            kind.contains(.fileShared) && mapping.fdflags & UInt32(O_ACCMODE) == UInt32(O_RDWR) ? O_RDWR : O_RDONLY
        let workshop = workshop
        return try number("file \(id) \(access)") {
            try workshop.passingDescriptor(for: entry.reg, flags: access)
        }
    }

    private func executableFile() throws -> CInt {
        guard let entry = workshop.entry(plan.mm.exeFileID), entry.hasReg, !entry.reg.ext else {
            throw CheckpointError("mm-\(plan.pid).img: its executable is file \(plan.mm.exeFileID), which is none")
        }
        return try workshop.passingDescriptor(for: entry.reg, flags: O_RDONLY)
    }

    private func workingDirectory() throws -> CInt {
        guard let entry = workshop.entry(plan.directories.cwdID), entry.hasReg, !entry.reg.ext else {
            throw CheckpointError("fs-\(plan.pid).img: its directory is file \(plan.directories.cwdID), which is none")
        }
        return try about("working directory") {
            try workshop.passingDescriptor(for: entry.reg, flags: CLINUX_O_PATH | O_DIRECTORY)
        }
    }

    /// Lets the task receive everything.
    ///
    /// - Returns: the number of its socket, above all others.
    private func receive(_ runner: inout ProgramRunner) throws -> CInt {
        let highest = max(plan.descriptors.last.map { CInt($0.fd) } ?? 0, CInt(sent.count))
        let socket = highest + 1
        let stub = plan.stubs[0]
        let hard = try ResourceLimits.openFiles(of: stub.hostProcess)
        guard UInt64(socket) < hard else {
            throw CheckpointError("\(plan): needs descriptor \(socket), but the limit here is \(hard)")
        }
        try runner.add {
            Opener.closeAll(in: &$0)
            let value = $0.place(value: SIMD2<UInt64>(hard, hard))
            $0.call("prlimit of open files", Int(SYS_prlimit64), [0, 7, value.raw, 0])
            let pair = $0.reserve(8)
            $0.call("socketpair", Int(SYS_socketpair), [UInt64(AF_UNIX), 5, 0, pair.raw])
            $0.call("dup2", Int(SYS_dup2), [0, UInt64(socket)])
            $0.call("close", Int(SYS_close), [0])
        }
        try runner.flush()
        let ours = try Pidfd(pid: stub.hostProcess).descriptor(1)
        try runner.add { $0.call("close", Int(SYS_close), [1]) }
        try runner.flush()
        // No more at once than the socket has room for: nobody takes anything out while the engine sends.
        for flight in stride(from: 0, to: sent.count, by: 250 * 32) {
            for start in stride(from: flight, to: min(flight + 250 * 32, sent.count), by: 250) {
                try sendMessage(ours.raw, [1], descriptors: Array(sent[start..<min(start + 250, sent.count)]))
                try receiveMessage(socket, &runner)
            }
            try runner.flush()
        }
        return socket
    }

    /// A header of its own for each message: the kernel writes into it how much control data came.
    private func receiveMessage(_ socket: CInt, _ runner: inout ProgramRunner) throws {
        try runner.add { program in
            let byte = program.reserve(8)
            let control = program.reserve(clinux_cmsg_space(250 * 4))
            let vector = program.place(value: SIMD2<UInt64>(byte.raw, 1))
            // struct msghdr: name, name length, iov, iov length, control, control length, flags
            let header = program.place(
                [0, 0, vector.raw, 1, control.raw, UInt64(clinux_cmsg_space(250 * 4)), 0].flatMap { (word: UInt64) in
                    withUnsafeBytes(of: word) { Array($0) }
                })
            program.call("recvmsg", Int(SYS_recvmsg), [UInt64(socket), header.raw, 0], expecting: 1)
        }
    }

    private func fillMemory(_ mapped: [CInt?], by runner: inout ProgramRunner) throws {
        let stored = plan.pagemap?.entries ?? []
        if let parent = stored.first(where: { $0.pageFlags.contains(.parent) || $0.inParent }) {
            throw CheckpointError(
                "pagemap-\(plan.pid).img: page \(RemoteAddress(parent.vaddr)) is in a parent checkpoint, which cannot be restored yet"
            )
        }
        var ranges: [Range<UInt64>] = []
        var filled: Set<UInt64> = []
        var mappings = plan.mm.vmas[...]
        for entry in stored where entry.isStored {
            var position = entry.vaddr
            let end = entry.vaddr + entry.pageCount * 4096
            while position < end {
                while let first = mappings.first, first.end <= position { mappings = mappings.dropFirst() }
                guard let mapping = mappings.first, mapping.start <= position, mapping.isPrivate else {
                    throw CheckpointError(
                        "pagemap-\(plan.pid).img: page \(RemoteAddress(position)) is in no private mapping")
                }
                let stop = min(end, mapping.end)
                ranges.append(position..<stop)
                filled.insert(mapping.start)
                position = stop
            }
        }
        for (mapping, descriptor) in zip(plan.mm.vmas, mapped) {
            let kind = mapping.kind
            if kind.contains(.vsyscall) || kind.contains(.vdso) { continue }
            if kind.contains(.vvar) {
                try runner.add { KernelCode.recreate(at: mapping.start, in: &$0) }
                continue
            }
            let isFilled = filled.contains(mapping.start)
            try runner.add { MemoryMapping.recreate(mapping, descriptor: descriptor, isFilled: isFilled, in: &$0) }
        }
        if let pagemap = plan.pagemap {
            let code = plan.mm.vmas.first { $0.kind.contains(.vdso) }
            if let code { try KernelCode.check(code, ranges, in: images, plan) }
            // The kernel's code is there already; its pages are passed over.
            let skipped = code.map { $0.start..<$0.end }
            let setting = (try? readText("/sys/kernel/mm/transparent_hugepage/enabled")) ?? ""
            let huge = plan.mm.thpDisabled ? [] : plan.mm.vmas.filter { $0.getsHugePages(setting) }
            let roomy = huge.map { $0.start..<$0.end }
            try PageFill.run(ranges, except: skipped, roomy: roomy, of: pagemap, in: images, by: &runner)
        }
        var guards = plan.guards[...]
        for mapping in plan.mm.vmas where mapping.kind.isDisjoint(with: [.vsyscall, .vdso, .vvar]) {
            let isFilled = filled.contains(mapping.start)
            let inside = guards.prefix { $0.start < mapping.end }
            guards = guards.dropFirst(inside.count)
            for pages in ProgramRunner.portions(Array(inside)) {
                try runner.add { MemoryMapping.installGuards(pages, in: &$0) }
            }
            try runner.add {
                MemoryMapping.protect(mapping, isFilled: isFilled, hasGuards: !inside.isEmpty, in: &$0)
            }
        }
    }

    private func settleDescriptors(_ runner: inout ProgramRunner, socket: CInt) throws {
        for (arrived, entry) in plan.descriptors.enumerated().reversed() {
            try runner.add { program in
                if UInt32(arrived) != entry.fd {
                    program.call("dup2", Int(SYS_dup2), [UInt64(arrived), UInt64(entry.fd)])
                    program.call("close", Int(SYS_close), [UInt64(arrived)])
                }
                if entry.flags & 1 != 0 {
                    program.call("fcntl F_SETFD", Int(SYS_fcntl), [UInt64(entry.fd), UInt64(F_SETFD), 1])
                }
            }
        }
        for entry in plan.descriptors {
            guard let file = workshop.entry(entry.id) else { continue }
            for kind in fileAttributes { try kind.connect(file, number: entry.fd, in: workshop, by: &runner) }
            for kind in fileKinds { try kind.connect(file, number: entry.fd, in: workshop, by: &runner) }
        }
        try runner.add { $0.call("close", Int(SYS_close), [UInt64(socket)]) }
        for kind in kinds { try kind.connect(plan, in: workshop, by: &runner) }
    }
}
