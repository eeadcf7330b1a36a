import LinuxSystem
import SwiftProtobuf
import TestSupport
import Testing

@testable import CheckpointImages

/// Decodes an image of the samples and serialises it again.
struct SampleImage: Sendable, CustomTestStringConvertible {
    let name: String
    let rewrite: @Sendable (borrowing ImageDirectory) throws -> [UInt8]

    var testDescription: String { name }

    init<E: Message>(_ kind: ImageKind, _ id: UInt64 = 0, as type: E.Type) {
        name = kind.fileName(id)
        rewrite = { images in
            var writer = ImageWriter(kind, id)
            for entry in try images.entries(kind, id, as: type) { try writer.append(entry) }
            return writer.bytes
        }
    }

    init<E: PayloadEntry>(records kind: ImageKind, as type: E.Type) {
        name = kind.fileName()
        rewrite = { images in
            var writer = ImageWriter(kind)
            for record in try images.records(kind, as: type) {
                try writer.append(record.entry, payload: record.payload)
            }
            return writer.bytes
        }
    }

    init(pagemap kind: ImageKind, _ id: UInt64) {
        name = kind.fileName(id)
        rewrite = { images in
            let pagemap = try images.pagemap(kind, id)
            _ = try images.pages(of: pagemap)
            var writer = ImageWriter(kind, id)
            try writer.append(PagemapHead.with { $0.pagesID = pagemap.pagesID })
            var reader = try images.reader(kind, id)
            _ = try reader.next(as: PagemapHead.self)
            for kept in pagemap.entries {
                let entry = try reader.next(as: PagemapEntry.self)
                #expect(
                    (kept.vaddr, kept.pageCount, kept.pageFlags) == (entry.vaddr, entry.pageCount, entry.pageFlags))
                try writer.append(entry)
            }
            return writer.bytes
        }
    }

    static let all: [SampleImage] =
        [1, 6, 7, 8, 9, 10].map { SampleImage(.core, $0, as: CoreEntry.self) }
        + [1, 6].flatMap { id in
            [
                SampleImage(.fs, id, as: FsEntry.self), SampleImage(.ids, id, as: TaskKobjIdsEntry.self),
                SampleImage(.mm, id, as: MmEntry.self), SampleImage(pagemap: .pagemap, id),
            ]
        }
        + [
            SampleImage(.cgroup, as: CgroupEntry.self), SampleImage(.fdinfo, 2, as: FdinfoEntry.self),
            SampleImage(.fdinfo, 3, as: FdinfoEntry.self), SampleImage(.files, as: FileEntry.self),
            SampleImage(.inventory, as: InventoryEntry.self), SampleImage(.ipcVariables, 11, as: IpcVarEntry.self),
            SampleImage(.memfdInodes, as: MemfdInodeEntry.self), SampleImage(.mounts, 13, as: MntEntry.self),
            SampleImage(pagemap: .shmemPagemap, 32464), SampleImage(records: .pipesData, as: PipeDataEntry.self),
            SampleImage(.pstree, as: PstreeEntry.self), SampleImage(.seccomp, as: SeccompEntry.self),
            SampleImage(records: .socketQueues, as: SkPacketEntry.self), SampleImage(.timens, 0, as: TimensEntry.self),
            SampleImage(.utsns, 12, as: UtsnsEntry.self),
        ]
}

@Suite("CRIU's images")
struct SampleTests {
    @Test("come out byte for byte as they went in", arguments: SampleImage.all)
    func rewritten(image: SampleImage) throws {
        let images = try Samples.open()
        #expect(try image.rewrite(images) == Samples.bytes(image.name))
    }

    @Test("are all covered, but for raw files")
    func covered() throws {
        let known = Set(SampleImage.all.map(\.name))
        let others = try directoryEntries(Samples.directory).filter { !known.contains($0) }
        #expect(others.allSatisfy { $0.hasPrefix("pages-") || $0.hasPrefix("tmpfs-") || $0 == "descriptors.json" })
    }

