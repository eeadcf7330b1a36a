import CheckpointImages
import LinuxSystem
import Tracee

/// Which pages go into which `pages-N.img`, and the copying: memory to file, both processors at it.
struct PageDump {
    /// A run of pages: from where in which task, to where in which file.
    struct Run {
        var source: Source
        var address: UInt64
        var length: Int
        var file: Int
        var offset: UInt64
    }

    enum Source {
        case memory(SourceTask)
        /// Memory shared between processes, through its file.
        case file(CInt)
    }

    /// Memory that processes share (MAP_SHARED | MAP_ANONYMOUS), by its inode.
    struct SharedMemory {
        let holder: CapturedProcess
        let mapping: MemoryMapLine
        var size: UInt64 = 0

        init(holder: CapturedProcess, mapping: MemoryMapLine) {
            self.holder = holder
            self.mapping = mapping
        }

        mutating func extend(to line: MemoryMapLine) { size = max(size, line.offset + line.end - line.start) }
    }

    var sharedMemory: [UInt64: SharedMemory] = [:]
    var mappedFiles: [String: UInt32] = [:]
    private(set) var files: [(id: UInt32, size: UInt64)] = []
    /// One for each file, once they are written.
    private(set) var sums: [PageSum] = []
    private var runs: [Run] = []
    private var opened: [CInt] = []
    private(set) var pagesScanned: UInt64 = 0

    var pagesWritten: UInt64 { files.reduce(0) { $0 + $1.size } / 4096 }

    /// Finds the pages of a process that its images must have: present or swapped, its own and not a file's, and not
    /// the zero page.
    ///
    /// - Returns: its guard pages, too.
    mutating func add(
        _ process: CapturedProcess, _ mappings: [VmaEntry]
    ) throws -> (pagemap: Pagemap, guards: [Range<UInt64>]) {
        let file = try openAt(AT_FDCWD, "/proc/\(process.hostPid)/pagemap", O_RDONLY)
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
        return (addRuns(pages.stored, from: .memory(SourceTask(process))), pages.guards)
    }

    /// The data of shared memory, holes left out. lseek(2) SEEK_DATA.
    mutating func add(_ shared: SharedMemory) throws -> (pagemap: Pagemap, size: UInt64) {
        let link = "/proc/\(shared.holder.hostPid)/map_files/\(shared.mapping.link)"
        let file = try openAt(AT_FDCWD, link, O_RDONLY)
        let size = UInt64(try status(of: file.raw).st_size)
        var ranges: [Range<UInt64>] = []
        var position: off_t = 0
        while true {
            let start = lseek(file.raw, position, CInt(CLINUX_SEEK_DATA))
            guard start >= 0 else { break }
            let end = try system("seek to the hole in shared memory") { lseek(file.raw, start, CInt(CLINUX_SEEK_HOLE)) }
            ranges.append(UInt64(start)..<(UInt64(end) + 4095) & ~4095)
            position = end
        }
        let kept = try file.duplicate().release()
        opened.append(kept)
        return (addRuns(ranges, from: .file(kept)), size)
    }

    private mutating func addRuns(_ ranges: [Range<UInt64>], from source: Source) -> Pagemap {
        let index = files.count
        let id = UInt32(index + 1)
        var offset: UInt64 = 0
        var entries: [PagemapEntry] = []
        for range in ranges {
            let length = range.upperBound - range.lowerBound
            entries.append(PagemapEntry(address: range.lowerBound, pages: length / 4096))
            runs.append(
                Run(source: source, address: range.lowerBound, length: Int(length), file: index, offset: offset))
            offset += length
        }
        files.append((id, offset))
        return Pagemap(pagesID: id, entries: entries)
    }

    /// Copies everything. The container stands still meanwhile.
    mutating func write(into directory: CInt) throws {
        let named = files.map { (ImageKind.pages.fileName($0.id), $0.size) }
        let copier = try PageCopier(runs: runs, files: named, into: directory)
        try copier.run()
        sums = copier.sums
    }

    func close() {
        for file in opened { LinuxSystem.close(file) }
    }
}
