import CheckpointImages
import LinuxSystem
import Tracee

/// Which pages go into which `pages-N.img`.
struct PageDump {
    /// An entry of `files.img` that is mapped.
    struct MappedFile {
        let id: UInt32
        /// How it was opened.
        let access: UInt32
        /// Whether it is a ``MemFD``.
        let isMemory: Bool
    }

    /// The pages of a process or of shared memory.
    private struct Stream {
        /// In order, and those of them that a parent has.
        let ranges: [Range<UInt64>]
        var unchanged: [Range<UInt64>] = []
        /// What the latter add up to.
        var parentSum = PageSum()
        /// What is written, whatever a parent has.
        let kept: [Range<UInt64>]
        let source: @Sendable () throws -> any PageSource
        /// The images that describe them.
        var names: [(kind: ImageKind, id: UInt64)] = []

        var written: [Range<UInt64>] { unchanged.isEmpty ? ranges : ranges.subtracting(unchanged) }
    }

    var mappedFiles: [String: MappedFile] = [:]
    private(set) var files: [(id: UInt32, size: UInt64)] = []
    /// One for each file, once they are written.
    private(set) var sums: [PageSum] = []
    private var streams: [Stream] = []
    private let parents: ParentChain?
    private(set) var pagesScanned: UInt64 = 0

    var pagesWritten: UInt64 { files.reduce(0) { $0 + $1.size } / 4096 }
    var pagesUnchanged: UInt64 {
        streams.reduce(0) { $1.unchanged.reduce($0) { $0 + UInt64($1.count) } } / 4096
    }

    /// - Parameter parents: checkpoints whose pages need not be written again.
    init(parents: ParentChain?) { self.parents = parents }

    /// Finds the pages of a process that its images must have: present or swapped, its own and not a file's, and not
    /// the zero page.
    ///
    /// - Returns: the number by which they are named, and its guard pages.
    mutating func add(
        _ process: CapturedProcess, _ mappings: [VmaEntry]
    ) throws -> (stream: Int, guards: [Range<UInt64>]) {
        let file = try openAt(AT_FDCWD, "/proc/\(process.task)/pagemap", O_RDONLY)
        var pages = OwnPages()
        for mapping in mappings where mapping.kind.isDisjoint(with: [.vdso, .vvar, .vsyscall]) {
            let range = mapping.start..<mapping.end
            // The kernel's generator of random numbers keeps its state in droppable memory: another process that got
            // the same bytes would draw the same numbers.
            guard mapping.isPrivate, !mapping.isDroppable else {
                pages.guards += try PagemapScan.guards(file.raw, range)
                continue
            }
            let found = try scan(file.raw, range)
            pages.stored += found.stored
            pages.guards += found.guards
        }
        // The code that the kernel lends: kept to tell at restore whether the kernel still lends the same.
        let code = mappings.filter { $0.kind.contains(.vdso) }.map { $0.start..<$0.end }
        pages.stored += code
        pages.stored.sort { $0.lowerBound < $1.lowerBound }
        let task = SourceTask(process)
        return (add(pages.stored, keeping: code) { try TaskPages(task) }, pages.guards)
    }

    /// The same of a process that runs: what changes or goes away meanwhile is any of what it was, or zeros.
    mutating func add(running process: CapturedProcess, _ ranges: [Range<UInt64>]) throws {
        let file = try openAt(AT_FDCWD, "/proc/\(process.task)/pagemap", O_RDONLY)
        let stored = try ranges.flatMap { try scan(file.raw, $0).stored }
        let task = SourceTask(process)
        name(add(stored) { PassingPages(task) }, .pagemap, UInt64(process.pid))
    }

    private mutating func scan(_ pagemap: CInt, _ range: Range<UInt64>) throws -> OwnPages {
        pagesScanned += UInt64(range.count) / 4096
        return try PagemapScan.ownPages(pagemap, range)
    }

