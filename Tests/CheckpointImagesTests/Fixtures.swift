import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointImages

/// What CRIU 4.2 wrote of a small container.
enum Samples {
    static let directory: String = {
        let package = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        return "/\(package)/Tests/Samples/criu-4.2"
    }()

    static func open() throws -> ImageDirectory {
        try ImageDirectory(openAt(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY))
    }

    static func bytes(_ name: String) throws -> [UInt8] { try open().bytes(name) }
}

extension Scratch {
    func images() throws -> ImageDirectory { try ImageDirectory(open()) }

    /// Writes a checkpoint of an inventory, a tree of two processes, a pipe's content and one page.
    func writeCheckpoint(durable: Bool = false) throws {
        var images = ImageSet()
        try images.add(.inventory, entries: [InventoryEntry.with { $0.imgVersion = 2 }])
        try images.add(.pstree, entries: Scratch.tree)
        try images.add(.pipesData, records: [Scratch.pipe])
        var pagemap = Pagemap(pagesID: 1)
        pagemap.append(address: 0x7f00_0000_0000, pages: 1)
        try images.add(.pagemap, 1, pagemap)
        try images.add("tmpfs-46.tar.gz.img", [1, 2, 3])
        try put("pages-1.img", [UInt8](repeating: 7, count: 4096))
        images.note("pages-1.img", size: 4096)
        try images.write(into: open(), durable: durable)
    }

    static let tree = [tree(pid: 1, parent: 0, threads: [1, 7]), tree(pid: 6, parent: 1, threads: [6])]

    static let pipe = ImageRecord(
        PipeDataEntry.with {
            $0.pipeID = 9
            $0.bytes = 5
        }, payload: Array("hello".utf8)[...])

    private static func tree(pid: UInt32, parent: UInt32, threads: [UInt32]) -> PstreeEntry {
        PstreeEntry.with {
            $0.pid = pid
            $0.ppid = parent
            $0.pgid = pid
            $0.sid = 1
            $0.threads = threads
        }
    }
}

/// The message of the ``ImageError`` that `body` throws.
