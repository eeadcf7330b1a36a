import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointImages

@Suite("A checkpoint")
struct CheckpointTests {
    let scratch = Scratch()

    @Test("reads as it was written")
    func roundTrip() throws {
        try scratch.writeCheckpoint(durable: true)
        let images = try scratch.images()
        try images.verify()
        #expect(try images.entries(.pstree) == Scratch.tree)
        #expect(try images.records(.pipesData, as: PipeDataEntry.self).map(\.payload) == [Scratch.pipe.payload])
        let pagemap = try images.pagemap(.pagemap, 1)
        #expect(pagemap.entries.map(\.pageCount) == [1])
        let pages = try images.pages(of: pagemap)
        #expect(pages.size == 4096)
        #expect(try images.bytes("tmpfs-46.tar.gz.img") == [1, 2, 3])
    }

    @Test("has its inventory under no other name, and nobody else may read it")
    func files() throws {
        try scratch.writeCheckpoint()
        let expected = [
            "checksums.stasis", "inventory.img", "pagemap-1.img", "pages-1.img", "pipes-data.img", "pstree.img",
            "tmpfs-46.tar.gz.img",
        ]
        #expect(try directoryEntries(scratch.path).sorted() == expected)
        #expect(try status(at: AT_FDCWD, "\(scratch.path)/inventory.img").st_mode & 0o777 == 0o600)
    }

    @Test("is not written over another one, and a failed one has no inventory")
    func exclusive() throws {
        try scratch.put("pstree.img", [])
        #expect(failure { try scratch.writeCheckpoint() } == "pstree.img: open pstree.img: file exists")
        #expect(access("\(scratch.path)/inventory.img", F_OK) != 0)
    }

    @Test("is not written without an inventory")
    func inventory() throws {
        let directory = try scratch.open()
        #expect(failure { try ImageSet().write(into: directory) }.hasPrefix("inventory.img: "))
    }

    @Test("is not written with a required field unset, or data of the wrong length")
    func incomplete() {
        var writer = ImageWriter(.pstree)
        #expect(
            failure { try writer.append(PstreeEntry()) }
                == "pstree.img: entry 1 at offset 8: a required field of PstreeEntry is not set")
        var pipes = ImageWriter(.pipesData)
        let message = failure { try pipes.append(Scratch.pipe.entry, payload: [1]) }
        #expect(message == "pipes-data.img: entry 1 at offset 8: has 1 bytes of data, but states 5")
    }

    @Test(
        "with one flipped bit in any small file is refused, and the file is named",
        arguments: ["inventory.img", "pagemap-1.img", "pipes-data.img", "pstree.img", "tmpfs-46.tar.gz.img"])
    func flipped(name: String) throws {
        try scratch.writeCheckpoint()
        let bytes = try scratch.bytes(name)
        let images = try scratch.images()
        for index in bytes.indices {
            var damaged = bytes
            damaged[index] ^= 1 << (index % 8)
            try scratch.put(name, damaged)
            let expected = "\(name): is damaged: its checksum is not that in checksums.stasis"
            #expect(failure { try images.verify() } == expected)
            #expect(failure { _ = try images.bytes(name) } == expected)
        }
    }

    @Test("with one flipped bit in its checksums is refused")
    func flippedChecksums() throws {
        try scratch.writeCheckpoint()
        let bytes = try scratch.bytes("checksums.stasis")
        for index in bytes.indices {
            var damaged = bytes
            damaged[index] ^= 1 << (index % 8)
            try scratch.put("checksums.stasis", damaged)
            #expect(failure { _ = try scratch.images() } == "checksums.stasis: is damaged")
            try scratch.put("checksums.stasis", Array(bytes.prefix(index)))
            #expect(failure { _ = try scratch.images() } == "checksums.stasis: is damaged")
        }
    }

    @Test("with pages of the wrong size is refused")
    func pages() throws {
        try scratch.writeCheckpoint()
        try scratch.put("pages-1.img", [UInt8](repeating: 7, count: 8192))
        let images = try scratch.images()
        let expected = "pages-1.img: has 8192 bytes, but 4096 in checksums.stasis"
        #expect(failure { try images.verify() } == expected)
        #expect(failure { _ = try images.pages(of: try images.pagemap(.pagemap, 1)) } == expected)
    }

    @Test("with a file missing, or one too many, is refused")
    func otherFiles() throws {
        try scratch.writeCheckpoint()
        unlink("\(scratch.path)/pipes-data.img")
        try scratch.put("core-1.img", [1])
        let images = try scratch.images()
        #expect(failure { try images.verify() } == "pipes-data.img: missing from the checkpoint")
        #expect(
            failure { _ = try images.entry(.core, 1, as: CoreEntry.self) }
                == "core-1.img: is not in checksums.stasis")
    }
}
