import CheckpointImages
import LinuxSystem
import Tracee

/// The checkpoints on which one builds, the nearest first: pages that have not changed since are only there.
///
/// As CRIU has it: `parent` in the image directory is a symbolic link to the directory before it, relative to the one in
/// which it lies. Each is opened when a page is looked for in it, and none before. A link is part of an image that may be
/// anybody's, and the pages to which it leads become the container's: it may lead to what lies beside the checkpoint, or in
/// it, and nowhere else.
package final class ParentChain {
    package static let linkName = "parent"
    /// How many a checkpoint may have.
    static let longest = 256
    /// Runs of pages in parents that a restore keeps in memory.
    static let mostRuns = 1 << 19

    private struct Identity: Hashable {
        let device: dev_t
        let inode: ino_t

        init(of directory: CInt) throws {
            let status = try status(of: directory)
            (device, inode) = (status.st_dev, status.st_ino)
        }
    }

    private final class Parent {
        let directory: ImageDirectory
        let place: OwnedDescriptor
        /// As messages call it.
        let name: String

        init(_ descriptor: consuming OwnedDescriptor, _ name: String) throws {
            place = try descriptor.duplicate()
            self.name = name
            directory = try ImageDirectory(descriptor)
        }
    }

    /// Where the first link lies, and where its path begins: the image directory itself.
    private let directory: OwnedDescriptor
    private let place: OwnedDescriptor
    private let named: String?
    private let isTrusted: Bool
    private var known: [Parent] = []
    private var seen: Set<Identity> = []
    private var runCount = 0

    /// - Parameters:
    ///   - directory: the images. Their own directory, or one inside of it (`next.stasis`, `older.stasis`).
    ///   - named: the path that counts instead of the link.
    ///   - isTrusted: whether that path may lead anywhere.
    init(of directory: CInt, isInside: Bool, named: String? = nil, isTrusted: Bool = false) throws {
        self.directory = try openAt(directory, ".", O_RDONLY | O_DIRECTORY)
        place = try openAt(directory, isInside ? ".." : ".", O_RDONLY | O_DIRECTORY)
        (self.named, self.isTrusted) = (named, isTrusted)
        seen = [try Identity(of: place.raw)]
    }

    /// The path of the first parent.
    var link: String { named ?? "" }

    // MARK: Opening

    private func parent(_ number: Int) throws -> Parent {
        while known.count < number {
            guard known.count < Self.longest else {
                throw CheckpointError("has more than \(Self.longest) parents; take a checkpoint without --parent-path")
            }
            known.append(try open(known.count + 1))
        }
        return known[number - 1]
    }

    private func open(_ number: Int) throws -> Parent {
        let (from, place) = known.last.map { ($0.place.raw, $0.place.raw) } ?? (directory.raw, self.place.raw)
        let link: String
        if number == 1, let named {
            link = named
        } else {
            let child = known.last.map { "parent checkpoint \($0.name)" } ?? "this checkpoint"
            do throws(SystemError) { link = try linkTarget(at: from, Self.linkName) } catch {
                throw CheckpointError("\(child) has no parent: its link `\(Self.linkName)`: \(error.errno.description)")
            }
        }
        let name = number == 1 ? link : "\(link) (\(number) of its chain)"
        return try about("parent checkpoint \(name)") {
            let opened = try Self.open(link, from: place, isTrusted: number == 1 && isTrusted)
            guard seen.insert(try Identity(of: opened.raw)).inserted else {
                throw CheckpointError("is in the chain before: a checkpoint cannot be its own parent")
            }
            guard (try? status(at: opened.raw, ImageKind.inventory.fileName())) != nil else {
                throw CheckpointError("has no inventory.img, and so is no checkpoint")
            }
            return try Parent(opened, name)
        }
    }

    private static func open(_ link: String, from place: CInt, isTrusted: Bool) throws -> OwnedDescriptor {
        if isTrusted { return try openAt(place, link, O_RDONLY | O_DIRECTORY) }
        let steps = link.split(separator: "/")
        let isBeside = steps.first == ".."
        let rest = isBeside ? steps.dropFirst() : steps[...]
        guard !link.hasPrefix("/"), !rest.isEmpty, !rest.contains("..") else {
            throw CheckpointError(
                "leads out of the directory in which the checkpoint lies; put the parent beside it, as ../NAME")
        }
        let top = try openAt(place, isBeside ? ".." : ".", O_RDONLY | O_DIRECTORY)
        return try openAt(
            top.raw, rest.joined(separator: "/"), O_RDONLY | O_DIRECTORY, resolve: [.inRoot, .noMagicLinks])
    }

    /// A parent's file of pages.
    ///
    /// - Parameter number: of the parent, from 1 on.
    func pages(_ name: String, of number: Int) throws -> PageFile {
        let parent = try parent(number)
        return try about("parent checkpoint \(parent.name)") {
            let image = try parent.directory.open(name)
            return try PageFile(image, "\(name) of parent checkpoint \(parent.name)")
        }
    }

    /// The same, to read a few bytes.
    func bytes(_ place: PayloadPlace, in name: String, of number: Int) throws -> [UInt8] {
        try parent(number).directory.open(name).bytes(place, name)
    }

    // MARK: Looking for pages

    /// Where pages lie that a checkpoint says are in a parent.
    ///
    /// - Parameters:
    ///   - wanted: in order.
    ///   - isComplete: all of them have to be there; otherwise the nearest parent may lack any of them.
    /// - Returns: in order; and the file of pages of each parent, by its number.
    func find(
        _ wanted: [Range<UInt64>], of kind: ImageKind, _ id: UInt64, isComplete: Bool
    ) throws -> (runs: [PageRun], files: [Int: String]) {
        var (runs, files): ([PageRun], [Int: String]) = ([], [:])
        var (rest, number) = (wanted, 0)
        let name = kind.fileName(id)
        while let first = rest.first {
            number += 1
            let parent = try about("\(name): page \(RemoteAddress(first.lowerBound))") { try self.parent(number) }
            let mayLack = number == 1 && !isComplete
            let told = "\(name): parent checkpoint \(parent.name)"
            guard try parent.directory.contains(kind, id) else {
                if mayLack { return (runs, files) }
                throw CheckpointError("\(told): has no such file for page \(RemoteAddress(first.lowerBound))")
            }
            let pagemap: Pagemap = try about(told) {
                let pagemap = try parent.directory.pagemap(kind, id)
                // As large as it has to be.
                _ = try parent.directory.pages(of: pagemap)
                return pagemap
            }
            let found = Self.look(for: rest, in: pagemap, number)
            if !mayLack, let lost = found.lost {
                throw CheckpointError("\(told): does not have page \(RemoteAddress(lost))")
            }
            runs += found.runs
            if !found.runs.isEmpty { files[number] = ImageKind.pages.fileName(pagemap.pagesID) }
            rest = found.farther
            guard runCount + runs.count + rest.count <= Self.mostRuns else {
                throw CheckpointError(
                    "\(told): more than \(Self.mostRuns) runs of pages are in parents; "
                        + "take a checkpoint without --parent-path")
            }
        }
        if isComplete { runCount += runs.count }
        runs.sort { $0.range.lowerBound < $1.range.lowerBound }
        return (runs, files)
    }

    /// - Returns: what the pagemap has of some ranges, what it says is farther back, and the first page that it lacks.
    private static func look(
        for wanted: [Range<UInt64>], in pagemap: Pagemap, _ number: Int
    ) -> (runs: [PageRun], farther: [Range<UInt64>], lost: UInt64?) {
        var (runs, farther): ([PageRun], [Range<UInt64>]) = ([], [])
        var lost: UInt64?
        var rest = wanted[...]
        var offset: UInt64 = 0
        for entry in pagemap.entries where entry.isStored || entry.pageFlags.contains(.parent) {
            let range = entry.vaddr..<entry.vaddr + entry.pageCount * Pagemap.pageSize
            while let want = rest.first, want.lowerBound < range.upperBound {
                if want.upperBound > range.lowerBound {
                    let common = want.clamped(to: range)
                    if want.lowerBound < common.lowerBound { lost = lost ?? want.lowerBound }
                    if entry.isStored {
                        let start = offset + common.lowerBound - range.lowerBound
                        runs.append(PageRun(offset: start, range: common, file: number))
                    } else {
                        farther.append(common)
                    }
                    if want.upperBound > range.upperBound {
                        rest[rest.startIndex] = range.upperBound..<want.upperBound
                        break
                    }
                } else {
                    lost = lost ?? want.lowerBound
                }
                rest = rest.dropFirst()
            }
            if entry.isStored { offset += UInt64(range.count) }
        }
        return (runs, farther, lost ?? rest.first?.lowerBound)
    }
}
