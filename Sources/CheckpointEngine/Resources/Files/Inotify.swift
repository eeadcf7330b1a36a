import CheckpointImages
import LinuxSystem
import Tracee

/// inotify(7): an instance and its watches, each by a path of the file. Events that wait cannot be put back; with them it is
/// refused.
enum Inotify: FileKind {
    final class DumpState: KindState {
        fileprivate let finder = PathFinder()
        fileprivate var isEmpty = false
    }

    /// IN_ALL_EVENTS, IN_EXCL_UNLINK, IN_ONESHOT
    private static let events: UInt32 = 0x0000_0fff | 0x0400_0000 | 0x8000_0000
    /// IN_DONT_FOLLOW
    private static let own: UInt32 = 0x0200_0000

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.link == "anon_inode:inotify" else { return nil }
        guard !file.isUnderWay else {
            throw CheckpointError("an inotify instance that is under way in a unix socket cannot be checkpointed yet")
        }
        try refuseEvents(in: dump)
        var watches: [InotifyWdEntry] = []
        for line in file.info.lines where line.key == "inotify wd" {
            var watch = try parse(line.value, id: id)
            let path = try about("inotify: watch \(watch.wd)") {
                try dump[Self.self].finder.path(of: watch, in: dump)
            }
            watch.fHandle.path = path == "/" ? "." : String(path.dropFirst())
            watches.append(watch)
        }
        return FileEntry.with {
            $0.type = .inotify
            $0.id = id
            $0.ify = .with {
                $0.id = id
                $0.flags = file.info.flags
                $0.fown = .none
                $0.wd = watches
            }
        }
    }

    /// Of any instance, before the first search for a path: it opens directories, of which somebody may want to be told.
    private static func refuseEvents(in dump: Dump) throws {
        let state = dump[Self.self]
        guard !state.isEmpty else { return }
        for process in dump.processes where !process.isZombie {
            let folder = "/proc/\(process.task)/fd"
            let numbers = try directoryEntries(folder).compactMap { CInt($0) }
            for number in numbers where try linkTarget("\(folder)/\(number)") == "anon_inode:inotify" {
                let instance = try process.descriptor(number)
                guard try PipeContent.waiting(in: instance.raw) > 0 else { continue }
                throw CheckpointError(
                    passing: "inotify: events wait to be read (descriptor \(number) of \(process)), which cannot be "
                        + "checkpointed yet; try again when the program has read them")
            }
        }
        state.isEmpty = true
    }

    /// `1 ino:2a sdev:fe00000 mask:fff ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:2a00000000000000`, all in
    /// hexadecimal digits.
    static func parse(_ line: Substring, id: UInt32) throws -> InotifyWdEntry {
        let words = line.split(separator: " ")
        func text(_ name: String) -> Substring? {
            words.first { $0.hasPrefix(name + ":") }?.dropFirst(name.utf8.count + 1)
        }
        func number(_ name: String) -> UInt64? { text(name).flatMap { UInt64($0, radix: 16) } }
        guard let watch = words.first.flatMap({ UInt32($0, radix: 16) }), let inode = number("ino"),
            let device = number("sdev"), let mask = number("mask")
        else { throw CheckpointError("the kernel describes a watch as `\(line)`") }
        guard let count = number("fhandle-bytes"), let type = number("fhandle-type"), let digits = text("f_handle")
        else {
            throw CheckpointError(
                "inotify: watch \(watch): the kernel gives no handle of inode \(inode), by which to find it")
        }
        var words64 = [UInt64](repeating: 0, count: 16)
        var rest = digits
        for index in 0..<min(Int(count), 128) {
            guard let byte = UInt64(rest.prefix(2), radix: 16) else {
                throw CheckpointError("the kernel describes a watch as `\(line)`")
            }
            words64[index / 8] |= byte << UInt64(8 * (index % 8))
            rest = rest.dropFirst(2)
        }
        return .with {
            $0.id = id
            $0.iIno = inode
            $0.sDev = UInt32(truncatingIfNeeded: device)
            $0.mask = UInt32(truncatingIfNeeded: mask)
            $0.ignoredMask = 0
            $0.wd = watch
            $0.fHandle = .with {
                $0.bytes = UInt32(count)
                $0.type = UInt32(type)
                $0.handle = words64
            }
        }
    }

    // MARK: Restore

    static func plan(_ restore: RestorePlan) throws {
        for entry in restore.images.files.all(.inotify) {
            var numbers: Set<UInt32> = []
            for watch in entry.ify.wd {
                let path = watch.fHandle.path
                guard watch.fHandle.hasPath, !path.isEmpty, path.utf8.count < 4000, !path.utf8.contains(0) else {
                    throw CheckpointError("file \(entry.id): inotify: watch \(watch.wd) has no path")
                }
                guard 1...UInt32(Int32.max) ~= watch.wd, numbers.insert(watch.wd).inserted, watch.mask & ~events == 0,
                    watch.mask & 0xfff != 0
                else {
                    throw CheckpointError(
                        "file \(entry.id): inotify: no watch has number \(watch.wd), mask \(watch.mask)")
                }
            }
        }
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasIfy else { return nil }
        let flags = CInt(bitPattern: entry.ify.flags) & O_NONBLOCK
        return OwnedDescriptor(CInt(try systemCall("inotify_init", Int(SYS_inotify_init1), Int(flags | O_CLOEXEC))))
    }

    /// By a task that has the instance, and when all files have been opened: they would be told of it.
    static func settle(_ first: ProcessPlan, in workshop: Workshop, area: InjectedArea) throws {
        var done: Set<UInt32> = []
        for plan in first.all where !plan.isZombie {
            for descriptor in plan.descriptors {
                guard let entry = workshop.entry(descriptor.id), entry.hasIfy, done.insert(entry.id).inserted else {
                    continue
                }
                try about("\(plan): descriptor \(descriptor.fd): inotify") {
                    let opener = try Opener(plan, workshop.policy, area)
                    for watches in ProgramRunner.portions(entry.ify.wd.sorted { $0.wd < $1.wd }) {
                        try opener.runAsEither { identity in
                            _ = try opener.run(as: identity, keeping: nil) { program in
                                for watch in watches { add(watch, to: descriptor.fd, in: &program) }
                            }
                        }
                    }
                }
            }
        }
    }

    private static func add(_ watch: InotifyWdEntry, to number: UInt32, in program: inout Program) {
        let path = watch.fHandle.path == "." ? "/" : "/" + watch.fHandle.path
        let name = program.place(path: path)
        // INOTIFY_IOC_SETNEXTWD
        program.call("number \(watch.wd) of a watch", Int(SYS_ioctl), [UInt64(number), 0x4004_4900, UInt64(watch.wd)])
        program.call(
            "watch \(path)", Int(SYS_inotify_add_watch), [UInt64(number), name.raw, UInt64(watch.mask | own)],
            expecting: Int(watch.wd))
    }

    /// Nothing waited at the checkpoint, so what does now is of the restore's making.
    static func arm(_ plan: ProcessPlan, in restore: RestorePlan, by runner: inout ProgramRunner) throws {
        let stub = plan.stubs[0]
        for descriptor in plan.descriptors {
            guard let entry = restore.images.files[descriptor.id], entry.hasIfy else { continue }
            let instance = try Pidfd(task: stub.tid, of: stub.hostProcess).descriptor(CInt(descriptor.fd))
            while case let waiting = try PipeContent.waiting(in: instance.raw), waiting > 0 {
                var events = [UInt8](repeating: 0, count: waiting)
                let raw = instance.raw
                try system("events of the restore") {
                    events.withUnsafeMutableBytes { read(raw, $0.baseAddress, $0.count) }
                }
            }
            let info = try DescriptorInfo(process: stub.tid, number: CInt(descriptor.fd))
            guard info.lines.count(where: { $0.key == "inotify wd" }) == entry.ify.wd.count else {
                throw CheckpointError(
                    "descriptor \(descriptor.fd): inotify: a watch for one event had it during the restore")
            }
        }
    }
}
