import CheckpointImages
import LinuxSystem

/// The pages of a process or of shared memory, wherever they lie: in the checkpoint itself, or in one of its parents.
struct StoredPages {
    /// That of the checkpoint itself.
    let pagemap: Pagemap
    /// `pagemap-1.img`
    let name: String
    /// Those in parents, in order of their places in memory.
    private let distant: [PageRun]
    /// Files of pages, by ``PageRun/file``.
    private let files: [Int: String]

    var byteCount: UInt64 { distant.reduce(pagemap.storedBytes) { $0 + UInt64($1.range.count) } }
    var isEmpty: Bool { byteCount == 0 }
    /// Behind the last page.
    var end: UInt64 { pagemap.entries.last.map { $0.vaddr + $0.pageCount * Pagemap.pageSize } ?? 0 }

    init(_ kind: ImageKind, _ id: some BinaryInteger, in images: RestoreImages) throws {
        let pagemap = try images.directory.pagemap(kind, id)
        (self.pagemap, name) = (pagemap, kind.fileName(id))
        let range = { (entry: PagemapEntry) in entry.vaddr..<entry.vaddr + entry.pageCount * Pagemap.pageSize }
        var files = [0: ImageKind.pages.fileName(pagemap.pagesID)]
        let wanted = pagemap.entries.filter { !$0.isStored && $0.pageFlags.contains(.parent) }.map(range)
        let found = try images.parents.find(wanted, of: kind, UInt64(id), isComplete: true)
        files.merge(found.files) { own, _ in own }
        (distant, self.files) = (found.runs, files)
    }

    /// Goes through all pages in order of their places in memory. A large process has a million runs, so they are not kept.
    func forEachRun(_ body: (PageRun) throws -> Void) rethrows {
        var rest = distant[...]
        var offset: UInt64 = 0
        for entry in pagemap.entries where entry.isStored {
            let range = entry.vaddr..<entry.vaddr + entry.pageCount * Pagemap.pageSize
            while let next = rest.first, next.range.lowerBound < range.lowerBound {
                try body(next)
                rest = rest.dropFirst()
            }
            try body(PageRun(offset: offset, range: range))
            offset += UInt64(range.count)
        }
        try rest.forEach(body)
    }

    /// Opens one of the files.
    func open(_ file: Int, in images: RestoreImages) throws -> PageFile {
        let name = files[file] ?? ""
        if file > 0 { return try images.parents.pages(name, of: file) }
        return try PageFile(try images.directory.pages(of: pagemap), name)
    }

    /// The bytes of a run, which is short.
    func bytes(_ run: PageRun, in images: RestoreImages) throws -> [UInt8] {
        let place = PayloadPlace(offset: run.offset, count: UInt64(run.range.count))
        let name = files[run.file] ?? ""
        if run.file > 0 { return try images.parents.bytes(place, in: name, of: run.file) }
        return try images.directory.pages(of: pagemap).bytes(place, name)
    }

    /// Streams into a sink.
    ///
    /// - Parameter origin: where in memory the pages' own places begin.
    func streams(
        _ runs: [PageRun], from origin: UInt64 = 0, in images: RestoreImages, to sink: any PageSink
    ) throws -> [(file: Int, stream: PageStream)] {
        let parts = files.count == 1 ? [(0, runs)] : Dictionary(grouping: runs, by: \.file).map { ($0, $1) }
        return try parts.map { file, runs in
            let source = try open(file, in: images)
            let stream = PageStream(
                runs: runs, source: { source }, sink: sink, sumsFrom: file == 0 ? nil : origin)
            return (file, stream)
        }
    }

    /// Fails if the pages that were read are not those that were written, or that the parents had when the checkpoint was
    /// taken.
    func check(_ sums: PageSums, in images: RestoreImages) throws {
        let own = files[0] ?? ""
        if let expected = images.directory.pageSum(own), sums.own.value != expected {
            throw CheckpointError("\(own): is damaged: its checksum is not that in checksums.stasis")
        }
        if let expected = images.parentSums.sum(of: name), sums.parents.value != expected {
            throw CheckpointError(
                "\(name): pages in parent checkpoints are not those that were there when this one was taken: one of "
                    + "\(parentNames) was changed, or is damaged")
        }
    }

    private var parentNames: String {
        files.keys.filter { $0 > 0 }.sorted().map { "parent \($0)" }.joined(separator: ", ")
    }
}

/// What pages add up to: those of the checkpoint's own file by their places in it, those of parents by where in memory
/// they belong.
struct PageSums: Equatable {
    var own = PageSum()
    var parents = PageSum()

    mutating func add(_ other: PageSums) {
        own.add(other.own)
        parents.add(other.parents)
    }
}

/// `parents.stasis`: what the pages in parents add up to, a line `checksum  name` for each pagemap that has some. So a
/// parent that was changed since, or taken anew, is noticed. CRIU does not know the file, and its own checkpoints lack it.
struct ParentSums {
    static let fileName = "parents.stasis"

    private var sums: [String: UInt64] = [:]
    /// Whether the checkpoint has the file.
    private let isThere: Bool

    init() { isThere = false }

    init(text: String) throws(CheckpointError) {
        isThere = true
        for line in text.split(separator: "\n") {
            let columns = line.split(separator: " ", maxSplits: 1)
            guard columns.count == 2, let sum = UInt64(columns[0], radix: 16),
                sums.updateValue(sum, forKey: String(columns[1])) == nil
            else { throw CheckpointError("\(Self.fileName): a line that is not known") }
        }
    }

    static func text(_ sums: [(name: String, sum: PageSum)]) -> String {
        sums.map { "\(String($0.sum.value, radix: 16)) \($0.name)\n" }.joined()
    }

    /// Of one that has no line it is that of no pages.
    func sum(of name: String) -> UInt64? { isThere ? sums[name] ?? 0 : nil }
}
