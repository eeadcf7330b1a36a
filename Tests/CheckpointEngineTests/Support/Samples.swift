import LinuxSystem
import SwiftProtobuf
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages

/// What CRIU 4.2 wrote of a small container: a shell script and a program with four threads. It has no checksums, so
/// that every change reaches the code behind them.
enum Samples {
    static let directory: String = {
        let package = #filePath.split(separator: "/").dropLast(4).joined(separator: "/")
        return "/\(package)/Tests/Samples/criu-4.2"
    }()

    static func images() throws -> RestoreImages {
        try RestoreImages(openAt(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY))
    }
}

/// A copy of the sample images to be changed; gone after the test.
final class ImageCopy {
    let path: String
    private let scratch: Scratch?

    init() throws {
        // Thousands of files are written here: not to a disk, where there is a choice.
        let scratch = Scratch(in: access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp")
        (self.scratch, path) = (scratch, scratch.path)
        for name in try directoryEntries(Samples.directory) { try put(name, readFile("\(Samples.directory)/\(name)")) }
    }

    /// The copy that another process has made and will take away.
    init(at path: String) { (scratch, self.path) = (nil, path) }

    func images() throws -> RestoreImages { try RestoreImages(openAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY)) }

    func tree() throws -> ProcessPlan { try ProcessPlan.tree(from: images()) }

    /// What the plans of some kinds say to it.
    ///
    /// - Parameter policy: everything is allowed, unless named.
    func plan(_ kinds: [any Kind.Type], _ policy: RestorePolicy? = nil) -> String {
        failure {
            let images = try images()
            let all = RestorePolicy(
                capabilities: .max, noNewPrivileges: false, seccomp: nil, user: 0, groups: [], limits: .most)
            let plan = RestorePlan(
                images: images, first: try ProcessPlan.tree(from: images), policy: policy ?? all,
                options: DumpOptions(), states: KindStates())
            for kind in kinds { try kind.plan(plan) }
        }
    }

    func bytes(_ name: String) throws -> [UInt8] { try readFile("\(path)/\(name)") }

    func put(_ name: String, _ bytes: [UInt8]) throws {
        let file = try openAt(AT_FDCWD, "\(path)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
        try writeAll(file.raw, bytes)
    }

    func drop(_ name: String) { unlink("\(path)/\(name)") }

    /// Changes the entries of an image.
    func edit<E: Message>(_ name: String, as type: E.Type, _ body: (inout [E]) -> Void) throws {
        let bytes = try bytes(name)
        // One magic number, where other images have two.
        let header = name == "inventory.img" ? 4 : 8
        var rest = bytes[header...]
        var entries: [E] = []
        while rest.count >= 4 {
            let size = rest.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
            entries.append(try E(serializedBytes: Array(rest.dropFirst(4).prefix(size)), partial: true))
            rest = rest.dropFirst(4 + size)
        }
        body(&entries)
        try put(name, Array(bytes[..<header]) + entries.flatMap { try Self.framed($0) })
    }

    /// Changes the only entry of an image.
    func edit<E: Message>(_ name: String, as type: E.Type, _ body: (inout E) -> Void) throws {
        try edit(name, as: type) { (entries: inout [E]) in for index in entries.indices { body(&entries[index]) } }
    }

    private static func framed(_ entry: some Message) throws -> [UInt8] {
        let body: [UInt8] = try entry.serializedBytes(partial: true)
        return (0..<4).map { UInt8(truncatingIfNeeded: body.count >> (8 * $0)) } + body
    }
}
