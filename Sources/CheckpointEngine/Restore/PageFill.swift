import CheckpointImages
import LinuxSystem
import Synchronization
import Tracee

/// Fills a task's memory with the pages of an image file, and compares them with the sum of the dump on the way.
///
/// The engine writes, the task's memory cgroup pays: the kernel charges new pages to whose memory they are.
final class PageFill: PageSink {
    private let memory: TaskMemory
    /// Pages that lie in the file and are not written.
    private let skipped: Range<UInt64>?
    /// Mappings that may have huge pages.
    private let roomy: [Range<UInt64>]
    /// Whether the kernel gave one whenever it was asked.
    private let hasHugePages: Atomic<Bool>

    init(_ task: pid_t, except skipped: Range<UInt64>? = nil, roomy: [Range<UInt64>] = []) {
        memory = TaskMemory(task)
        self.skipped = skipped
        self.roomy = roomy
        hasHugePages = Atomic(!roomy.isEmpty)
    }

    /// - Parameters:
    ///   - ranges: where the file's pages go, in the order in which they lie in it.
    ///   - skipped: a mapping whose pages lie in the file and are not written.
    ///   - roomy: mappings in which pages may be huge.
    ///   - runner: of the task, in which the memory is mapped and may be written.
    static func run(
        _ ranges: [Range<UInt64>], except skipped: Range<UInt64>? = nil, roomy: [Range<UInt64>] = [],
        of pagemap: Pagemap, in images: RestoreImages, by runner: inout ProgramRunner
    ) throws {
        try runner.flush()
        let file = try PageFile(pagemap, in: images)
        let sink = PageFill(runner.stub.hostProcess, except: skipped, roomy: roomy)
        let sums = try PageCopier.copy([PageStream(ranges: ranges, source: { file }, sink: sink)])
        let name = ImageKind.pages.fileName(pagemap.pagesID)
        if let expected = images.directory.pageSum(name), sums[0].value != expected {
            throw CheckpointError("\(name): is damaged: its checksum is not that in checksums.stasis")
        }
    }

    func write(_ piece: PagePiece, from buffer: borrowing PageBuffer) throws {
        guard let skipped, piece.ranges.contains(where: skipped.overlaps) else {
            return try write(piece.ranges[...], from: buffer, at: 0)
        }
        var done = 0
        for range in piece.ranges {
            if !skipped.overlaps(range) { try write([range], from: buffer, at: done) }
            done += range.count
        }
    }

    private func write(
        _ ranges: ArraySlice<Range<UInt64>>, from buffer: borrowing PageBuffer, at start: Int
    ) throws {
        if let range = ranges.first, range.count == PagePiece.limit, hasHugePages.load(ordering: .relaxed),
            isRoomy(range)
        {
            // Of a range without any page the kernel makes none that is huge.
            try memory.write([range.lowerBound..<range.lowerBound + 4096], from: buffer, at: start)
            if !memory.collapse(range) { hasHugePages.store(false, ordering: .relaxed) }
        }
        try memory.write(ranges, from: buffer, at: start)
    }

    private func isRoomy(_ range: Range<UInt64>) -> Bool {
        // They are in order and do not overlap.
        var (low, high) = (0, roomy.count)
        while low < high {
            let middle = (low + high) / 2
            if roomy[middle].upperBound <= range.lowerBound { low = middle + 1 } else { high = middle }
        }
        return low < roomy.count && roomy[low].lowerBound <= range.lowerBound
            && range.upperBound <= roomy[low].upperBound
    }
}

extension VmaEntry {
    /// Whether the kernel gives huge pages to private memory that is no file's, with such advice (madvise(2)
    /// MADV_HUGEPAGE, MADV_NOHUGEPAGE).
    ///
    /// - Parameter setting: the machine's, of /sys/kernel/mm/transparent_hugepage/enabled.
    func getsHugePages(_ setting: String) -> Bool {
        guard kind.contains(.anonymousPrivate), kind.isDisjoint(with: [.vdso, .vvar, .vsyscall]), !isDroppable,
            madv & 1 << 15 == 0, length >= PagePiece.limit
        else { return false }
        return setting.contains("[always]") || setting.contains("[madvise]") && madv & 1 << 14 != 0
    }
}
