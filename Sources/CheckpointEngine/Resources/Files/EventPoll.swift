import CheckpointImages
import LinuxSystem
import Tracee

/// epoll(7). The instance is made here; its registrations are made by the task, whose numbers they go by.
enum EventPoll: FileKind {
    final class RestoreState: KindState {
        /// Instances whose registrations are made: processes may share one.
        fileprivate var registered: Set<UInt32> = []
    }

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.link == "anon_inode:[eventpoll]" else { return nil }
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
            try checkTarget(file, number, index: before[number, default: 0])
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

    /// A registration outlives the descriptor that it was made by; then it cannot be made again by that number.
    ///
    /// - Parameter index: how many registrations by this number the kernel lists before.
    private static func checkTarget(_ file: borrowing OpenFile, _ number: UInt32, index: UInt32) throws {
        // struct kcmp_epoll_slot: the epoll descriptor, the number, and which of the registrations by it.
        var slot = (UInt32(file.number), number, index)
        let same = withUnsafePointer(to: &slot) {
            clinux_syscall(
                Int(SYS_kcmp), Int(file.process.hostPid), Int(file.process.hostPid), 7, Int(number),
                Int(bitPattern: $0), 0)
        }
        guard same == 0 else {
            throw CheckpointError(
                "epoll: a registration was made by descriptor \(number) for a file that is open elsewhere, but has this "
                    + "number no more; this cannot be checkpointed yet (EPOLL_CTL_DEL before a close removes it)")
        }
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasEpfd else { return nil }
        return OwnedDescriptor(CInt(try systemCall("epoll_create", Int(SYS_epoll_create1), Int(O_CLOEXEC))))
    }

    static func connect(
        _ entry: FileEntry, number: UInt32, in workshop: Workshop, by runner: inout ProgramRunner
    ) throws {
        guard entry.hasEpfd, workshop[EventPoll.self].registered.insert(entry.id).inserted else { return }
        for targets in ProgramRunner.portions(entry.epfd.tfd) {
            try runner.add { register(targets, number: number, in: &$0) }
        }
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
