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

    private static func entry(_ path: String, _ kind: CInt = CInt(S_IFREG), size: Int = 0) -> MemoryFileEntry {
        MemoryFileEntry(path: path, status(kind, size: size))
    }

    private static func image(_ entries: [MemoryFileEntry]) -> [UInt8] {
        var bytes = MemoryFileEntry.header("/run")
        for entry in [entry("", CInt(S_IFDIR))] + entries { entry.append(to: &bytes) }
        return bytes
    }

    private static var sample: [MemoryFileEntry] {
        var file = entry("folder/file", size: 10_000)
        file.extents = [(4096, Array("content".utf8)[...])]
        file.attributes = [("user.colour", [1, 2, 3])]
        var link = entry("link", CInt(S_IFLNK))
        link.target = "/etc/passwd"
        var twin = entry("twin")
        twin.link = 2
        return [entry("folder", CInt(S_IFDIR)), file, link, twin]
    }

    @Test func roundTrip() throws {
        let tree = try MemoryFileTree(Self.image(Self.sample))
        #expect(tree.point == "/run")
        #expect(tree.entries.map(\.path) == ["", "folder", "folder/file", "link", "twin"])
        #expect(tree.entries[2].extents.map { Array($0.bytes) } == [Array("content".utf8)])
        #expect(tree.entries[3].target == "/etc/passwd" && tree.entries[4].link == 2)
    }

    @Test func everyCutIsAnErrorOrFewerFiles() {
        let bytes = Self.image(Self.sample)
        for length in bytes.indices {
            guard let tree = try? MemoryFileTree(Array(bytes[..<length])) else { continue }
            #expect(tree.entries.count < 5)
        }
    }

    @Test func changedBytesNeverTrap() {
        let bytes = Self.image(Self.sample)
        for index in bytes.indices {
            for value: UInt8 in [0, 1, 0x2e, 0x2f, 0x7f, 0x80, 0xff] {
                var changed = bytes
                changed[index] = value
                _ = try? MemoryFileTree(changed)
            }
        }
    }

    @Test(arguments: ["..", "../x", "folder/../../x", "/etc", "folder//x", "folder/.", "a\u{0}b", "folder/"])
    func pathsThatLeadElsewhere(path: String) {
        #expect(throws: CheckpointError.self) { try MemoryFileTree(Self.image([Self.entry(path)])) }
    }

    @Test func whatMayNotBeThere() {
        var content = Self.entry("file", size: 10)
        content.extents = [(8, [1, 2, 3])]
        var label = Self.entry("file")
        label.attributes = [("security.selinux", [1])]
        var link = Self.entry("file")
        link.link = 7
        var directory = Self.entry("file")
        directory.link = 0
        for bad in [
            content, label, link, directory, Self.entry("disk", CInt(S_IFBLK)), Self.entry("null", CInt(S_IFCHR)),
            Self.entry("huge", size: 1 << 50), Self.entry(""),
        ] {
            #expect(throws: CheckpointError.self, "\(bad.path)") { try MemoryFileTree(Self.image([bad])) }
        }
    }
}
