import LinuxSystem

/// Where pages come from: a task, a file. Several workers ask it at once.
protocol PageSource: Sendable {
    /// Puts the whole piece at the beginning of the buffer.
    func read(_ piece: PagePiece, into buffer: inout PageBuffer) throws
}

/// Where pages go to. Several workers write at once, in any order.
protocol PageSink: Sendable {
    /// - Parameter buffer: begins with the piece.
    func write(_ piece: PagePiece, from buffer: borrowing PageBuffer) throws
}

/// Pages that lie in a row in a file of pages and in memory.
struct PageRun: Sendable {
    /// Where it begins in the file.
    var offset: UInt64
    /// Where in memory it belongs.
    var range: Range<UInt64>
    /// Which file: 0 is the checkpoint's own, the others are those of its parents, the nearest first.
    var file = 0
}

/// Pages in the order in which a file of pages has them.
struct PageStream: Sendable {
    let runs: [PageRun]
    /// Opens where they come from. Each worker has one open at a time: there may be more streams than descriptors.
    let source: @Sendable () throws -> any PageSource
    let sink: any PageSink
    /// A sum knows pages by their places in the file; if this is set, by those in memory, from here on.
    var sumsFrom: UInt64?

    var length: UInt64 { runs.reduce(0) { $0 + UInt64($1.range.count) } }
}

extension [PageRun] {
    /// A whole file.
    ///
    /// - Parameter ranges: where in memory its pages belong, in the order in which they lie in it.
    init(_ ranges: [Range<UInt64>]) {
        var offset: UInt64 = 0
        self = ranges.map { range in
            defer { offset += UInt64(range.count) }
            return PageRun(offset: offset, range: range)
        }
    }
}

/// A part of a stream that is copied at once.
struct PagePiece: Equatable, Sendable {
    /// A huge page; and what file systems and devices take in one request.
    static let limit: UInt64 = 2 << 20

    /// Where it begins in the file.
    var offset: UInt64
    /// Where in memory it belongs.
    var ranges: [Range<UInt64>] = []
    var length = 0
}

extension PageStream {
    /// The pieces of a stream: many small ranges are one piece, and the borders of huge pages are borders of pieces.
    struct Pieces: Sequence, IteratorProtocol {
        private var rest: ArraySlice<PageRun>

        init(_ stream: PageStream) { rest = stream.runs[...] }

        mutating func next() -> PagePiece? {
            guard let first = rest.first else { return nil }
            var piece = PagePiece(offset: first.offset)
            while let run = rest.first, run.offset == piece.offset + UInt64(piece.length) {
                let range = run.range
                let last = range.lowerBound | (PagePiece.limit - 1)
                let end = last < range.upperBound ? last + 1 : range.upperBound
                let length = Int(end - range.lowerBound)
                guard piece.length + length <= PagePiece.limit else { break }
                piece.ranges.append(range.lowerBound..<end)
                piece.length += length
                if end < range.upperBound {
                    rest[rest.startIndex] = PageRun(
                        offset: run.offset + UInt64(length), range: end..<range.upperBound)
                } else {
                    rest = rest.dropFirst()
                }
            }
            return piece
        }
    }
}
