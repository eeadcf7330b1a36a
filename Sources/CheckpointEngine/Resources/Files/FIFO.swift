import CheckpointImages
import LinuxSystem

/// fifo(7): a pipe with a path. The path is in an entry like a regular file's, beside that of the FIFO; what waits in it, in
/// `fifo-data.img`.
enum FIFO: FileKind {
    final class DumpState: KindState {
        fileprivate var ends: [Inode: Ends] = [:]
    }

    fileprivate struct Inode: Hashable {
        var device: dev_t
        var number: ino_t
    }

    /// What the container holds of one.
    fileprivate struct Ends {
        let id: UInt32
        /// How messages call it.
        let name: String
        let content: PipeContent
        var hasReader = false
        var hasWriter = false
        var writesPackets = false
        var isAlone = false
    }

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.status.isFIFO, !file.link.hasPrefix("pipe:[") else { return nil }
        guard dump.isInside(file), dump.mountIDs.contains(file.info.mount) else {
            throw CheckpointError(
                "\(file.link): this FIFO lies outside the container, and it is none of its standard streams")
        }
        let link = file.place
        let (flags, access) = (file.info.flags, CInt(bitPattern: file.info.flags) & O_ACCMODE)
        let inode = Inode(device: file.status.st_dev, number: file.status.st_ino)
        let state = dump[Self.self]
        var ends = try state.ends[inode] ?? begin(file, link, UInt32(state.ends.count + 1), into: dump)
        if access != O_WRONLY { ends.hasReader = true }
        if access != O_RDONLY { ends.hasWriter = true }
        if flags & UInt32(CLINUX_O_DIRECT) != 0 { ends.writesPackets = true }
        let answer = try poll(file.descriptor.raw)
        if access == O_RDONLY, answer & Int16(POLLHUP) != 0 { FileNote.add(.hungUp, id, to: dump) }
        // A reader that never had a writer is not told that it has none.
        if access == O_RDONLY, ends.content.bytes.isEmpty, try PipeContent.hasNoWriter(file.descriptor.raw) {
            ends.isAlone = true
        }
        if answer & Int16(POLLHUP | POLLERR) != 0 { ends.isAlone = true }
        let packets = try about(file.link) { try ends.content.packets(writesPackets: ends.writesPackets) }
        if !packets.isEmpty { FileNote.add(.fifoPackets, ends.id, packets, to: dump) }
        state.ends[inode] = ends

