import LinuxSystem
import Testing

@testable import CheckpointEngine

/// The image of a tmpfs is read from untrusted bytes.
struct MemoryFileTests {
    private static func status(_ kind: CInt, size: Int = 0) -> stat {
        var status = stat()
        status.st_mode = UInt32(kind) | 0o644
        status.st_size = size
        return status
    }

    private static func entry(_ name: String, _ kind: CInt = CInt(S_IFREG), size: Int = 0) -> MemoryFileEntry {
        MemoryFileEntry(name: name, status(kind, size: size))
    }

    /// The top with something in it.
    private static func image(_ content: [UInt8]) -> [UInt8] {
        MemoryFileEntry.header("/run") + entry("", CInt(S_IFDIR)).encoded + content + MemoryFileEntry.end
    }

    private static func image(of file: MemoryFileEntry) -> [UInt8] { image(file.encoded + MemoryFileEntry.end) }

    private static var sample: [UInt8] {
        var file = entry("file", size: 10_000)
        file.attributes = [("user.colour", [1, 2, 3])]
        file.number = 1
        var link = entry("link", CInt(S_IFLNK))
        link.target = "/etc/passwd"
        let piece = MemoryFileEntry.piece(Array("content".utf8)[...], at: 4096)
        let folder = entry("folder", CInt(S_IFDIR)).encoded + file.encoded + piece + MemoryFileEntry.end
        var twin = entry("twin", size: 10_000)
        twin.number = 1
        return image(folder + MemoryFileEntry.end + link.encoded + twin.encoded)
    }

    /// What a reader tells of an image, in short.
    private static func read(_ bytes: [UInt8]) throws -> [String] {
        var reader = try MemoryFileReader(size: UInt64(bytes.count)) { place in
            Array(bytes[Int(place.offset)..<Int(place.offset + place.count)])
        }
        var told = [reader.point]
        while let item = try reader.next() {
            switch item {
            case .end: told.append("end")
            case .entry(let entry):
                told.append(entry.name + (reader.isFurtherName ? " again" : "") + entry.target)
                try reader.content { told.append("\($0) \(String(decoding: $1, as: UTF8.self))") }
            }
        }
        return told
    }

    @Test func roundTrip() throws {
        let expected = ["/run", "", "folder", "file", "4096 content", "end", "link/etc/passwd", "twin again", "end"]
        #expect(try Self.read(Self.sample) == expected)
    }

    @Test func everyCutIsAnError() {
        for length in Self.sample.indices {
            #expect(throws: CheckpointError.self) { try Self.read(Array(Self.sample[..<length])) }
        }
        #expect(throws: CheckpointError.self) { try Self.read(Self.sample + [0]) }
    }

    @Test func changedBytesNeverTrap() {
        let bytes = Self.sample
        for index in bytes.indices {
            for value: UInt8 in [0, 1, 0x2e, 0x2f, 0x7f, 0x80, 0xff] {
                var changed = bytes
                changed[index] = value
                _ = try? Self.read(changed)
            }
        }
    }

    @Test(arguments: ["..", "../x", "folder/x", "/etc", "folder//x", ".", "a\u{0}b", "folder/", ""])
    func namesThatLeadElsewhere(name: String) {
        #expect(throws: CheckpointError.self) { try Self.read(Self.image(of: Self.entry(name))) }
    }

    @Test func whatMayNotBeThere() {
        var label = Self.entry("file")
        label.attributes = [("security.selinux", [1])]
        var large = Self.entry("file")
        large.attributes = (0..<20).map { ("user.\($0)", [UInt8](repeating: 1, count: 60_000)) }
        var link = Self.entry("file")
        link.number = 7
        for bad in [
            label, large, link, Self.entry("disk", CInt(S_IFBLK)), Self.entry("null", CInt(S_IFCHR)),
            Self.entry("huge", size: 1 << 50), Self.entry(String(repeating: "x", count: 256)),
        ] {
            #expect(throws: CheckpointError.self, "\(bad.name)") { try Self.read(Self.image(of: bad)) }
        }
        let file = Self.entry("file", size: 10)
        let piece = MemoryFileEntry.piece([1, 2, 3], at: 8)
        #expect(throws: CheckpointError.self) {
            try Self.read(Self.image(file.encoded + piece + MemoryFileEntry.end))
        }
        var directory = Self.entry("directory", CInt(S_IFDIR))
        directory.number = 1
        #expect(throws: CheckpointError.self) {
            try Self.read(Self.image(directory.encoded + MemoryFileEntry.end))
        }
    }

    @Test func directoriesInEachOther() throws {
        let directory = Self.entry("directory", CInt(S_IFDIR)).encoded
        func nested(_ count: Int) -> [UInt8] {
            Self.image((0..<count).flatMap { _ in directory } + (0..<count).flatMap { _ in MemoryFileEntry.end })
        }
        #expect(try Self.read(nested(1000)).count == 2003)
        #expect(throws: CheckpointError.self) { try Self.read(nested(MemoryFileReader.deepest)) }
    }
}
