import CheckpointImages
import LinuxSystem

/// POSIX message queues: mq_overview(7). CRIU has no image for them; ``fileName`` is text, with the lines of a queue together,
/// names and messages in hexadecimal:
///
/// ```
/// queue NAME MODE UID GID MOST SIZE ATIME MTIME      times in seconds and nanoseconds, two numbers each
/// message PRIORITY BYTES                             each that waits, in order
/// open ID                                            each entry of files.img that is this queue
/// ```
///
/// The engine finds them on a mount of its own of the file system in which the container's IPC namespace has them.
enum MessageQueue: FileKind {
    static let fileName = "queues.stasis"

    fileprivate struct Queue {
        var name: String
        var mode: UInt32
        var user: UInt32
        var group: UInt32
        var most: Int
        var size: Int
        var times: (access: timespec, modification: timespec)
        var messages: [PosixQueue.Message] = []
        var files: [UInt32] = []
    }

    /// The file system of the IPC namespace here; nothing in a kernel without CONFIG_POSIX_MQUEUE.
    static func mount() throws(SystemError) -> OwnedDescriptor? {
        do { return try FilesystemContext("mqueue").mount() } catch {
            if error.errno == .operationNotSupportedByDevice { return nil }
            throw error
        }
    }

    // MARK: Checkpoint

    final class DumpState: KindState {
        fileprivate var device: dev_t?
        fileprivate var queues: [ino_t: Queue] = [:]
    }

    static func capture(_ request: CheckpointRequest, into dump: Dump) throws {
        guard let folder = try InterProcess.takeQueues(of: dump) else { return }
        let state = dump[Self.self]
        state.device = try status(of: folder.raw).st_dev
        for name in try directoryEntries(at: folder.raw, ".").sorted() {
            try about("queue /\(name)") {
                guard request.makesIPC else {
                    throw CheckpointError(
                        "is a POSIX message queue, and config.json makes no IPC namespace; this cannot be checkpointed")
                }
                guard !name.unicodeScalars.contains("\u{FFFD}") else {
                    throw CheckpointError("its name is not UTF-8; such a message queue cannot be checkpointed yet")
                }
                let found = try status(at: folder.raw, name, flags: AT_SYMLINK_NOFOLLOW)
                state.queues[found.st_ino] = try capture(name, found, in: folder.raw, dump)
                dump.account.keep(Self.self)
            }
        }
    }

