import CheckpointImages
import LinuxSystem

/// The table of descriptors of a thread that shares it with no other (unshare(2) CLONE_FILES); `ids-TID.img` tells which
/// `fdinfo` it is.
///
/// At the restore the process's first thread has each of these tables for a moment, before it gets its own, and gives birth
/// to the thread with a copy.
enum ThreadDescriptors {
    /// What only such a table may lead to. Of the others something is done later, by a descriptor of the process's.
    private static let kinds: [any FileKind.Type] = [
        ExternalFile.self, Pipe.self, FIFO.self, EventFD.self, EventPoll.self, TimerFD.self, SignalFD.self, PidFD.self,
        NamespaceFile.self, UnixSocketPair.self, NamedUnixSocket.self, UDPSocket.self, MemFD.self, MessageQueue.self,
        RegularFile.self,
    ]

    /// An open file that was met for the first time.
    static func check(_ file: borrowing OpenFile, of kind: any FileKind.Type) throws {
        guard !file.isOfThread || kinds.contains(where: { $0 == kind }) else {
            throw CheckpointError(
                "\(file.link): of this kind of file (\(kind)) a descriptor that only one thread of its process has cannot be "
                    + "checkpointed yet")
        }
    }

    /// - Parameter ids: of its process.
    static func add(_ table: UInt32, of thread: pid_t, _ ids: TaskKobjIdsEntry, to dump: Dump) throws {
        var ids = ids
        ids.filesID = table
        try dump.images.add(.ids, thread, entries: [ids])
    }

    /// - Parameter process: the descriptors of its process.
    static func plan(
        of thread: pid_t, _ process: [FdinfoEntry], table: UInt32, in images: RestoreImages
    ) throws -> [FdinfoEntry]? {
        guard try images.directory.contains(.ids, thread) else { return nil }
        let ids: TaskKobjIdsEntry = try images.directory.entry(.ids, thread)
        guard ids.filesID != table else { throw CheckpointError("ids-\(thread).img: the table is its process's") }
        let entries = try images.directory.entries(.fdinfo, ids.filesID, as: FdinfoEntry.self).sorted { $0.fd < $1.fd }
        let shared = Set(process.map(\.id))
        for entry in entries where !shared.contains(entry.id) {
            let file = images.files[entry.id]
            guard file?.hasIfy != true, file?.hasIsk != true || file?.isk.proto != UInt32(IPPROTO_TCP) else {
                throw CheckpointError("fdinfo-\(ids.filesID).img: file \(entry.id) cannot be a single thread's")
            }
        }
        return entries
    }
}
