import CheckpointImages
import LinuxSystem
import Tracee

/// io_uring(7): a ring in which nothing is under way. CRIU has no image for it; its entry in files.img is a REG entry of the
/// name that /proc has for it, and `io-uring-ID.stasis` is a struct io_uring_params, as the kernel gives it for a ring like it,
/// the memory that it shares with programs, and its entries.
///
/// The kernel tells its setup flags to nobody. What can be told by what /proc says and by calls that must fail is told so:
/// see ``refuse(_:)`` and ``look(of:_:)``.
enum IORing: FileKind {
    static let name = "anon_inode:[io_uring]"
    static func fileName(_ id: UInt32) -> String { "io-uring-\(id).stasis" }

    /// How many operations, of all rings together, can be made up for: they take about a second on a slow machine.
    static let mostOperations: UInt32 = 1 << 22
    /// How many bytes the images of all rings together have, which a restore holds at once.
    static let mostMemory = 64 << 20
    /// At the kernel's IORING_OFF_SQ_RING, CQ_RING and SQES begins the ring, once more the ring, and its entries.
    static let places: Set<UInt64> = [0, 0x800_0000, 0x1000_0000]

    static let knownFlags: [RingParameters.Flags] = [.completionSize, [.completionSize, .noArray]]
    /// Every mapping of a ring has them by itself, of this or an older kernel.
    static let mappingFlags: MappingFlags = ["de", "io", "pf", "dd"]

    private static var tooMuchMemory: CheckpointError {
        CheckpointError("its io_uring rings have more memory than the \(mostMemory) bytes that a restore can give them")
    }

    // MARK: Checkpoint

    final class DumpState: KindState {
        /// Ids of rings by their inodes, and who maps those that no descriptor was seen of yet.
        fileprivate var ids: [UInt64: UInt32] = [:]
        fileprivate var opened: Set<UInt64> = []
        fileprivate var mapped: [UInt64: String] = [:]
        /// Threads of the kernel's that submit for a ring.
        fileprivate var pollers: Set<pid_t> = []
        /// Bytes of all images.
        fileprivate var size = 0
        /// How rings of known flags look.
        fileprivate var looks: [(flags: RingParameters.Flags, look: Set<String>)]?
    }

