import CheckpointImages
import LinuxSystem

/// pipe(2): both ends, what is in it, and how much may be.
enum Pipe: FileKind {
    final class DumpState: KindState {
        fileprivate var ends: [UInt32: Ends] = [:]
    }

    final class RestoreState: KindState {
        fileprivate var made: [UInt32: (reader: CInt, writer: CInt)] = [:]
    }

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.status.isFIFO, file.link.hasPrefix("pipe:[") else { return nil }
        let inode = UInt32(truncatingIfNeeded: file.status.st_ino)
        var ends = dump[Pipe.self].ends[inode] ?? Ends(holder: file.holder)
        var poll = pollfd(fd: file.descriptor.raw, events: 0, revents: 0)
        try system("poll pipe") { LinuxSystem.poll(&poll, 1, 0) }
        let isAlone = poll.revents & Int16(POLLHUP | POLLERR) != 0
        let canRead = file.info.flags & UInt32(O_ACCMODE) != UInt32(O_WRONLY)
        ends.mayBeAlone = ends.mayBeAlone || isAlone
        if file.info.flags & UInt32(CLINUX_O_DIRECT) != 0 { ends.writesPackets = true }
        if canRead { ends.hasReader = true }
        if file.info.flags & UInt32(O_ACCMODE) != UInt32(O_RDONLY) { ends.hasWriter = true }
        if canRead && ends.content == nil {
            let content = try PipeContent(of: file.descriptor.raw)
            try dump.stream(.pipesData).append(content.entry(inode), payload: content.bytes)
            ends.content = content
        }
        let packets = try ends.content?.packets(writesPackets: ends.writesPackets) ?? []
        if !packets.isEmpty { FileNote.add(.pipePackets, inode, packets, to: dump) }
        dump[Pipe.self].ends[inode] = ends
        return entry(file, id: id)
    }

    static func entry(_ file: borrowing OpenFile, id: UInt32) -> FileEntry {
        let inode = UInt32(truncatingIfNeeded: file.status.st_ino)
        return FileEntry.with {
            $0.type = .pipe
            $0.id = id
            $0.pipe = .with {
                $0.id = id
                $0.pipeID = inode
                $0.flags = file.info.flags
                $0.fown = .none
            }
        }
    }

    /// Which ends of a pipe the container holds.
    fileprivate struct Ends {
        var hasReader = false
        var hasWriter = false
        /// The kernel says that nobody at all holds the other end.
        var mayBeAlone = false
        /// O_DIRECT
        var writesPackets = false
        var content: PipeContent?
        let holder: String

        init(holder: String) { self.holder = holder }
    }

    /// Fails if the other end of a pipe is held by somebody outside the container.
    static func seal(_ dump: Dump) throws {
        for (inode, ends) in dump[Pipe.self].ends where ends.hasReader != ends.hasWriter && !ends.mayBeAlone {
            throw CheckpointError(
                "\(ends.holder): pipe:[\(inode)]: its other end is held outside the "
                    + "container, and it is none of the container's standard streams")
        }
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasPipe else { return nil }
        let id = entry.pipe.pipeID
        let pipe = try workshop[Pipe.self].made[id] ?? make(id, in: workshop)
        workshop[Pipe.self].made[id] = pipe
        let wanted = CInt(bitPattern: entry.pipe.flags) & (O_ACCMODE | O_NONBLOCK)
        let access = wanted & O_ACCMODE
        let end = access == O_WRONLY ? pipe.writer : pipe.reader
        // As pipe2(2) made it, or opened through /proc, which always adds O_LARGEFILE: an open file of its own.
        let isFirst = entry.pipe.flags & 0o100000 == 0
        let opened = isFirst ? try original(end, flags: wanted) : try reopen(end, as: "pipe \(id)", wanted)
        if CInt(bitPattern: entry.pipe.flags) & CLINUX_O_DIRECT != 0 {
            try system("packet mode of pipe \(id)") { clinux_fcntl(opened.raw, F_SETFL, Int(wanted | CLINUX_O_DIRECT)) }
        }
        return opened
    }

    private static func original(_ end: CInt, flags: CInt) throws -> OwnedDescriptor {
        try system("flags of pipe") { clinux_fcntl(end, F_SETFL, Int(flags)) }
        return OwnedDescriptor(try system("end of pipe") { clinux_fcntl(end, F_DUPFD_CLOEXEC, 0) })
    }

    private static func make(_ id: UInt32, in workshop: Workshop) throws -> (reader: CInt, writer: CInt) {
        let pair = try makePipe()
        if let data = workshop.images.pipeData[id] {
            let (name, writer) = ("pipe \(id)", pair.second.raw)
            try PipeContent.resize(writer, data.entry, name: name)
            let packets = FileNote.numbers(.pipePackets, in: workshop)[id] ?? []
            try PipeContent.fill(writer, count: data.place.count, packets: packets, name: name) {
                try workshop.images.bytes(of: data.place, .pipesData)
            }
        }
        return (workshop.keep(try pair.first.duplicate()), workshop.keep(try pair.second.duplicate()))
    }
}
