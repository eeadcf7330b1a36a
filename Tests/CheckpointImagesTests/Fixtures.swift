import LinuxSystem
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

/// An empty directory that is gone after the test.
final class Scratch {
    let path: String

    init() {
        var template = Array("/tmp/stasis-images-XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) } ?? ""
        }
    }

    deinit {
        for name in (try? directoryEntries(path)) ?? [] { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    func open() throws -> OwnedDescriptor { try openAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY) }

    func images() throws -> ImageDirectory { try ImageDirectory(open()) }

    /// A new file each time: ext4 writes one that was truncated to disk when it is closed.
    func put(_ name: String, _ bytes: [UInt8]) throws {
        unlink("\(path)/\(name)")
        let file = try openAt(AT_FDCWD, "\(path)/\(name)", O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
        try writeAll(file.raw, bytes)
    }

    func bytes(_ name: String) throws -> [UInt8] { try readFile("\(path)/\(name)") }

    /// Writes a checkpoint of an inventory, a tree of two processes, a pipe's content and one page.
    func writeCheckpoint(durable: Bool = false) throws {
        var images = ImageSet()
        try images.add(.inventory, entries: [InventoryEntry.with { $0.imgVersion = 2 }])
        try images.add(.pstree, entries: Scratch.tree)
        try images.add(.pipesData, records: [Scratch.pipe])
        let pages = [PagemapEntry(address: 0x7f00_0000_0000, pages: 1)]
        try images.add(.pagemap, 1, Pagemap(pagesID: 1, entries: pages))
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
func failure(_ body: () throws -> Void) -> String {
    do {
        try body()
        return "no error"
    } catch let error as ImageError {
        return error.description
    } catch {
        return "not an ImageError: \(error)"
    }
}
