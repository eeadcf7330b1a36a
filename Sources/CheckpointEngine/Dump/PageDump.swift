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

    var mappedFiles: [String: MappedFile] = [:]
    private(set) var files: [(id: UInt32, size: UInt64)] = []
    /// One for each file, once they are written.
    private(set) var sums: [PageSum] = []
    private var streams: [(ranges: [Range<UInt64>], source: @Sendable () throws -> any PageSource)] = []
    private(set) var pagesScanned: UInt64 = 0

    var pagesWritten: UInt64 { files.reduce(0) { $0 + $1.size } / 4096 }

    /// Finds the pages of a process that its images must have: present or swapped, its own and not a file's, and not
    /// the zero page.
    ///
    /// - Returns: its guard pages, too.
    mutating func add(
        _ process: CapturedProcess, _ mappings: [VmaEntry]
    ) throws -> (pagemap: Pagemap, guards: [Range<UInt64>]) {
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
            pagesScanned += (range.upperBound - range.lowerBound) / 4096
            let found = try PagemapScan.ownPages(file.raw, range)
            pages.stored += found.stored
            pages.guards += found.guards
        }
        // The code that the kernel lends: kept to tell at restore whether the kernel still lends the same.
        pages.stored += mappings.filter { $0.kind.contains(.vdso) }.map { $0.start..<$0.end }
        pages.stored.sort { $0.lowerBound < $1.lowerBound }
        let task = SourceTask(process)
        return (addStream(pages.stored) { try TaskPages(task) }, pages.guards)
    }

    /// The data of shared memory, holes left out.
    ///
    /// - Parameter file: the memory, opened for this alone.
    mutating func add(_ file: borrowing OwnedDescriptor) throws -> Pagemap {
        let ranges = try dataRanges(of: file.raw, size: try status(of: file.raw).st_size).map {
            UInt64($0.lowerBound)..<(UInt64($0.upperBound) + 4095) & ~4095
        }
        let pages = try SharedMemoryPages(file)
        return addStream(ranges) { pages }
    }

    private mutating func addStream(
        _ ranges: [Range<UInt64>], from source: @escaping @Sendable () throws -> any PageSource
    ) -> Pagemap {
        let id = UInt32(files.count + 1)
        files.append((id, ranges.reduce(0) { $0 + UInt64($1.count) }))
        streams.append((ranges, source))
        var pagemap = Pagemap(pagesID: id)
        for range in ranges { pagemap.append(address: range.lowerBound, pages: UInt64(range.count) / 4096) }
        return pagemap
    }

    /// Copies everything. The container stands still meanwhile.
    mutating func write(into directory: CInt) throws {
        let isLarge = files.reduce(0) { $0 + $1.size } >= PageFile.directFrom
        sums = try PageCopier.copy(
            zip(files, streams).map { file, stream in
                let name = ImageKind.pages.fileName(file.id)
                let sink = try PageFile(name, size: file.size, direct: isLarge, in: directory)
                return PageStream(runs: [PageRun](stream.ranges), source: stream.source, sink: sink)
            })
    }
}