        let named = dump.files.newID()
        var path = try RegularFile.entry(
            path: file.link, link: link, status: file.status, flags: flags, position: 0, mount: file.info.mount,
            id: named, in: dump)
        path.signalOwner = try SignalOwner.owner(of: file, in: dump.userNamespace)
        try dump.files.add(path)
        return FileEntry.with {
            $0.type = .fifo
            $0.id = id
            $0.fifo = .with {
                $0.id = id
                $0.pipeID = ends.id
                $0.regfID = named
            }
        }
    }

    private static func begin(
        _ file: borrowing OpenFile, _ link: String, _ id: UInt32, into dump: Dump
    ) throws -> Ends {
        // By a reader of the engine's own: the last of the container's may have left, and another may come.
        var content = PipeContent(size: try PipeContent.size(of: file.descriptor.raw))
        if try PipeContent.waiting(in: file.descriptor.raw) > 0 {
            let reader = try openAt(AT_FDCWD, link, O_RDONLY | O_NONBLOCK)
            content = try PipeContent(of: reader.raw)
        }
        try dump.stream(.fifoData).append(content.entry(id), payload: content.bytes)
        return Ends(id: id, name: "\(file.holder): \(file.link)", content: content)
    }

    private static func poll(_ file: CInt) throws -> Int16 {
        var poll = pollfd(fd: file, events: 0, revents: 0)
        try system("poll FIFO") { LinuxSystem.poll(&poll, 1, 0) }
        return poll.revents
    }

    /// Fails if the other end is held by somebody outside the container, or if nothing tells.
    static func seal(_ dump: Dump) throws {
        for ends in dump[Self.self].ends.values where ends.hasReader != ends.hasWriter && !ends.isAlone {
            throw CheckpointError("\(ends.name): the other end of this FIFO is held outside the container")
        }
    }

    // MARK: Restore

    final class RestoreState: KindState {
        fileprivate var made: Set<UInt32> = []
        /// Readers that had to be opened before others.
        fileprivate var ahead: [UInt32: CInt] = [:]
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasFifo else { return nil }
        let state = workshop[Self.self]
        if state.made.insert(entry.fifo.pipeID).inserted { try prepare(entry.fifo, in: workshop) }
        guard let opened = state.ahead[entry.id] else { return try open(entry.fifo, in: workshop) }
        return OwnedDescriptor(try system("end of FIFO") { clinux_fcntl(opened, F_DUPFD_CLOEXEC, 0) })
    }

    private static func path(of fifo: FifoEntry, in workshop: Workshop) throws -> RegFileEntry {
        guard let entry = workshop.entry(fifo.regfID), entry.hasReg, !entry.reg.ext,
            entry.reg.mode & UInt32(S_IFMT) == UInt32(S_IFIFO)
        else { throw CheckpointError("FIFO \(fifo.id): file \(fifo.regfID) is no path of it") }
        return entry.reg
    }

    /// Opened by the task, without waiting for the other end.
    private static func open(_ fifo: FifoEntry, in workshop: Workshop) throws -> OwnedDescriptor {
        let file = try path(of: fifo, in: workshop)
        let flags = CInt(bitPattern: file.flags)
        let unset: CInt = CLINUX_O_DIRECT | SignalOwner.asynchronous
        let patient: CInt = (flags & ~unset) | O_NONBLOCK
        let opened = try RegularFile.open(file, flags: patient, in: workshop)
        try system("flags of \(file.name)") {
            clinux_fcntl(opened.raw, F_SETFL, Int(flags & ~SignalOwner.asynchronous))
        }
        return opened
    }

    /// Puts what was in it back, before anybody has an end. A reader of the engine's stays until all is done: a writer could
    /// not be opened otherwise.
    private static func prepare(_ fifo: FifoEntry, in workshop: Workshop) throws {
        let file = try path(of: fifo, in: workshop)
        let name = "FIFO \(file.name)"
        let place = try RegularFile.open(file, flags: CLINUX_O_PATH, in: workshop)
        guard try status(of: place.raw).isFIFO else { throw CheckpointError("\(name): is none") }
        let reader = workshop.keep(try reopen(place.raw, as: name, O_RDONLY | O_NONBLOCK))
        guard try PipeContent.waiting(in: reader) == 0 else {
            throw CheckpointError("\(name): somebody outside the container has it open, and has written to it")
        }
        let hungUp = FileNote.numbers(.hungUp, in: workshop)
        let ahead = workshop.images.files.all(.fifo).filter { $0.fifo.pipeID == fifo.pipeID && hungUp[$0.id] != nil }
        for entry in ahead {
            workshop[Self.self].ahead[entry.id] = workshop.keep(try open(entry.fifo, in: workshop))
        }
        // Its coming and going is what readers are told of who were there before.
        if !ahead.isEmpty { _ = try reopen(place.raw, as: name, O_WRONLY | O_NONBLOCK) }
        guard let data = workshop.images.fifoData[fifo.pipeID] else { return }
        try PipeContent.resize(reader, data.entry, name: name)
        guard data.place.count > 0 else { return }
        // The task must be able to write what others will read.
        let writer = try RegularFile.open(file, flags: O_WRONLY | O_NONBLOCK, in: workshop)
        let packets = FileNote.numbers(.fifoPackets, in: workshop)[fifo.pipeID] ?? []
        try PipeContent.fill(writer.raw, count: data.place.count, packets: packets, name: name) {
            try workshop.images.bytes(of: data.place, .fifoData)
        }
    }
}
