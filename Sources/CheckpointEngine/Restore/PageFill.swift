import CheckpointImages
import LinuxSystem
import Tracee

/// Reading pages from an image file straight into a task's memory.
enum PageFill {
    /// - Parameters:
    ///   - ranges: where the file's pages go, in the order in which they lie in it.
    ///   - file: the pages file's descriptor in the task that runs the program.
    static func read(
        _ ranges: [Range<UInt64>], from file: CInt, startingAt begin: UInt64 = 0, by runner: inout ProgramRunner
    ) throws {
        var offset = begin
        var batch: [Range<UInt64>] = []
        var bytes: UInt64 = 0
        func flush(_ runner: inout ProgramRunner) throws {
            guard !batch.isEmpty else { return }
            let vectors = batch.flatMap { [$0.lowerBound, $0.upperBound - $0.lowerBound] }
            let (start, count) = (offset, bytes)
            try runner.add {
                let address = $0.place(vectors.flatMap { word in withUnsafeBytes(of: word) { Array($0) } })
                $0.call(
                    "preadv of \(count) bytes of pages", Int(SYS_preadv),
                    [UInt64(file), address.raw, UInt64(vectors.count / 2), start, 0], expecting: Int(count))
            }
            offset += bytes
            batch = []
            bytes = 0
        }
        for range in ranges {
            var start = range.lowerBound
            while start < range.upperBound {
                let end = min(range.upperBound, start + (1 << 30))
                if batch.count == 1024 || bytes + (end - start) > 1 << 30 { try flush(&runner) }
                batch.append(start..<end)
                bytes += end - start
                start = end
            }
        }
        try flush(&runner)
    }

    /// The file with a checkpoint's pages, for a task to read: past the page cache if it is large, for the dump has
    /// left nothing of it there.
    static func open(_ pagemap: Pagemap, in images: RestoreImages) throws -> OwnedDescriptor {
        let file = try images.directory.pages(of: pagemap)
        if file.size >= PageCopier.directFrom {
            _ = clinux_fcntl(file.descriptor.raw, F_SETFL, Int(CLINUX_O_DIRECT))
        }
        return try file.descriptor.duplicate()
    }

    /// Compares what the task has read with the checksum of the dump.
    ///
    /// - Parameters:
    ///   - ranges: where the file's pages went, in the order in which they lie in it.
    ///   - skipped: what of it was not read; it is looked at in the file.
    static func verify(
        _ ranges: [Range<UInt64>], except skipped: Range<UInt64>? = nil, of pagemap: Pagemap, in images: RestoreImages,
        by runner: inout ProgramRunner
    ) throws {
        let name = ImageKind.pages.fileName(pagemap.pagesID)
        guard let expected = images.directory.pageSum(name) else { return }
        try runner.flush()
        let file = try images.directory.pages(of: pagemap)
        var offset: UInt64 = 0
        let runs = ranges.map { range in
            defer { offset += range.upperBound - range.lowerBound }
            let isSkipped = skipped?.overlaps(range) ?? false
            return PageDump.Run(
                source: isSkipped ? .file(file.descriptor.raw) : .memory(SourceTask(runner.stub.hostProcess)),
                address: isSkipped ? offset : range.lowerBound, length: Int(range.upperBound - range.lowerBound),
                file: 0, offset: offset)
        }
        let reader = try PageCopier(runs: runs, files: [(name, file.size)], into: nil)
        try reader.run()
        guard reader.sums[0].value == expected else {
            throw CheckpointError("\(name): is damaged: its checksum is not that in checksums.stasis")
        }
    }
}
