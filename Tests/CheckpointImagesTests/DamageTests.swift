import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointImages

/// Hostile or broken checkpoints without checksums: the format's own checks.
@Suite("An image is refused")
struct DamageTests {
    let scratch = Scratch()
    /// Magic of core images.
    let magic: [UInt8] = [0x19, 0x43, 0x56, 0x54, 0x47, 0x38, 0x05, 0x55]

    private func coreFailure(_ bytes: [UInt8]) throws -> String {
        try scratch.put("core-7.img", bytes)
        let images = try scratch.images()
        return failure { _ = try images.entry(.core, 7, as: CoreEntry.self) }
    }

    @Test("if it is missing")
    func missing() throws {
        let images = try scratch.images()
        let message = failure { _ = try images.entry(.core, 7, as: CoreEntry.self) }
        #expect(message == "core-7.img: missing from the checkpoint")
        #expect(try !images.contains(.core, 7))
    }

    @Test("if a length goes beyond the end")
    func length() throws {
        let message = try coreFailure(magic + [0x9f, 0x86, 1, 0] + [UInt8](repeating: 0, count: 1136))
        let expected = "entry 1 at offset 8: length 99999 is beyond the end of the file (1148 bytes)"
        #expect(message == "core-7.img: \(expected)")
        #expect(try coreFailure(magic + [0xff, 0xff, 0xff, 0xff]).contains("length 4294967295 is beyond"))
    }

    @Test("if any byte of the magic number differs", arguments: 0..<8)
    func magicNumber(index: Int) throws {
        var bytes = magic
        bytes[index] ^= 1
        #expect(try coreFailure(bytes).hasPrefix("core-7.img: magic number 0x"))
    }

