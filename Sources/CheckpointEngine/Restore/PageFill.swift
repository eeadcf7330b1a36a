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
    /// Where pages may be there already, shared with others: only those that differ are written.
    private let known: [Range<UInt64>]
    /// Mappings that may have huge pages.
    private let roomy: [Range<UInt64>]
    /// Whether the kernel gave one whenever it was asked.
    private let hasHugePages: Atomic<Bool>

    /// - Parameters:
    ///   - skipped: a mapping whose pages lie in the file and are not written.
    ///   - known: mappings in which pages are compared first, in order.
    ///   - roomy: mappings in which pages may be huge, in order.
    init(
        _ task: pid_t, except skipped: Range<UInt64>? = nil, known: [Range<UInt64>] = [], roomy: [Range<UInt64>] = []
    ) {
        memory = TaskMemory(task)
        self.skipped = skipped
        self.known = known
        self.roomy = roomy
        hasHugePages = Atomic(!roomy.isEmpty)
    }

    /// - Parameters:
    ///   - origin: where the memory begins whose pages these are.
    ///   - runner: of the task, in which the memory is mapped and may be written.
    /// - Returns: the sums of the pages.
    func run(
        _ runs: [PageRun], of pages: StoredPages, from origin: UInt64 = 0, in images: RestoreImages,
        by runner: inout ProgramRunner
    ) throws -> PageSums {
        try runner.flush()
        let parts = try pages.streams(runs, from: origin, in: images, to: self)
        var sums = PageSums()
        for (part, sum) in zip(parts, try PageCopier.copy(parts.map(\.stream))) {
            if part.file == 0 { sums.own.add(sum) } else { sums.parents.add(sum) }
        }
        return sums
    }

    func write(_ piece: PagePiece, from buffer: borrowing PageBuffer) throws {
        guard !known.isEmpty || skipped.map({ piece.ranges.contains(where: $0.overlaps) }) ?? false else {
            return try write(piece.ranges[...], from: buffer, at: 0)
        }
        var done = 0
        for range in piece.ranges {
            defer { done += range.count }
            if let skipped, skipped.overlaps(range) { continue }
            if !Self.covers(known, range) {
                try write([range], from: buffer, at: done)
                continue
            }
            for different in try memory.pages(of: range, unlike: buffer, at: done) {
                try memory.write([different], from: buffer, at: done + Int(different.lowerBound - range.lowerBound))
            }
        }
    }

    private func write(
        _ ranges: ArraySlice<Range<UInt64>>, from buffer: borrowing PageBuffer, at start: Int
    ) throws {
        if let range = ranges.first, range.count == PagePiece.limit, hasHugePages.load(ordering: .relaxed),
            Self.covers(roomy, range)
        {
            // Of a range without any page the kernel makes none that is huge.
            try memory.write([range.lowerBound..<range.lowerBound + 4096], from: buffer, at: start)
            if !memory.collapse(range) { hasHugePages.store(false, ordering: .relaxed) }
        }
        try memory.write(ranges, from: buffer, at: start)
    }

    private static func covers(_ mappings: [Range<UInt64>], _ range: Range<UInt64>) -> Bool {
        // They do not overlap.
        let first = mappings.firstIndex(ordered: { $0.upperBound > range.lowerBound })
        return first < mappings.count && mappings[first].lowerBound <= range.lowerBound
            && range.upperBound <= mappings[first].upperBound
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
