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
        try SignalOwner.refuseSignals(file)
        let inode = UInt32(truncatingIfNeeded: file.status.st_ino)
        var ends = dump[Pipe.self].ends[inode] ?? Ends(holder: file.process.description, number: file.number)
        var poll = pollfd(fd: file.descriptor.raw, events: 0, revents: 0)
        try system("poll pipe") { LinuxSystem.poll(&poll, 1, 0) }
        let isAlone = poll.revents & Int16(POLLHUP | POLLERR) != 0
        let canRead = file.info.flags & UInt32(O_ACCMODE) != UInt32(O_WRONLY)
        ends.mayBeAlone = ends.mayBeAlone || isAlone
        if file.info.flags & UInt32(CLINUX_O_DIRECT) != 0 { ends.hasPackets = true }
        if canRead { ends.hasReader = true }
        if file.info.flags & UInt32(O_ACCMODE) != UInt32(O_RDONLY) { ends.hasWriter = true }
        if canRead && !ends.isCaptured {
            ends.isCaptured = true
            let size = try system("size of pipe") { clinux_fcntl(file.descriptor.raw, CLINUX_F_GETPIPE_SZ, 0) }
            let bytes = try content(of: file.descriptor.raw, size: Int(size))
            let entry = PipeDataEntry.with {
                $0.pipeID = inode
                $0.bytes = UInt32(bytes.count)
                $0.size = UInt32(size)
            }
            try dump.stream(.pipesData).append(entry, payload: bytes)
            ends.isEmpty = bytes.isEmpty
        }
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

    /// Copies what is in a pipe without taking it out. tee(2).
    private static func content(of pipe: CInt, size: Int) throws -> [UInt8] {
        var waiting: CInt = 0
        try system("bytes in pipe") {
            withUnsafeMutablePointer(to: &waiting) { clinux_ioctl(pipe, UInt(FIONREAD), UInt(bitPattern: $0)) }
        }
        guard waiting > 0 else { return [] }
        let copy = try makePipe()
        try system("size of copy") { clinux_fcntl(copy.second.raw, CLINUX_F_SETPIPE_SZ, max(size, 4096)) }
        // SPLICE_F_NONBLOCK
        let count = try systemCall("tee", Int(SYS_tee), Int(pipe), Int(copy.second.raw), size, 2)
        guard count == Int(waiting) else {
            throw CheckpointError("only \(count) of the \(waiting) bytes in a pipe could be copied")
        }
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let position = done
            done += try system("read copy of pipe") {
                bytes.withUnsafeMutableBytes {
                    read(copy.first.raw, $0.baseAddress?.advanced(by: position), count - position)
                }
            }
        }
        return bytes
    }

    /// Which ends of a pipe the container holds.
    fileprivate struct Ends {
        var hasReader = false
        var hasWriter = false
        /// The kernel says that nobody at all holds the other end.
        var mayBeAlone = false
        var isCaptured = false
        /// Written in packets (O_DIRECT), for whose bounds the image format has no place.
        var hasPackets = false
        var isEmpty = true
        let holder: String
        let number: CInt

        init(holder: String, number: CInt) {
            self.holder = holder
            self.number = number
        }
    }

    /// Fails if the other end of a pipe is held by somebody outside the container, or if packets are in it.
    static func seal(_ dump: Dump) throws {
        let all = dump[Pipe.self].ends
        for (inode, ends) in all where !ends.isEmpty && ends.hasPackets {
            throw CheckpointError(
                "\(ends.holder): descriptor \(ends.number): pipe:[\(inode)]: packets in a pipe (O_DIRECT) "
                    + "cannot be checkpointed yet")
        }
        for (inode, ends) in all where ends.hasReader != ends.hasWriter && !ends.mayBeAlone {
            throw CheckpointError(
                "\(ends.holder): descriptor \(ends.number): pipe:[\(inode)]: its other end is held outside the "
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
            if data.entry.hasSize {
                let size = Int(data.entry.size)
                try system("set size of pipe \(id)") { clinux_fcntl(pair.second.raw, CLINUX_F_SETPIPE_SZ, size) }
            }
            let limit = try system("size of pipe") { clinux_fcntl(pair.second.raw, CLINUX_F_GETPIPE_SZ, 0) }
            guard data.place.count <= UInt64(limit) else {
                throw CheckpointError("pipe \(id): \(data.place.count) bytes do not fit into \(limit)")
            }
            try writeAll(pair.second.raw, try workshop.images.bytes(of: data.place, .pipesData), name: "pipe \(id)")
        }
        return (workshop.keep(try pair.first.duplicate()), workshop.keep(try pair.second.duplicate()))
    }
}
