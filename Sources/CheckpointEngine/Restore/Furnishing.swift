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
    let area: InjectedArea
    /// Whose table this is, if one of its threads has one of its own.
    private let thread: pid_t?
    /// What it keeps; nothing, if another process gets it that shares its table.
    private let kept: [FdinfoEntry]
    private var sent: [CInt]
    private var numbers: [String: CInt] = [:]
    private let spare: RemoteAddress

    init(
        _ plan: ProcessPlan, thread: pid_t? = nil, _ images: RestoreImages, _ policy: RestorePolicy,
        _ workshop: Workshop, _ area: InjectedArea
    ) throws {
        self.plan = plan
        self.thread = thread
        self.images = images
        self.workshop = workshop
        self.area = area
        spare = area.end
        workshop.opener = try Opener(plan, policy, area)
        let own = plan.completed.contains(.descriptors) ? plan.descriptors : []
        let kept = thread.map { plan.threadTables[$0] ?? [] } ?? own
        self.kept = kept
        let owner = plan.cores[0].threadCore.creds
        let mapped = plan.completed.contains(.memory) ? plan.mm.vmas : []
        let passing =
            thread == nil
            ? mapped.compactMap { PassingFile($0, in: workshop) } + [plan.executable, plan.directory] : []
        sent = try workshop.asOwner(user: owner.euid, group: owner.egid) {
            let opened = kept.map(\.id)
            try RegularFile.openAhead(opened, passing: passing, in: workshop)
            let descriptors = try kept.map { entry in
                try about("descriptor \(entry.fd)") {
                    if let file = workshop.entry(entry.id),
                        let stream = ExternalFile.stream(for: file, number: entry.fd, in: workshop)
                    {
                        return workshop.keep(try workshop.standardStream(stream, for: file))
                    }
                    return try workshop.descriptor(for: entry.id)
                }
            }
            for file in images.filesUnderWay(to: opened) { _ = try workshop.descriptor(for: file) }
            return descriptors
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
        let shared = workshop[SharedMemory.self]
        let fillsMemory = plan.completed.contains(.memory)
        let mapped = fillsMemory ? try plan.mm.vmas.map { try descriptor(for: $0) } : []
        let toFill = try shared.empty(in: plan, images).map { ($0, try descriptor(of: $0)) }
        let executableHere = try executableFile()
        let executable = number("exe") { executableHere }
        let directoryHere = try workingDirectory()
        let directory = number("cwd") { directoryHere }
        let departed = try departedTargets()
        let rings = try ringPlaces()
        let lastID = try lastID(before: rings)

        var runner = ProgramRunner(stub, area)
        let socket = try receive(&runner, below: departed.map { CInt($0.target.tfd) }.max())
        try IORing.place(rings, lastID: lastID, of: plan, in: workshop)
        try register(departed, socket, &runner)
        for (id, descriptor) in toFill {
            try shared.fill(id, descriptor: descriptor, at: spare, from: images, by: &runner)
        }
        if fillsMemory { try fillMemory(mapped, executable: executable, by: &runner) }
        try runner.add {
            if plan.completed.contains(.directory) {
                $0.call("fchdir", Int(SYS_fchdir), [UInt64(directory)])
                $0.call("umask", Int(SYS_umask), [UInt64(plan.directories.umask)])
            }
            $0.call("close_range", Int(CLINUX_SYS_close_range), [UInt64(kept.count), UInt64(socket - 1), 0])
        }
        try settleDescriptors(&runner, socket: socket)
        try runner.flush()
    }

    /// Lets one of its threads be born, before the process has any descriptor: with those that are its own, if it has such.
    mutating func bear(_ thread: pid_t) throws {
        let leader = plan.stubs[0]
        let isApart = plan.threadTables[thread] != nil
        var runner = ProgramRunner(leader, area)
        if isApart { try takeDescriptors(&runner) }
        try runner.add { TaskCreation.cloneThread(thread, sharesDescriptors: !isApart, in: &$0) }
        guard let born = try runner.flush().born.first else { throw CheckpointError("was not born") }
        plan.early[thread] = try leader.sibling(born, thread: thread)
    }

    private mutating func takeDescriptors(_ runner: inout ProgramRunner) throws {
        let departed = try departedTargets()
        let socket = try receive(&runner, below: departed.map { CInt($0.target.tfd) }.max())
        try register(departed, socket, &runner)
        try runner.add {
            $0.call("close_range", Int(CLINUX_SYS_close_range), [UInt64(kept.count), UInt64(socket - 1), 0])
        }
        try settleDescriptors(&runner, socket: socket)
    }

    /// What the process has, too, is made complete by it: registrations go by its numbers.
    private var later: Set<UInt32> { thread == nil ? [] : Set(plan.descriptors.map(\.id)) }

    private func fillMemory(_ mapped: [CInt?], executable: CInt, by runner: inout ProgramRunner) throws {
        if let code = plan.mm.vmas.first(where: { $0.kind.contains(.vdso) }) {
            try KernelCode.check(code, in: images, plan)
        }
        let ringMappings = zip(plan.mm.vmas, mapped).compactMap { mapping, number in
            IORing.id(of: mapping, in: workshop) == nil ? nil : number.map { (mapping: mapping, number: $0) }
        }
        try plan.memory.complete(mapped, in: images, by: &runner) { segment, program in
            SystemVSegment.map(segment, by: spare, in: workshop, &program)
        } place: {
            try IORing.map(ringMappings, by: &$0)
        }
        try runner.add { ProcessAttributes.recreateLayout(plan.mm, executable: executable, in: &$0) }
    }

    private mutating func descriptor(for mapping: VmaEntry) throws -> CInt? {
        let kind = mapping.kind
        guard kind.isDisjoint(with: [.vdso, .vvar, .vsyscall]) else { return nil }
        if kind.contains(.anonymousShared) { return try descriptor(of: mapping.shmid) }
        if let ring = IORing.id(of: mapping, in: workshop) { return try number(of: ring) }
        guard let wanted = PassingFile(mapping, in: workshop) else { return nil }
        let file = try passing(wanted) {
            "mm-\(plan.pid).img: mapping \(RemoteAddress(mapping.start)) is of file \(wanted.id), which cannot be mapped"
        }
        return number("file \(wanted.id) \(wanted.flags)") { file }
    }

    /// Registrations of epoll sets, with the numbers at which the sets and their files arrive.
    private mutating func departedTargets() throws -> [(set: Int, target: EventpollTfdEntry, file: CInt)] {
        let later = later
        let registrations = EventPoll.departed(in: kept, workshop).filter { !later.contains(kept[$0.set].id) }
        guard !registrations.isEmpty else { return [] }
        let own = Dictionary(
            kept.enumerated().map { ($1.id, CInt($0)) }, uniquingKeysWith: { one, _ in one })
        let workshop = workshop
        return try registrations.map { set, target, id in
            let file = try own[id] ?? number("target \(id)") { try workshop.descriptor(for: id) }
            return (set, target, file)
        }
    }

    private func register(
        _ departed: [(set: Int, target: EventpollTfdEntry, file: CInt)], _ socket: CInt, _ runner: inout ProgramRunner
    ) throws {
        for (set, target, file) in departed {
            try runner.add {
                EventPoll.register(target, of: file, in: set, free: socket + 1, arrived: sent.count, by: &$0)
            }
        }
    }

    /// The number at which a ring will be.
    private mutating func number(of ring: UInt32) throws -> CInt {
        if let own = kept.firstIndex(where: { $0.id == ring }) { return CInt(own) }
        let workshop = workshop
        return try number("target \(ring)") { try workshop.descriptor(for: ring) }
    }

    /// All numbers at which rings will be, and pidfds of those who have them.
    private mutating func ringPlaces() throws -> [(number: CInt, id: UInt32, holder: CInt?)] {
        let workshop = workshop
        let own = kept.enumerated().map { (number: CInt($0.offset), id: $0.element.id) }
        let passing = numbers.compactMap { name, number in
            name.hasPrefix("target ") ? UInt32(name.dropFirst(7)).map { (number: number, id: $0) } : nil
        }
        return try (own + passing.sorted { $0.number < $1.number }).filter { IORing.has($0.id, in: workshop) }.map {
            place in
            let holder = try IORing.holder(of: place.id, in: workshop).map { holder in
                try number("process \(holder.pid)") {
                    workshop.keep(try Pidfd(pid: holder.stubs[0].hostProcess).release())
                }
            }
            return (place.number, place.id, holder)
        }
    }

    private mutating func lastID(before rings: [(number: CInt, id: UInt32, holder: CInt?)]) throws -> CInt? {
        guard let file = try IORing.lastID(before: rings, in: workshop) else { return nil }
        let descriptor = workshop.keep(file)
        return number("last id") { descriptor }
    }

    /// The same of shared memory, for reading and writing.
    private mutating func descriptor(of shared: UInt64) throws -> CInt {
        let file = try workshop[SharedMemory.self].descriptor(shared)
        return number("shared \(shared)") { file }
    }

    private func executableFile() throws -> CInt {
        try passing(plan.executable) {
            "mm-\(plan.pid).img: its executable is file \(plan.mm.exeFileID), which is none"
        }
    }

    private func workingDirectory() throws -> CInt {
        try about("working directory") {
            try passing(plan.directory) {
                "fs-\(plan.pid).img: its directory is file \(plan.directories.cwdID), which is none"
            }
        }
    }

    private func passing(_ wanted: PassingFile, orElse fault: () -> String) throws -> CInt {
        guard let entry = workshop.entry(wanted.id), entry.hasMemfd || entry.hasReg && !entry.reg.ext else {
            throw CheckpointError(fault())
        }
        return try workshop.passingDescriptor(for: entry, flags: wanted.flags)
    }

    /// Lets the task receive everything.
    ///
    /// - Parameter passing: the highest number that a file is to have for a moment only.
    /// - Returns: the number of its socket, above all others.
    private func receive(_ runner: inout ProgramRunner, below passing: CInt?) throws -> CInt {
        // Two numbers are the socket's own ends at first.
        let highest = max(kept.last.map { CInt($0.fd) } ?? 0, CInt(sent.count), passing ?? 0, 1)
        let socket = highest + 1
        let stub = plan.stubs[0]
        let hard = try ResourceLimits.openFiles(of: stub.hostProcess)
        guard UInt64(socket + (passing == nil ? 0 : 2)) < hard else {
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
        // No more at once than the kernel takes in a message: nobody takes anything out while the engine sends.
        for start in stride(from: 0, to: sent.count, by: 250) {
            let end = min(start + 250, sent.count)
            try sendMessage(ours.raw, [1], descriptors: Array(sent[start..<end]))
            var last: Program.Reference?
            try runner.add {
                Self.receiveMessage(socket, in: &$0)
                last = $0.call("fcntl F_GETFD", Int(SYS_fcntl), [UInt64(end - 1), UInt64(F_GETFD)], tolerated: [EBADF])
            }
            let results = try runner.flush().results
            if let last, results[last] < 0 { throw try refusal(from: start, task: runner.stub.tid) }
        }
        return socket
    }

    /// Of a message that a task did not get as a whole: the kernel stops at the first file that a security module refuses.
    ///
    /// - Parameter start: the number at which the message's first file was to arrive.
    private func refusal(from start: Int, task: pid_t) throws -> CheckpointError {
        let there = Set(try directoryEntries("/proc/\(task)/fd"))
        let missing = (start..<sent.count).first { !there.contains(String($0)) } ?? start
        let place = missing < kept.count ? "as descriptor \(kept[missing].fd)" : "to be mapped, run or worked in"
        let file = try linkTarget("/proc/self/fd/\(sent[missing])")
        return CheckpointError(
            "\(plan): the policy of the security module keeps \(file) from it, which it had \(place); allow it there"
                + " (SELinux: fd use, and to read or write it as it is open), or give the container another file")
    }

    /// A header of its own for each message: the kernel writes into it how much control data came.
    static func receiveMessage(_ socket: CInt, in program: inout Program) {
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

    private func settleDescriptors(_ runner: inout ProgramRunner, socket: CInt) throws {
        for (arrived, entry) in kept.enumerated().reversed() {
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
        let later = later
        for entry in kept where !later.contains(entry.id) {
            guard let file = workshop.entry(entry.id) else { continue }
            for kind in fileAttributes { try kind.connect(file, number: entry.fd, in: workshop, by: &runner) }
            for kind in fileKinds { try kind.connect(file, number: entry.fd, in: workshop, by: &runner) }
        }
        try runner.add { $0.call("close", Int(SYS_close), [UInt64(socket)]) }
    }
}

/// A file that a task has open only until it is mapped, or is its executable or its directory.
struct PassingFile: Hashable {
    let id: UInt32
    let flags: CInt
}

extension PassingFile {
    /// Of a mapping; `nil` for one of no file.
    fileprivate init?(_ mapping: VmaEntry, in workshop: Workshop) {
        let kind = mapping.kind
        guard kind.isDisjoint(with: [.vdso, .vvar, .vsyscall, .anonymousShared]),
            !kind.isDisjoint(with: [.filePrivate, .fileShared]), IORing.id(of: mapping, in: workshop) == nil
        else { return nil }
        id = UInt32(truncatingIfNeeded: mapping.shmid)
        // One file may be mapped shared and writable here, private there.
        let isWritable =
            mapping.hasFdflags
            ? mapping.fdflags & UInt32(O_ACCMODE) == UInt32(O_RDWR) : workshop.entry(id)?.hasMemfd == true
        flags = kind.contains(.fileShared) && isWritable ? O_RDWR : O_RDONLY
    }
}

extension ProcessPlan {
    fileprivate var executable: PassingFile { PassingFile(id: mm.exeFileID, flags: O_RDONLY) }

    fileprivate var directory: PassingFile {
        PassingFile(id: directories.cwdID, flags: CLINUX_O_PATH | O_DIRECTORY)
    }
}