    /// The data of shared memory, holes left out, as one image describes it.
    ///
    /// - Parameter file: the memory, opened for this alone.
    mutating func add(_ file: borrowing OwnedDescriptor, as kind: ImageKind, _ id: UInt64) throws {
        let ranges = try dataRanges(of: file.raw, size: try status(of: file.raw).st_size).map {
            UInt64($0.lowerBound)..<(UInt64($0.upperBound) + 4095) & ~4095
        }
        let pages = try SharedMemoryPages(file)
        name(add(ranges) { pages }, kind, id)
    }

    private mutating func add(
        _ ranges: [Range<UInt64>], keeping kept: [Range<UInt64>] = [],
        from source: @escaping @Sendable () throws -> any PageSource
    ) -> Int {
        streams.append(Stream(ranges: ranges, kept: kept, source: source))
        return streams.count - 1
    }

    /// Names an image that describes pages.
    mutating func name(_ stream: Int, _ kind: ImageKind, _ id: UInt64) { streams[stream].names.append((kind, id)) }

    /// Copies everything that no parent has.
    mutating func write(into directory: CInt) throws {
        if let parents {
            for index in streams.indices { try compare(index, with: parents) }
            try system("link \(ParentChain.linkName)") {
                symlinkat(parents.link, directory, ParentChain.linkName)
            }
        }
        let written = streams.map(\.written)
        files = written.enumerated().map { index, ranges in
            (UInt32(index + 1), ranges.reduce(0) { $0 + UInt64($1.count) })
        }
        let isLarge = files.reduce(0) { $0 + $1.size } >= PageFile.directFrom
        sums = try PageCopier.copy(
            zip(files, zip(written, streams)).map { file, stream in
                let name = ImageKind.pages.fileName(file.id)
                let sink = try PageFile(name, size: file.size, direct: isLarge, in: directory)
                return PageStream(runs: [PageRun](stream.0), source: stream.1.source, sink: sink)
            })
    }

    /// Finds out which pages are byte for byte what a parent has. Both are read for it.
    private mutating func compare(_ index: Int, with parents: ParentChain) throws {
        let stream = streams[index]
        guard let (kind, id) = stream.names.first else { return }
        let found = try parents.find(
            stream.ranges.subtracting(stream.kept), of: kind, id, isComplete: false)
        let comparison = PageComparison(with: stream.source)
        let runs = Dictionary(grouping: found.runs, by: \.file)
        _ = try PageCopier.copy(
            try found.files.map { number, name in
                let file = try parents.pages(name, of: number)
                return PageStream(runs: runs[number] ?? [], source: { file }, sink: comparison)
            })
        (streams[index].unchanged, streams[index].parentSum) = comparison.result
    }

    /// Adds what tells of the pages, once they are written.
    func describe(in images: inout ImageSet) throws {
        for (file, stream) in zip(files, streams) {
            var pagemap = Pagemap(pagesID: file.id)
            var rest = stream.unchanged[...]
            for range in stream.written + [UInt64.max..<UInt64.max] {
                while let next = rest.first, next.lowerBound < range.lowerBound {
                    pagemap.append(address: next.lowerBound, pages: UInt64(next.count) / 4096, flags: .parent)
                    rest = rest.dropFirst()
                }
                if range.isEmpty { continue }
                pagemap.append(address: range.lowerBound, pages: UInt64(range.count) / 4096)
            }
            for (kind, id) in stream.names { try images.add(kind, id, pagemap) }
        }
        for (file, sum) in zip(files, sums) {
            images.note(ImageKind.pages.fileName(file.id), size: file.size, sum: sum)
        }
        guard parents != nil else { return }
        let sums = streams.filter { !$0.unchanged.isEmpty }.flatMap { stream in
            stream.names.map { (name: $0.kind.fileName($0.id), sum: stream.parentSum) }
        }
        try images.add(ParentSums.fileName, Array(ParentSums.text(sums).utf8))
    }
}