    @Test("if it ends within the magic number or a length")
    func short() throws {
        #expect(try coreFailure(Array(magic.prefix(7))) == "core-7.img: ends within the magic number")
        #expect(
            try coreFailure(magic + [1, 0]) == "core-7.img: entry 1 at offset 8: ends within the entry's length")
    }

    @Test("if a required field is missing, or an entry is no message")
    func content() throws {
        let missing = "entry 1 at offset 8: is no valid CoreEntry: a required field is missing"
        #expect(try coreFailure(magic + [0, 0, 0, 0]) == "core-7.img: \(missing)")
        #expect(try coreFailure(magic + [2, 0, 0, 0, 0xff, 0xff]).contains("entry 1 at offset 8: is no valid"))
    }

    @Test("if it has more or fewer entries than one")
    func count() throws {
        #expect(try coreFailure(magic) == "core-7.img: has 0 entries instead of one")
    }

    @Test("if it is a link, a directory or a pipe")
    func notRegular() throws {
        let images = try scratch.images()
        let read = { (id: UInt64) in failure { _ = try images.entry(.core, id, as: CoreEntry.self) } }
        try scratch.put("target", magic)
        #expect(symlink("target", "\(scratch.path)/core-7.img") == 0)
        #expect(mkfifo("\(scratch.path)/core-8.img", 0o600) == 0)
        #expect(read(7) == "core-7.img: is a symbolic link")
        #expect(read(8) == "core-8.img: is not a regular file")
        #expect(mkdir("\(scratch.path)/core-9.img", 0o700) == 0)
        defer { rmdir("\(scratch.path)/core-9.img") }
        #expect(read(9) == "core-9.img: is not a regular file")
    }

    @Test("if it is too large to be read into memory")
    func large() throws {
        try scratch.put("core-7.img", magic)
        #expect(truncate("\(scratch.path)/core-7.img", 1 << 40) == 0)
        let images = try scratch.images()
        let message = failure { _ = try images.entry(.core, 7, as: CoreEntry.self) }
        #expect(message == "core-7.img: has 1099511627776 bytes; more than 16777216 are not read")
    }

    @Test("if a payload goes beyond the end")
    func payload() throws {
        var writer = ImageWriter(.pipesData)
        try writer.append(Scratch.pipe.entry, payload: Scratch.pipe.payload)
        try scratch.put("pipes-data.img", writer.bytes.dropLast())
        let images = try scratch.images()
        let message = failure { _ = try images.records(.pipesData, as: PipeDataEntry.self) }
        #expect(message.hasPrefix("pipes-data.img: entry 1 at offset 8: its 5 bytes of data are beyond the end"))
    }

    @Test(
        "if a pagemap's addresses are impossible",
        arguments: [
            [PagemapEntry(address: 1, pages: 1)],
            [PagemapEntry(address: 0x1000, pages: .max)],
            [PagemapEntry(address: .max << 12, pages: 1)],
            [PagemapEntry(address: 0x1000, pages: 2), PagemapEntry(address: 0x2000, pages: 1)],
        ])
    func pagemap(entries: [PagemapEntry]) throws {
        var images = ImageSet()
        try images.add(.inventory, entries: [InventoryEntry.with { $0.imgVersion = 2 }])
        var image = ImageWriter(.pagemap, 1)
        try image.append(PagemapHead.with { $0.pagesID = 1 })
        for entry in entries { try image.append(entry) }
        try images.add(image)
        try images.write(into: scratch.open(), durable: false)
        let directory = try scratch.images()
        let message = failure { _ = try directory.pagemap(.pagemap, 1) }
        #expect(message.hasPrefix("pagemap-1.img: entry \(entries.count + 1) at offset"), "\(message)")
    }

    @Test("if its pages have another size than the pagemap says")
    func pages() throws {
        try scratch.put("pages-1.img", [1, 2, 3])
        let images = try scratch.images()
        var pagemap = Pagemap(pagesID: 1)
        pagemap.append(address: 0, pages: 2)
        let message = failure { _ = try images.pages(of: pagemap) }
        #expect(message == "pages-1.img: has 3 bytes, but its pagemap describes 8192")
    }

    @Test("if a file is called what it is not, or is there twice")
    func files() throws {
        func table(_ entries: [FileEntry]) throws -> FileTable {
            var image = ImageWriter(.files)
            for entry in entries { try image.append(entry) }
            try scratch.put("files.img", image.bytes)
            var reader = try scratch.images().reader(.files)
            return try FileTable(&reader)
        }
        func file(_ id: UInt32, _ type: FdTypes = .pidfd) -> FileEntry {
            .with {
                ($0.id, $0.type) = (id, type)
                $0.pidfd = .with { ($0.id, $0.flags, $0.nspid, $0.ino) = (id, 0, 1, 1) }
                $0.pidfd.fown = .with { ($0.uid, $0.euid, $0.signum, $0.pidType, $0.pid) = (0, 0, 0, 0, 0) }
            }
        }
        let kept = try table([file(7), file(3)])
        #expect(Array(kept.all(.pidfd)).map(\.id) == [7, 3] && Array(kept.all).map(\.id) == [3, 7])
        #expect(Array(kept.all(.pipe)).isEmpty && kept[3] == file(3) && kept[4] == nil && !kept.contains(4))
        #expect(failure { _ = try table([file(3), file(3)]) }.contains("entry 2 at offset"))
        #expect(failure { _ = try table([file(3, .pipe)]) }.contains("file 3 is called pipe, and is pidfd"))
        var both = file(3)
        both.efd = .with { ($0.id, $0.flags, $0.counter, $0.fown) = (3, 0, 1, both.pidfd.fown) }
        #expect(failure { _ = try table([both]) }.contains("and is eventfd, pidfd"))
    }

    @Test("if its entries would take more memory than a restore may have, and before they do")
    func memory() throws {
        // Two bytes each, and 144 in memory: a million mappings.
        let mappings = [UInt8](repeating: 0, count: 2 << 20).enumerated().map { $0.offset % 2 == 0 ? 0x72 : 0 as UInt8 }
        let magic: [UInt8] = [0x19, 0x43, 0x56, 0x54, 0x20, 0x28, 0x49, 0x57, 0, 0, 0x20, 0]
        try scratch.put("mm-1.img", magic + mappings)
        let message = failure { _ = try scratch.images().entry(.mm, 1, as: MmEntry.self) }
        #expect(message == "mm-1.img: entry 1 at offset 8: \(EntryBudget.exceeded)")
    }

    @Test("as a whole, when it is written, where no restore would take it")
    func budget() throws {
        let process = PstreeEntry.with { ($0.pid, $0.ppid, $0.pgid, $0.sid, $0.threads) = (1, 0, 1, 1, [1]) }
        let lock = FileLockEntry.with { ($0.flag, $0.type, $0.pid, $0.fd, $0.start, $0.len) = (1, 1, 1, 1, 1, 1) }
        func write(processes: Int, locks: Int) throws {
            var images = ImageSet()
            try images.add(.inventory, entries: [InventoryEntry.with { $0.imgVersion = 2 }])
            try images.add(.pstree, entries: Array(repeating: process, count: processes))
            try images.add(.fileLocks, entries: Array(repeating: lock, count: locks))
            let scratch = Scratch()
            defer { withExtendedLifetime(scratch) {} }
            try images.write(into: scratch.open(), durable: false)
        }
        try write(processes: 1, locks: 15_000)
        #expect(failure { try write(processes: 1, locks: 25_000) } == "inventory.img: \(EntryBudget.exceeded)")
        try write(processes: 1000, locks: 25_000)
        #expect(failure { try write(processes: 10_000, locks: 150_000) } == "inventory.img: \(EntryBudget.exceeded)")
    }
}
