import CheckpointImages
import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine

/// System V objects of an image: none that config.json does not give, and none that the kernel could not have had.
@Suite
struct InterProcessTests {
    private let description = IpcDescEntry.with {
        ($0.key, $0.id, $0.mode) = (1, 32_769, 0o600)
        ($0.uid, $0.gid, $0.cuid, $0.cgid) = (1000, 100, 1000, 100)
    }

    private func segment(_ change: (inout IpcShmEntry) -> Void = { _ in }) -> IpcShmEntry {
        var entry = IpcShmEntry.with {
            ($0.desc, $0.size, $0.inPagemaps) = (description, 5000, true)
        }
        change(&entry)
        return entry
    }

    private static var policy: RestorePolicy {
        var policy = RestorePolicy(
            capabilities: 0, noNewPrivileges: true, seccomp: nil, user: 1000, groups: [100], limits: .most)
        policy.makesIPC = true
        return policy
    }

    /// What the plans say to images that have these, with a page of data at `page` in each segment.
    private func plan(
        _ policy: RestorePolicy = policy, segments: [IpcShmEntry] = [], sets: [ImageRecord<IpcSemEntry>] = [],
        queue: (entry: IpcMsgEntry, message: IpcMsg)? = nil, page: UInt64 = 0, mapping: VmaEntry? = nil
    ) throws -> String {
        let copy = try ImageCopy()
        try copy.edit("inventory.img", as: InventoryEntry.self) { $0.rootIds.ipcNsID = 11 }
        var pagemap = ImageWriter(.shmemPagemap, description.id)
        try pagemap.append(PagemapHead.with { $0.pagesID = 1 })
        try pagemap.append(PagemapEntry(address: page, pages: 1))
        try copy.put(pagemap.name, pagemap.bytes)
        if !segments.isEmpty {
            var image = ImageWriter(.ipcSharedMemory, 11)
            for entry in segments { try image.append(entry) }
            try copy.put(image.name, image.bytes)
        }
        if !sets.isEmpty {
            var image = ImageWriter(.ipcSemaphores, 11)
            for set in sets { try image.append(set.entry, payload: set.payload) }
            try copy.put(image.name, image.bytes)
        }
        if let queue {
            var image = ImageWriter(.ipcMessages, 11)
            try image.append(queue.entry)
            try image.append(queue.message)
            try copy.put(image.name, image.bytes)
        }
        if let mapping { try copy.edit("mm-1.img", as: MmEntry.self) { $0.vmas[0] = mapping } }
        return copy.plan([SystemVSegment.self, SystemVSemaphores.self, SystemVMessages.self], policy)
    }

    @Test func whatTheConfigurationGives() throws {
        #expect(try plan(segments: [segment()], page: 4096) == "no error")
        var other = Self.policy
        other.makesIPC = false
        #expect(try plan(other, segments: [segment()]).contains("does not make an IPC namespace"))
        for member in [\IpcDescEntry.cuid, \.cgid] {
            let stranger = segment { $0.desc[keyPath: member] = 0 }
            #expect(try plan(segments: [stranger]).contains("does not give"))
        }
        #expect(try plan(segments: [segment { ($0.desc.uid, $0.desc.gid) = (0, 0) }]) == "no error")
        let locked = segment { $0.desc.mode |= 0o2000 }
        #expect(try plan(segments: [locked]).contains("CAP_IPC_LOCK"))
        var locker = Self.policy
        locker.capabilities = 1 << 14
        #expect(try plan(locker, segments: [locked]) == "no error")
    }

    @Test func segmentsThatCannotBe() throws {
        #expect(try plan(segments: [segment(), segment()]).contains("twice"))
        #expect(try plan(segments: [segment { $0.desc.id = 1 << 31 }]).contains("mode"))
        #expect(try plan(segments: [segment { $0.desc.mode = 0o4000 }]).contains("mode"))
        for fault in [
            segment { $0.size = 0 }, segment { $0.size = 1 << 46 }, segment { $0.size = .max },
            segment { $0.hugetlbFlag = 1 },
        ] {
            #expect(try plan(segments: [fault]).contains("is none that can be restored"))
        }
        #expect(try plan(segments: [segment()], page: 8192).contains("is none that can be restored"))
    }

