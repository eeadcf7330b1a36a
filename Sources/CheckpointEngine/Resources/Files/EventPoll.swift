import CheckpointImages
import LinuxSystem
import Tracee

/// epoll(7). The instance is made here; its registrations are made by the task, whose numbers they go by.
enum EventPoll: FileKind {
    final class DumpState: KindState {
        /// Registrations whose files no longer have their numbers: which they have is known when all files are.
        fileprivate var departed: [Departed] = []
    }

    final class RestoreState: KindState {
        /// Instances whose registrations are made: processes may share one.
        fileprivate var registered: Set<UInt32> = []
        /// Places in the lists of registrations, and files.
        fileprivate var departed: [UInt32: [Int: UInt32]] = [:]
    }

    /// A registration outlives the descriptor that it was made by, if its file is still open elsewhere.
    fileprivate struct Departed {
        let process: CapturedProcess
        /// Whose descriptor the set is.
        let task: pid_t
        let set: CInt
        let id: UInt32
        /// Its place among the registrations of the set.
        let place: Int
        let number: UInt32
        /// How many registrations by this number the kernel lists before.
        let index: UInt32

        /// How a file of the container's compares with the registration's. KCMP_EPOLL_TFD.
        func comparison(of task: pid_t, _ descriptor: CInt) throws -> KernelComparison {
            // struct kcmp_epoll_slot: the epoll descriptor, the number, and which of the registrations by it.
            var slot = (UInt32(set), number, index)
            return try withUnsafePointer(to: &slot) {
                try compareObjects(7, of: task, descriptor, with: self.task, Int(bitPattern: $0))
            }
        }

        /// Whether the process still has the file by the number.
        func isHere() throws -> Bool {
            let number = CInt(bitPattern: number)
            do { return try comparison(of: task, number) == .same } catch let error as SystemError
                where error.errno == .badFileDescriptor
            { return false }
        }
    }

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.link == "anon_inode:[eventpoll]" else { return nil }
        guard !file.isUnderWay else {
            throw CheckpointError("an epoll instance that is under way in a unix socket cannot be checkpointed yet")
        }
        var targets: [EventpollTfdEntry] = []
        var before: [UInt32: UInt32] = [:]
        for line in file.info.lines where line.key == "tfd" {
            // `tfd: 5 events: 1d data: ffffffff  pos:0 ino:61af sdev:7`
            let words = line.value.split(whereSeparator: { $0 == " " || $0 == ":" })
            func hex(_ name: Substring) -> UInt64? {
                words.firstIndex(of: name).flatMap { $0 + 1 < words.count ? UInt64(words[$0 + 1], radix: 16) : nil }
            }
            guard let number = words.first.flatMap({ UInt32($0) }), let events = hex("events"), let data = hex("data")
            else { throw CheckpointError("the kernel describes a registration as `\(line.value)`") }
            let registration = Departed(
                process: file.process, task: file.task, set: file.number, id: id, place: targets.count, number: number,
                index: before[number, default: 0])
            if try !registration.isHere() { dump[Self.self].departed.append(registration) }
            before[number, default: 0] += 1
            targets.append(
                .with {
                    $0.id = id
                    $0.tfd = number
                    $0.events = UInt32(truncatingIfNeeded: events)
                    $0.data = data
                    $0.dev = UInt32(truncatingIfNeeded: hex("sdev") ?? 0)
                    $0.inode = hex("ino") ?? 0
                    $0.pos = hex("pos") ?? 0
                })
        }
        return FileEntry.with {
            $0.type = .eventpoll
            $0.id = id
            $0.epfd = .with {
                $0.id = id
                $0.flags = file.info.flags
                $0.fown = .none
                $0.tfd = targets
            }
        }
    }

    static func seal(_ dump: Dump) throws {
        guard !dump[Self.self].departed.isEmpty else { return }
        let files = try dump.files.ordered()
        var notes: [UInt32: [UInt32]] = [:]
        for registration in dump[Self.self].departed {
            let target = try files.value { try registration.comparison(of: $0.task, $0.number).reversed }
            guard let target else {
                throw CheckpointError(
                    "\(registration.process): descriptor \(registration.set): epoll: a registration was made by "
                        + "descriptor \(registration.number) for a file that no process of the container has any more; "
                        + "this cannot be checkpointed yet (EPOLL_CTL_DEL before a close removes it)")
            }
            notes[registration.id, default: []] += [UInt32(registration.place), target.id]
        }
        for (id, numbers) in notes { FileNote.add(.departed, id, numbers, to: dump) }
    }

    static func plan(_ restore: RestorePlan) throws {
        for (id, numbers) in FileNote.numbers(.departed, in: restore) {
            let set = restore.images.files[id]?.epfd.tfd ?? []
            var departed: [Int: UInt32] = [:]
            for index in stride(from: 0, to: numbers.count, by: 2) {
                let (place, target) = (Int(numbers[index]), numbers.dropFirst(index + 1).first ?? id)
                guard place < set.count, set[place].tfd < 1 << 20, target != id, restore.images.files.contains(target),
                    departed.updateValue(target, forKey: place) == nil
                else {
                    throw CheckpointError("\(FileNote.fileName): file \(id): no registration \(place) of another file")
                }
            }
            restore[Self.self].departed[id] = departed
        }
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasEpfd else { return nil }
        return OwnedDescriptor(CInt(try systemCall("epoll_create", Int(SYS_epoll_create1), Int(O_CLOEXEC))))
    }

    static func connect(
        _ entry: FileEntry, number: UInt32, in workshop: Workshop, by runner: inout ProgramRunner
    ) throws {
        let state = workshop[EventPoll.self]
        guard entry.hasEpfd, state.registered.insert(entry.id).inserted else { return }
        let departed = state.departed[entry.id] ?? [:]
        let targets = entry.epfd.tfd.enumerated().filter { departed[$0.offset] == nil }.map(\.element)
        for targets in ProgramRunner.portions(targets) {
            try runner.add { register(targets, number: number, in: &$0) }
        }
    }

    /// Registrations whose files have their numbers no more, of sets that nobody has had yet.
    static func departed(
        in descriptors: [FdinfoEntry], _ workshop: Workshop
    ) -> [(set: Int, target: EventpollTfdEntry, file: UInt32)] {
        let state = workshop[EventPoll.self]
        var sets: Set<UInt32> = []
        return descriptors.enumerated().flatMap { index, descriptor in
            guard !state.registered.contains(descriptor.id), sets.insert(descriptor.id).inserted,
                let departed = state.departed[descriptor.id], let all = workshop.entry(descriptor.id)?.epfd.tfd
            else { return [(set: Int, target: EventpollTfdEntry, file: UInt32)]() }
            return departed.sorted { $0.key < $1.key }.map { (index, all[$0.key], $0.value) }
        }
    }

    /// Makes one of them: its file gets the number for a moment, in a task that has nothing from `free` on, and whose other
    /// descriptors have arrived, but are not yet what they will be.
    static func register(
        _ target: EventpollTfdEntry, of file: CInt, in set: Int, free: CInt, arrived: Int, by program: inout Program
    ) {
        let (here, before) = (UInt64(free), UInt64(free) + 1)
        let isTaken = target.tfd < arrived
        program.call("dup2", Int(SYS_dup2), [UInt64(set), here])
        if isTaken { program.call("dup2", Int(SYS_dup2), [UInt64(target.tfd), before]) }
        program.call("dup2", Int(SYS_dup2), [UInt64(file), UInt64(target.tfd)])
        register([target], number: UInt32(free), in: &program)
        if isTaken {
            program.call("dup2", Int(SYS_dup2), [before, UInt64(target.tfd)])
        } else {
            program.call("close", Int(SYS_close), [UInt64(target.tfd)])
        }
        program.call("close_range", Int(CLINUX_SYS_close_range), [here, before, 0])
    }

    /// Adds registrations to the instance that is descriptor `number` in the task that runs the program.
    static func register(_ targets: [EventpollTfdEntry], number: UInt32, in program: inout Program) {
        for target in targets {
            // struct epoll_event is packed: 4 bytes of events, 8 of data.
            let event =
                withUnsafeBytes(of: target.events.littleEndian) { Array($0) }
                + withUnsafeBytes(of: target.data.littleEndian) { Array($0) }
            let address = program.place(event)
            program.call(
                "epoll_ctl of descriptor \(number) for \(target.tfd)", Int(SYS_epoll_ctl),
                [UInt64(number), 1, UInt64(target.tfd), address.raw])
        }
    }
}