    private static func capture(_ name: String, _ found: stat, in folder: CInt, _ dump: Dump) throws -> Queue {
        let file = try openAt(folder, name, O_RDWR | O_NONBLOCK | O_NOFOLLOW)
        // QSIZE:129 NOTIFY:2 SIGNO:0 NOTIFY_PID:8260. To put a message back would be to send it.
        let state = try readValue(at: folder, name)
        guard state.split(separator: " ").contains("NOTIFY_PID:0") else {
            throw CheckpointError("a process is to be notified of a message (mq_notify); this cannot be checkpointed")
        }
        let owned = try dump.userNamespace.inside(found)
        let (most, size, _) = try PosixQueue.attributes(of: file.raw)
        let messages = try PosixQueue.messages(in: file.raw)
        try setTimes(of: file.raw, access: found.st_atim, modification: found.st_mtim)
        return Queue(
            name: name, mode: found.st_mode & 0o7777, user: owned.st_uid, group: owned.st_gid, most: most, size: size,
            times: (found.st_atim, found.st_mtim), messages: messages)
    }

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        let state = dump[Self.self]
        guard file.status.isRegular, file.status.st_dev == state.device else { return nil }
        guard state.queues[file.status.st_ino]?.files.append(id) != nil else {
            throw CheckpointError("\(file.link): a message queue that was unlinked cannot be checkpointed yet")
        }
        let entry = RegFileEntry(file, id: id)
        return FileEntry.with {
            $0.type = .reg
            $0.id = id
            $0.reg = entry
        }
    }

    static func seal(_ dump: Dump) throws {
        let queues = dump[Self.self].queues.values.sorted { $0.name < $1.name }
        if queues.isEmpty { return }
        try dump.images.add(fileName, Array(queues.map(text).joined().utf8))
    }

    // MARK: Text

    private static func text(_ queue: Queue) -> String {
        let times = [queue.times.access, queue.times.modification].flatMap { [$0.tv_sec, $0.tv_nsec] }
        let numbers = [Int(queue.mode), Int(queue.user), Int(queue.group), queue.most, queue.size]
        let line = ["queue", Array(queue.name.utf8).hex] + numbers.map(String.init) + times.map(String.init)
        let messages = queue.messages.map { "message \($0.priority) \($0.bytes.hex)\n" }
        return line.joined(separator: " ") + "\n" + messages.joined() + queue.files.map { "open \($0)\n" }.joined()
    }

    /// Capital letters are digits, too.
    private static func bytes(_ text: Substring) -> [UInt8]? {
        let digits = text.utf8.map { UInt8(Character(UnicodeScalar($0)).hexDigitValue ?? 16) }
        guard digits.count % 2 == 0, digits.allSatisfy({ $0 < 16 }) else { return nil }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    /// Fails with the first line that means nothing.
    private static func parse(_ text: String) throws -> [Queue] {
        var queues: [Queue] = []
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ", omittingEmptySubsequences: false)
            var isRight = false
            switch (words[0], words.count) {
            case ("queue", 11):
                let numbers = words[2...].compactMap { Int64($0) }
                guard let name = bytes(words[1]), numbers.count == 9, let queue = queue(name, numbers) else { break }
                queues.append(queue)
                isRight = true
            case ("message", 3):
                guard let last = queues.indices.last, let priority = UInt32(words[1]), let bytes = bytes(words[2]),
                    priority < 32_768, bytes.count <= queues[last].size, queues[last].messages.count < queues[last].most
                else { break }
                queues[last].messages.append(.init(priority: priority, bytes: bytes))
                isRight = true
            case ("open", 2):
                guard let last = queues.indices.last, let id = UInt32(words[1]) else { break }
                queues[last].files.append(id)
                isRight = true
            default: break
            }
            guard isRight else { throw CheckpointError("\(fileName): `\(line.prefix(60))` is no line of a queue") }
        }
        return queues
    }

    private static func queue(_ name: [UInt8], _ numbers: [Int64]) -> Queue? {
        let text = String(decoding: name, as: UTF8.self)
        guard (1...255).contains(name.count), Array(text.utf8) == name, text != ".", text != "..",
            !name.contains(UInt8(ascii: "/")), !name.contains(0), let mode = UInt32(exactly: numbers[0]),
            mode & ~0o7777 == 0,
            let user = UInt32(exactly: numbers[1]), let group = UInt32(exactly: numbers[2]), numbers[3] > 0,
            numbers[4] > 0, [numbers[6], numbers[8]].allSatisfy({ 0..<1_000_000_000 ~= $0 })
        else { return nil }
        let times = [5, 7].map { timespec(tv_sec: Int(numbers[$0]), tv_nsec: Int(numbers[$0 + 1])) }
        return Queue(
            name: text, mode: mode, user: user, group: group, most: Int(numbers[3]), size: Int(numbers[4]),
            times: (times[0], times[1]))
    }

    // MARK: Restore

    final class RestoreState: KindState {
        fileprivate var queues: [Queue] = []
        fileprivate var names: [UInt32: String] = [:]
        fileprivate var folder: CInt?

        deinit { if let folder { close(folder) } }
    }

    static func plan(_ restore: RestorePlan) throws {
        guard try restore.images.directory.contains(fileName) else { return }
        let queues = try parse(String(decoding: try restore.images.directory.bytes(fileName), as: UTF8.self))
        guard restore.policy.makesIPC || queues.isEmpty else {
            throw CheckpointError("\(fileName): config.json does not make an IPC namespace for message queues")
        }
        let state = restore[Self.self]
        state.queues = queues
        guard Set(queues.map(\.name)).count == queues.count else {
            throw CheckpointError("\(fileName): a queue is there twice")
        }
        for queue in queues {
            for id in queue.files {
                guard let file = restore.images.files[id], file.hasReg, !file.reg.ext,
                    state.names.updateValue(queue.name, forKey: id) == nil
                else { throw CheckpointError("\(fileName): file \(id) is no queue") }
            }
        }
    }

    /// Whether an entry is that of a queue.
    static func has(_ id: UInt32, in workshop: Workshop) -> Bool { workshop[Self.self].names[id] != nil }

    static func recreate(in workshop: Workshop) throws {
        let state = workshop[Self.self]
        if state.queues.isEmpty { return }
        guard let folder = try inNamespace(.ipc, of: workshop.firstProcess, mount) else {
            throw CheckpointError("\(fileName): this kernel has no POSIX message queues (CONFIG_POSIX_MQUEUE)")
        }
        state.folder = folder.release()
        try inNamespace(.ipc, of: workshop.firstProcess) {
            for queue in state.queues {
                try about("queue /\(queue.name)") {
                    let made = try workshop.asOwner(user: queue.user, group: queue.group) {
                        try PosixQueue.make(queue.name, most: queue.most, size: queue.size).release()
                    }
                    defer { close(made) }
                    for message in queue.messages { try PosixQueue.send(message, to: made) }
                    try system("mode") { fchmod(made, mode_t(queue.mode)) }
                    try setTimes(of: made, access: queue.times.access, modification: queue.times.modification)
                }
            }
        }
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        let state = workshop[Self.self]
        guard let name = state.names[entry.id], let folder = state.folder else { return nil }
        let flags = RegularFile.flagsToOpen(CInt(bitPattern: entry.reg.flags), of: entry.reg)
        let made = try openAt(folder, name, flags, resolve: [.beneath, .noSymlinks])
        if flags & CLINUX_O_PATH == 0, entry.reg.pos > 0 {
            let (raw, position) = (made.raw, off_t(truncatingIfNeeded: entry.reg.pos))
            try system("seek in queue /\(name)") { lseek(raw, position, SEEK_SET) }
        }
        return made
    }
}