    @Test("have no field that we do not know")
    func knownFields() throws {
        let images = try Samples.open()
        let core = try images.entry(.core, 1, as: CoreEntry.self)
        #expect(core.mtype == .x8664)
        #expect(core.unknownFields.data.isEmpty)
        #expect(core.threadInfo.unknownFields.data.isEmpty)
        #expect(core.tc.unknownFields.data.isEmpty)
        #expect(core.threadCore.unknownFields.data.isEmpty)
        let inventory = try images.entry(.inventory, as: InventoryEntry.self)
        #expect(inventory.unknownFields.data.isEmpty)
        for file in try images.entries(.files, as: FileEntry.self) { #expect(file.unknownFields.data.isEmpty) }
        for mount in try images.entries(.mounts, 13, as: MntEntry.self) {
            #expect(mount.unknownFields.data.isEmpty)
        }
        #expect(try images.entry(.mm, 1, as: MmEntry.self).unknownFields.data.isEmpty)
    }

    @Test("say what is in a pipe")
    func payload() throws {
        let images = try Samples.open()
        let pipes = try images.records(.pipesData, as: PipeDataEntry.self)
        #expect(pipes.map { String(decoding: $0.payload, as: UTF8.self) } == ["in the pipe"])
    }

    @Test("cut off anywhere are refused", arguments: SampleImage.all)
    func truncated(image: SampleImage) throws {
        let bytes = try Samples.bytes(image.name)
        let scratch = Scratch()
        let whole = try images(in: scratch)
        let records = ["pipes-data.img", "sk-queues.img"].contains(image.name)
        let boundaries = Self.boundaries(of: bytes, records: records)
        var unexpected: [String] = []
        // cgroup.img is large; its head and tail are enough.
        for length in 0..<bytes.count where length < 2400 || length > bytes.count - 16 {
            if boundaries.contains(length) { continue }
            try scratch.put(image.name, Array(bytes.prefix(length)))
            let message = failure { _ = try image.rewrite(whole) }
            if !message.hasPrefix("\(image.name): ") { unexpected.append("\(length) bytes: \(message)") }
        }
        #expect(unexpected == [])
    }

    @Test("with a changed byte are read or refused, but never a trap", arguments: SampleImage.all)
    func changed(image: SampleImage) throws {
        let bytes = try Samples.bytes(image.name)
        let scratch = Scratch()
        let images = try images(in: scratch)
        var unexpected: [String] = []
        for index in stride(from: 0, to: bytes.count, by: bytes.count < 4096 ? 5 : 9973) {
            for value: UInt8 in [0, 0x7f, 0xff] {
                var damaged = bytes
                damaged[index] = value
                try scratch.put(image.name, damaged)
                let message = failure { _ = try image.rewrite(images) }
                if message.hasPrefix("not an ImageError") { unexpected.append("byte \(index): \(message)") }
            }
        }
        #expect(unexpected == [])
    }

    /// The scratch directory, with holes instead of the pages that a pagemap refers to.
    private func images(in scratch: Scratch) throws -> ImageDirectory {
        for name in ["pages-1.img", "pages-2.img", "pages-3.img"] {
            try scratch.put(name, [])
            let size = try status(at: AT_FDCWD, "\(Samples.directory)/\(name)").st_size
            #expect(truncate("\(scratch.path)/\(name)", size) == 0)
        }
        return try scratch.images()
    }

    /// Offsets at which an entry ends: a file that is cut there is whole, but for its number of entries.
    private static func boundaries(of bytes: [UInt8], records: Bool) -> Set<Int> {
        if records { return [8] }
        var offset = bytes.starts(with: [0x16, 0x31, 0x31, 0x58]) ? 4 : 8
        var found: Set<Int> = [offset]
        while offset + 4 <= bytes.count {
            let size = bytes[offset..<offset + 4].reversed().reduce(0) { $0 << 8 | Int($1) }
            offset += 4 + size
            found.insert(offset)
        }
        return found
    }
}