    /// The id of the ring that a process has mapped.
    static func id(of line: MemoryMapLine, _ process: CapturedProcess, in dump: Dump) throws -> UInt32 {
        guard line.isShared, places.contains(line.offset) else {
            throw CheckpointError("a part of an io_uring, or its own room for buffers, cannot be checkpointed yet")
        }
        let state = dump[Self.self]
        state.mapped[line.inode] = "\(process): mapping \(RemoteAddress(line.start))"
        if let known = state.ids[line.inode] { return known }
        let id = dump.files.newID()
        state.ids[line.inode] = id
        return id
    }

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.link == name else { return nil }
        guard !file.isUnderWay else {
            throw CheckpointError("an io_uring that is under way in a unix socket cannot be checkpointed yet")
        }
        let state = dump[Self.self]
        let inode = UInt64(file.status.st_ino)
        let id = state.ids[inode] ?? id
        state.ids[inode] = id
        guard state.opened.insert(inode).inserted else {
            throw CheckpointError("this kernel does not tell one io_uring from another; they cannot be checkpointed")
        }
        let (parameters, bytes) = try about("io_uring") { try read(file, dump) }
        state.size += RingParameters.byteCount + bytes.count
        guard state.size <= mostMemory else { throw tooMuchMemory }
        try dump.images.add(fileName(id), parameters.bytes + bytes)
        var entry = RegFileEntry(file, id: id)
        entry.name = name
        return FileEntry.with {
            $0.type = .reg
            $0.id = id
            $0.reg = entry
        }
    }

    static func seal(_ dump: Dump) throws {
        let state = dump[Self.self]
        for (inode, holder) in state.mapped where !state.opened.contains(inode) {
            throw CheckpointError(
                "\(holder) is an io_uring of which no process has a descriptor; this cannot be checkpointed yet")
        }
    }

    private static func read(
        _ file: borrowing OpenFile, _ dump: Dump
    ) throws -> (parameters: RingParameters, bytes: [UInt8]) {
        func number(_ key: Substring) throws -> UInt32 {
            let text = file.info.value(key) ?? ""
            guard let value = text.hasPrefix("0x") ? UInt32(text.dropFirst(2), radix: 16) : UInt32(text) else {
                throw CheckpointError("the kernel does not tell its \(key)")
            }
            return value
        }
        for (key, nothing, what) in [
            ("UserFiles", "0", "registered files"), ("UserBufs", "0", "registered buffers"),
            ("NAPI", "disabled", "busy polling of the network (NAPI)"),
        ] as [(Substring, Substring, String)] where file.info.value(key) ?? nothing != nothing {
            throw CheckpointError("has \(what); this cannot be checkpointed yet")
        }
        let (submitted, completed) = (try number("CachedSqHead"), try number("CachedCqTail"))
        try refuse(RingProbe(file.descriptor.raw))
        guard submitted == completed else {
            let excess = Int32(bitPattern: submitted &- completed)
            if excess > 0 {
                throw CheckpointError(
                    passing: "\(excess) request(s) in flight on io_uring ring, descriptor \(file.number); try again "
                        + "when they have ended")
            }
            throw CheckpointError(
                "has \(-excess) more completions than it got requests (multishot requests, or messages of other rings), "
                    + "so nobody can tell whether any is in flight; this cannot be checkpointed")
        }
        var parameters = RingParameters(
            submissions: try number("SqMask") + 1, completions: try number("CqMask") + 1, flags: [])
        parameters.flags = try flags(of: file.descriptor.raw, parameters, dump)
        // Where a ring like it has what, and how much memory.
        _ = try parameters.make()
        let memory = try RingMemory(of: file.descriptor.raw, parameters)
        try capturePoller(of: file, into: &parameters, dump)
        guard
            !parameters.flags.contains(.polled)
                || [.submissionHead, .submissionTail].allSatisfy({ memory[$0] == submitted })
                    && memory[.completionTail] == completed
        else {
            throw CheckpointError("requests on their way into it; try again when they have ended")
        }
        guard completed <= mostOperations else {
            throw CheckpointError(
                "has done \(completed) operations; a restore can make up for \(mostOperations), with as many that do nothing"
            )
        }
        // IORING_SQ_CQ_OVERFLOW
        guard memory[.submissionFlags] & 2 == 0, memory[.dropped] == 0, memory[.overflow] == 0 else {
            throw CheckpointError(
                "has lost requests, or completions for which there was no room; this cannot be checkpointed")
        }
        return (parameters, memory.bytes)
    }

    /// A thread of the kernel's that submits for the ring (IORING_SETUP_SQPOLL): it belongs to the process that made the ring.
    private static func capturePoller(
        of file: borrowing OpenFile, into parameters: inout RingParameters, _ dump: Dump
    ) throws {
        guard let text = file.info.value("SqThread"), text != "-1" else { return }
        let process = file.process.hostPid
        guard let thread = pid_t(text),
            let status = try? ProcessStatus(thread, path: "/proc/\(process)/task/\(thread)")
        else {
            throw CheckpointError(
                "the thread of the kernel's that submits for it belongs to another process (IORING_SETUP_SQPOLL); "
                    + "this cannot be checkpointed yet")
        }
        guard dump[Self.self].pollers.insert(thread).inserted else {
            throw CheckpointError(
                "shares the thread of the kernel's that submits for it with another one (IORING_SETUP_ATTACH_WQ); "
                    + "this cannot be checkpointed yet")
        }
        parameters.flags.insert(.polled)
        guard let cpus = status.allowedCPUs, cpus != dump.usableCPUs, let processor = UInt32(cpus) else { return }
        parameters.flags.insert(.bound)
        parameters.processor = processor
    }

    /// Refuses what cannot be made again, by the error of calls that must fail, or that do nothing where they succeed.
    private static func refuse(_ probe: RingProbe) throws {
        func refuse(_ what: String) -> CheckpointError { CheckpointError("\(what); this cannot be checkpointed yet") }
        switch probe.enter(submitting: 0)?.rawValue {
        // EBADFD. First: such a ring still takes restrictions.
        case 77: throw refuse("is not enabled (IORING_SETUP_R_DISABLED)")
        // EOWNERDEAD
        case 130: throw refuse("has lost its thread with the process that made it (IORING_SETUP_SQPOLL)")
        default: break
        }
        // IORING_REGISTER_RESTRICTIONS of more than there can be; IORING_REGISTER_EVENTFD of a descriptor that is none;
        // IORING_REGISTER_MEM_REGION
        switch probe.register(11, nil, count: 1000) {
        case .permissionDenied: throw refuse("has restrictions")
        case .fileExists: throw refuse("belongs to one thread (IORING_SETUP_SINGLE_ISSUER)")
        default: break
        }
        if probe.register(4, [-1], count: 1) == .resourceBusy { throw refuse("has an eventfd registered") }
        if probe.register(34, nil, count: 1) == .resourceBusy { throw refuse("has a region of memory registered") }
        // IORING_ENTER_GETEVENTS with IORING_ENTER_EXT_ARG, which only a ring that polls does not look at to the end.
        if probe.enter(submitting: 0, flags: 0x9) == nil { throw refuse("polls for completions (IORING_SETUP_IOPOLL)") }
        // IORING_REGISTER_PBUF_STATUS: ENOENT for a group that is not there, and EINVAL for one that is no ring.
        func status(_ group: Int32) -> Errno? {
            probe.register(26, [group] + [Int32](repeating: 0, count: 9), count: 1)
        }
        guard status(65_535) == .noSuchFileOrDirectory else {
            throw refuse("may have groups of buffers, of which the kernel tells from Linux 6.8 on")
        }
        if (0..<256).contains(where: { status($0) != .noSuchFileOrDirectory }) {
            throw refuse("has groups of buffers (IORING_REGISTER_PBUF_RING, IORING_OP_PROVIDE_BUFFERS)")
        }
    }

    /// Those flags that matter, of which the kernel tells nothing: a ring is what looks like it.
    private static func flags(
        of ring: CInt, _ sizes: RingParameters, _ dump: Dump
    ) throws -> RingParameters.Flags {
        let state = dump[Self.self]
        var known = state.looks ?? []
        for flags in knownFlags where state.looks == nil {
            var parameters = RingParameters(submissions: 1, completions: 2, flags: flags)
            // A kernel that does not know a flag has no ring that has it.
            guard let made = try? parameters.make() else { continue }
            known.append((flags, try look(of: made.raw, parameters)))
        }
        state.looks = known
        var least = sizes
        least.flags.insert(.noArray)
        if (try? least.make()) == nil {
            least = sizes
            _ = try least.make()
        }
        let look: Set<String>
        do { look = try Self.look(of: ring, least) } catch let error as SystemError
            where error.errno == .invalidArgument
        {
            throw CheckpointError(
                "its memory is the program's own (IORING_SETUP_NO_MMAP); this cannot be checkpointed yet")
        }
        if look.contains(inFlight) {
            throw CheckpointError(passing: "requests in flight on it (poll); try again when they have ended")
        }
        let alike = known.filter { $0.look == look }
        guard alike.count == 1 else {
            throw CheckpointError(
                "its entries or completions have another size (\(look.sorted().joined(separator: ", "))); "
                    + "this cannot be checkpointed yet")
        }
        return alike[0].flags
    }

    private static let inFlight = "PollList"

    /// What /proc tells of a ring by the form in which it does: the entry that is submitted next, if its number is in an array;
    /// the other half of an entry of 128 bytes, and of a completion of 32.
    private static func look(of ring: CInt, _ parameters: RingParameters) throws -> Set<String> {
        let text = try RingMemory(of: ring, parameters).describe()
        let lines = text.lines
        guard let list = lines.firstIndex(of: "PollList:") else {
            throw CheckpointError("the kernel does not tell what it polls")
        }
        var look: Set<String> = []
        let signs = [
            ("opcode:", "an array"), ("e0:0x", "entries of 128 bytes"), ("extra1:", "completions of 32 bytes"),
        ]
        for (sign, what) in signs where lines[..<list].contains(where: { $0.contains(sign) }) { look.insert(what) }
        if lines.dropFirst(list + 1).first?.hasPrefix(" ") == true { look.insert(inFlight) }
        return look
    }

    // MARK: Restore

    final class RestoreState: KindState {
        fileprivate var images: [UInt32: RingImage] = [:]
        /// Who had it first, by which of its descriptors.
        fileprivate var holders: [UInt32: (plan: ProcessPlan, number: UInt32)] = [:]
    }

    static func plan(_ restore: RestorePlan) throws {
        let state = restore[Self.self]
        var size = 0
        for file in restore.images.files.all(.reg) where !file.reg.ext && file.reg.name == name {
            let id = file.id
            try about(fileName(id)) {
                let bytes = try restore.images.directory.bytes(fileName(id))
                size += bytes.count
                guard size <= mostMemory else { throw tooMuchMemory }
                state.images[id] = try RingImage(bytes)
            }
        }
        if state.images.isEmpty { return }
        guard state.images.values.reduce(UInt64(0), { $0 + UInt64($1.count) }) <= mostOperations else {
            throw CheckpointError(
                "its io_uring rings have done more operations than the \(mostOperations) that a restore can make up for"
            )
        }
        guard restore.policy.seccomp?.allows(call: Int(SYS_io_uring_setup)) ?? true else {
            throw CheckpointError(
                "has an io_uring, and the seccomp filter of config.json does not allow io_uring_setup")
        }
        var held: Set<UInt32> = []
        for plan in restore.first.all {
            if let thread = plan.threadTables.first(where: { $0.value.contains { state.images[$0.id] != nil } }) {
                throw CheckpointError(
                    "\(plan): thread \(thread.key) has an io_uring in a table of descriptors of its own")
            }
            if plan.completed.contains(.descriptors) { held.formUnion(plan.descriptors.map(\.id)) }
            guard plan.completed.contains(.memory) else { continue }
            for mapping in plan.mm.vmas where mapping.kind.contains(.fileShared) {
                let id = UInt32(truncatingIfNeeded: mapping.shmid)
                guard state.images[id] != nil else { continue }
                guard plan.completed.contains(.descriptors) else {
                    throw CheckpointError(
                        "\(plan): mapping \(RemoteAddress(mapping.start)) is of an io_uring, and it shares its table of "
                            + "descriptors with a process after it; this cannot be checkpointed yet")
                }
                guard places.contains(mapping.pgoff), held.contains(id) else {
                    throw CheckpointError(
                        "\(plan): mapping \(RemoteAddress(mapping.start)) is of an io_uring that neither it nor a process "
                            + "before it has a descriptor of, or of a part of one; this cannot be checkpointed yet")
                }
            }
        }
    }

    /// Whether an entry is that of a ring.
    static func has(_ id: UInt32, in workshop: Workshop) -> Bool { workshop[Self.self].images[id] != nil }

    /// The ring that a mapping is of.
    static func id(of mapping: VmaEntry, in workshop: Workshop) -> UInt32? {
        let id = UInt32(truncatingIfNeeded: mapping.shmid)
        return mapping.kind.contains(.fileShared) && has(id, in: workshop) ? id : nil
    }

    /// Something that takes a ring's place on the way to a process: the kernel lets nobody send rings. See
    /// ``place(_:of:in:)``.
    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard has(entry.id, in: workshop) else { return nil }
        return OwnedDescriptor(CInt(try systemCall("eventfd", Int(SYS_eventfd2), 0, Int(O_CLOEXEC))))
    }

    /// Whose ring it is already; `nil` if it is to be made.
    static func holder(of id: UInt32, in workshop: Workshop) -> ProcessPlan? { workshop[Self.self].holders[id]?.plan }

    /// Lets a process have its rings: each takes the number of what was sent in its place, the lowest that is free then. It is
    /// made by the process's own call and rights, or, where another process has it already, taken from that by pidfd_getfd(2).
    ///
    /// - Parameters:
    ///   - places: all numbers that are to lead to a ring, with a pidfd of its holder.
    ///   - lastID: where the process has what ``lastID(before:in:)`` has opened.
    static func place(
        _ places: [(number: CInt, id: UInt32, holder: CInt?)], lastID: CInt?, of plan: ProcessPlan,
        in workshop: Workshop
    ) throws {
        let state = workshop[Self.self]
        if let lastID, let opener = workshop.opener {
            var top = plan
            while let parent = top.parent { top = parent }
            let text = Array("\(top.allIDs.max() ?? 1)".utf8)
            try run(in: plan, opener) {
                let place = $0.place(text)
                $0.call(
                    "write to ns_last_pid", Int(SYS_write), [UInt64(lastID), place.raw, UInt64(text.count)],
                    expecting: text.count)
            }
        }
        var here: [UInt32: CInt] = [:]
        for (number, id, pidfd) in places {
            guard let image = state.images[id], let opener = workshop.opener else { continue }
            try about("io_uring, file \(id)") {
                if let first = here[id] {
                    try run(in: plan, opener) { $0.call("dup2", Int(SYS_dup2), [UInt64(first), UInt64(number)]) }
                } else if let holder = state.holders[id], let pidfd {
                    try take(from: holder.plan, holder.number, pidfd: pidfd, at: number, by: opener)
                } else {
                    try make(image, at: number, flags: workshop.entry(id)?.reg.flags ?? 0, by: opener)
                }
            }
            here[id] = number
            if state.holders[id] == nil, plan.completed.contains(.descriptors),
                let kept = plan.descriptors.first(where: { $0.id == id })
            {
                state.holders[id] = (plan, kept.fd)
            }
        }
    }

    /// By what a pid namespace is told which id it has given last, for a process that makes a ring among these: the thread that
    /// it gets from the kernel must not have the id of a task that is not born yet. pid_namespaces(7).
    static func lastID(
        before places: [(number: CInt, id: UInt32, holder: CInt?)], in workshop: Workshop
    ) throws -> OwnedDescriptor? {
        let state = workshop[Self.self]
        guard places.contains(where: { $0.holder == nil && state.images[$0.id]?.isPolled == true }) else { return nil }
        return try openAt(AT_FDCWD, "/proc/sys/kernel/ns_last_pid", O_WRONLY)
    }

    private static func make(_ image: RingImage, at number: CInt, flags: UInt32, by opener: Opener) throws {
        var wanted = RingParameters(
            submissions: image.parameters.submissions, completions: image.parameters.completions,
            flags: image.parameters.flags)
        var here = wanted.unpolled
        _ = try here.make()
        guard here.stands(for: image.parameters.unpolled) else {
            throw CheckpointError("this kernel's rings are not like those of the kernel of the checkpoint")
        }
        // Nobody tells whether it had it, and to go without it would leave requests behind that were to be submitted.
        wanted.flags.insert(.submitAll)
        wanted.processor = image.parameters.processor
        // Nobody tells after how long; soon, as the event loops that are in use want it.
        wanted.idleTime = 10
        let (asked, count) = (wanted.bytes, UInt64(wanted.submissions))
        _ = try opener.runAsEither { identity in
            try opener.run(as: identity, keeping: nil) { program in
                let parameters = program.place(asked)
                // EBADF: it was closed when the task's own rights did not do.
                program.call("close", Int(SYS_close), [UInt64(number)], tolerated: [EBADF])
                program.call(
                    "io_uring_setup", Int(SYS_io_uring_setup), [count, parameters.raw], expecting: Int(number))
            }
        }
        let ring = try opener.take(number)
        let memory = try RingMemory(of: ring.raw, here)
        try memory.advance(to: image.count, unread: image.unread, isPolled: image.isPolled)
        memory.fill(from: image.bytes)
        for word in [.submissionTail, .completionFlags] as [RingParameters.Word] { memory[word] = image[word] }
        if flags & UInt32(O_NONBLOCK) != 0 { try system("flags") { clinux_fcntl(ring.raw, F_SETFL, Int(O_NONBLOCK)) } }
    }

    private static func take(
        from holder: ProcessPlan, _ descriptor: UInt32, pidfd: CInt, at number: CInt, by opener: Opener
    ) throws {
        /// For a moment the holder is one into whom others like it may look. prctl(2) PR_SET_DUMPABLE, PR_SET_PTRACER.
        func open(_ isOpen: Bool) throws {
            let tracer = isOpen ? UInt64.max : 0
            try run(in: holder, opener) {
                $0.call("prctl PR_SET_DUMPABLE", Int(SYS_prctl), [4, isOpen ? 1 : 0, 0, 0, 0])
                $0.call("prctl PR_SET_PTRACER", Int(SYS_prctl), [0x5961_6d61, tracer, 0, 0, 0], tolerated: nil)
            }
        }
        try open(true)
        try run(in: opener.plan, opener) { program in
            program.call("close", Int(SYS_close), [UInt64(number)])
            program.call(
                "pidfd_getfd", Int(CLINUX_SYS_pidfd_getfd), [UInt64(pidfd), UInt64(descriptor), 0],
                expecting: Int(number))
        }
        try open(false)
    }

    private static func run(in plan: ProcessPlan, _ opener: Opener, _ body: (inout Program) -> Void) throws {
        var program = Program(opener.area.main)
        body(&program)
        try plan.stubs[0].run(program, agent: opener.area.base)
    }
}