    @Test func mappingsOfSegments() throws {
        func map(_ change: (inout VmaEntry) -> Void) throws -> String {
            var mapping = VmaEntry(guardPages: 0x10000..<0x11000)
            mapping.status = 1 | 1 << 10
            (mapping.shmid, mapping.pgoff) = (UInt64(description.id), 4096)
            change(&mapping)
            return try plan(segments: [segment()], mapping: mapping)
        }
        #expect(try map { _ in } == "no error")
        #expect(try map { $0.pgoff = 8192 }.contains("not there"))
        #expect(try map { $0.pgoff = .max - 4095 }.contains("not there"))
        #expect(try map { $0.pgoff = 1 }.contains("not there"))
        #expect(try map { $0.end += 4096 }.contains("not there"))
        #expect(try map { $0.shmid += 1 }.contains("not there"))
    }

    @Test func semaphoresAndMessagesThatCannotBe() throws {
        func set(_ values: [UInt8]) -> ImageRecord<IpcSemEntry> {
            ImageRecord(
                .with { ($0.desc, $0.nsems) = (description, UInt32(values.count / 2)) }, payload: values[...])
        }
        #expect(try plan(sets: [set([0xff, 0x7f, 1, 0])]) == "no error")
        #expect(try plan(sets: [set([0, 0x80])]).contains("none that can be restored"))
        #expect(try plan(sets: [set([])]).contains("none that can be restored"))

        func message(type: UInt64, size: UInt32 = 0) -> (IpcMsgEntry, IpcMsg) {
            (
                .with { ($0.desc, $0.qbytes, $0.qnum) = (description, 1, 1) },
                .with { ($0.mtype, $0.msize) = (type, size) }
            )
        }
        #expect(try plan(queue: message(type: 1)) == "no error")
        #expect(try plan(queue: message(type: 0)).contains("message of type 0"))
        #expect(try plan(queue: message(type: 1 << 63)).contains("message of type"))
        #expect(try plan(queue: message(type: 1, size: .max)).contains("\(UInt32.max) bytes"))
        #expect(try plan(queue: message(type: 1, size: 8)) != "no error")
    }

    /// What the plan says to these lines, in an image whose file 1 is a regular one.
    private func plan(queues: String, _ policy: RestorePolicy = policy) throws -> String {
        let copy = try ImageCopy()
        try copy.put("queues.stasis", Array(queues.utf8))
        return copy.plan([MessageQueue.self], policy)
    }

    @Test func messageQueues() throws {
        let queue = "queue 2e78 384 0 0 2 4 1 0 2 0\n"
        #expect(try plan(queues: queue + "message 32767 00fF\nmessage 0 \n") == "no error")
        var other = Self.policy
        other.makesIPC = false
        #expect(try plan(queues: queue, other).contains("does not make an IPC namespace"))
        for line in [
            "message 1 00\n", "open 1\n", "other\n", queue + "message 32768 00\n", queue + "message 1 0\n",
            queue + "message 1 xx\n", queue + "message 1 0011223344\n",
            queue + "message 1 00\nmessage 1 00\nmessage 1 00\n", queue + "open -1\n",
            "queue 61 384 0 0 2 4 1 1000000000 2 0\n", "queue 61 384 0 0 2 4 1 0 2 -1\n",
            "queue 2e 384 0 0 2 4 1 0 2 0\n",
            "queue 2e2e 384 0 0 2 4 1 0 2 0\n", "queue 612f62 384 0 0 2 4 1 0 2 0\n",
            "queue 6100 384 0 0 2 4 1 0 2 0\n",
            "queue  384 0 0 2 4 1 0 2 0\n", "queue ff 384 0 0 2 4 1 0 2 0\n", "queue 61 65536 0 0 2 4 1 0 2 0\n",
            "queue 61 384 -1 0 2 4 1 0 2 0\n", "queue 61 384 0 0 0 4 1 0 2 0\n", "queue 61 384 0 0 2 -4 1 0 2 0\n",
        ] {
            #expect(try plan(queues: line).contains("is no line of a queue"), "\(line)")
        }
        #expect(try plan(queues: queue + "open 4294967295\n").contains("is no queue"))
        #expect(try plan(queues: queue + queue).contains("a queue is there twice"))
        #expect(try plan(queues: "queue 61 384 0 0 2 4 -1 5 4611686018427387904 6\n") == "no error")
    }
}
