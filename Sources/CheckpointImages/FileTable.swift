import SwiftProtobuf

/// Every open file of a checkpoint: `files.img`.
///
/// An entry that is decoded takes one to two kilobytes, twenty bytes of which are its file's. So they are kept as they
/// came, and decoded when somebody asks.
package final class FileTable {
    private var bytes: [UInt8] = []
    private var places: [UInt32: Range<Int>] = [:]
    private var ids: [FdTypes: [UInt32]] = [:]
    /// Those that were asked for last: each is asked for by several kinds. At most two megabytes.
    private var decoded: [UInt32: FileEntry] = [:]
    private static let mostDecoded = 1000

    package init() {}

    /// Reads a `files.img` to its end.
    package convenience init(_ reader: inout ImageReader) throws(ImageError) {
        self.init()
        while !reader.isAtEnd {
            let (entry, body) = try reader.nextWithBytes(as: FileEntry.self)
            guard entry.kinds == [entry.type] else {
                let kinds = entry.kinds.map { "\($0)" }.joined(separator: ", ")
                throw reader.malformed("file \(entry.id) is called \(entry.type), and is \(kinds)")
            }
            guard places[entry.id] == nil else { throw reader.malformed("file \(entry.id) is there twice") }
            add(entry, body)
        }
    }

    package func add(_ entry: FileEntry) throws { add(entry, try entry.serializedBytes() as [UInt8]) }

    private func add(_ entry: FileEntry, _ body: some Collection<UInt8>) {
        places[entry.id] = bytes.count..<bytes.count + body.count
        bytes.append(contentsOf: body)
        ids[entry.type, default: []].append(entry.id)
        if decoded.count < Self.mostDecoded { decoded[entry.id] = entry }
    }

    package subscript(id: UInt32) -> FileEntry? {
        if let known = decoded[id] { return known }
        guard let place = places[id], let entry = try? FileEntry(serializedBytes: Array(bytes[place])) else {
            return nil
        }
        if decoded.count == Self.mostDecoded { decoded = [:] }
        decoded[id] = entry
        return entry
    }

    package func contains(_ id: UInt32) -> Bool { places[id] != nil }

    /// Those of one type, in their order in the image.
    package func all(_ type: FdTypes) -> some Sequence<FileEntry> {
        (ids[type] ?? []).lazy.compactMap { self[$0] }
    }

    /// Those of every type, by their ids.
    package var all: some Sequence<FileEntry> { places.keys.sorted().lazy.compactMap { self[$0] } }
}

extension FileEntry {
    /// Which kinds of file it describes: one, if it is as it should be.
    fileprivate var kinds: [FdTypes] {
        let described: [(FdTypes, Bool)] = [
            (.reg, hasReg), (.inetsk, hasIsk), (.ns, hasNsf), (.packetsk, hasPsk), (.netlinksk, hasNlsk),
            (.eventfd, hasEfd), (.eventpoll, hasEpfd), (.signalfd, hasSgfd), (.tunf, hasTunf), (.timerfd, hasTfd),
            (.inotify, hasIfy), (.fanotify, hasFfy), (.ext, hasExt), (.unixsk, hasUsk), (.fifo, hasFifo),
            (.pipe, hasPipe), (.tty, hasTty), (.memfd, hasMemfd), (.bpfmap, hasBpf), (.pidfd, hasPidfd),
        ]
        return described.filter(\.1).map(\.0)
    }
}
