import CheckpointImages
import LinuxSystem

/// System V message queues: msgget(2). `ipcns-msg-N.img` has an entry for each queue and one for each message, in order, with
/// its bytes behind it, padded to 8.
enum SystemVMessages: Kind {
    final class RestoreState: KindState {
        fileprivate var queues: [(entry: IpcMsgEntry, messages: [(type: UInt64, place: PayloadPlace)])] = []
        fileprivate var image: Image?
    }

    fileprivate final class Image {
        let file: RawImage
        init(_ file: consuming RawImage) { self.file = file }
    }

    static func capture(_ request: CheckpointRequest, into dump: Dump) throws {
        dump[Self.self].found = try InterProcess.objects(.messages, called: "message queue", request, in: dump)
        dump.account.keep(Self.self, count: dump[Self.self].found.count)
    }

    final class DumpState: KindState {
        fileprivate var found: [SystemV.Object] = []
    }

    static func seal(_ dump: Dump) throws {
        let found = dump[Self.self].found
        guard !found.isEmpty else { return }
        let number = dump.rootIDs?.ipcNsID ?? 0
        let image = try ImageStream(.ipcMessages, number, in: dump.directory)
        try inNamespace(.ipc, of: dump.first.hostPid) {
            for queue in found {
                try about("System V message queue \(queue.id)") { try append(queue, to: image, in: dump) }
            }
        }
        try dump.images.add(image)
    }

    private static func append(_ queue: SystemV.Object, to image: ImageStream, in dump: Dump) throws {
        let entry = try IpcMsgEntry.with {
            $0.desc = try InterProcess.description(queue, in: dump)
            $0.qbytes = UInt32(truncatingIfNeeded: try SystemV.queueBytes(of: queue.id))
            $0.qnum = UInt32(truncatingIfNeeded: queue["qnum"])
        }
        try image.append(entry)
        for index in 0..<queue["qnum"] {
            // No message has more bytes than all together.
            let message = try SystemV.message(index, in: queue.id, room: queue["cbytes"])
            try image.append(
                IpcMsg.with {
                    $0.mtype = UInt64(message.type)
                    $0.msize = UInt32(message.bytes.count)
                })
            let padding = (8 - message.bytes.count % 8) % 8
            try image.append(raw: message.bytes + [UInt8](repeating: 0, count: padding))
        }
    }

    static func plan(_ restore: RestorePlan) throws {
        let images = restore.images
        let number = images.inventory.rootIds.ipcNsID
        guard try images.directory.contains(.ipcMessages, number) else { return }
        var reader = try images.directory.reader(.ipcMessages, number)
        let state = restore[Self.self]
        while !reader.isAtEnd {
            let entry: IpcMsgEntry = try reader.next()
            var messages: [(type: UInt64, place: PayloadPlace)] = []
            for _ in 0..<entry.qnum {
                let message: IpcMsg = try reader.next()
                guard message.mtype > 0, message.mtype <= UInt64(Int64.max), message.msize <= 16 << 20 else {
                    throw CheckpointError(
                        "ipcns-msg-\(number).img: a message of type \(message.mtype) and \(message.msize) bytes")
                }
                messages.append((message.mtype, try reader.payload(UInt64(message.msize), alignment: 8)))
            }
            state.queues.append((entry, messages))
        }
        try InterProcess.check(state.queues.map(\.entry.desc), called: "message queue", restore)
        state.image = Image(reader.finish())
    }

    static func recreate(in workshop: Workshop) throws {
        let state = workshop[Self.self]
        guard let image = state.image else { return }
        let number = workshop.images.inventory.rootIds.ipcNsID
        try inNamespace(.ipc, of: workshop.firstProcess) {
            for (entry, messages) in state.queues {
                try InterProcess.make(.messages, entry.desc, mode: 0, in: workshop)
                for (type, place) in messages {
                    let bytes = try image.file.bytes(place, ImageKind.ipcMessages.fileName(number))
                    try SystemV.send(.init(type: Int(type), bytes: bytes), to: CInt(bitPattern: entry.desc.id))
                }
                try InterProcess.settle(.messages, entry.desc, queueBytes: UInt64(entry.qbytes), in: workshop)
            }
        }
        state.image = nil
    }
}
