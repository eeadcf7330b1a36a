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

/// Pages in a row, in the order in which a file of pages has them.
struct PageStream: Sendable {
    /// Where in memory they belong.
    let ranges: [Range<UInt64>]
    /// Opens where they come from. Each worker has one open at a time: there may be more streams than descriptors.
    let source: @Sendable () throws -> any PageSource
    let sink: any PageSink

    var length: UInt64 { ranges.reduce(0) { $0 + UInt64($1.count) } }
}

/// A part of a stream that is copied at once.
struct PagePiece: Equatable, Sendable {
    /// A huge page; and what file systems and devices take in one request.
    static let limit: UInt64 = 2 << 20

    /// Where it begins in the stream.
    var offset: UInt64
    /// Where in memory it belongs.
    var ranges: [Range<UInt64>] = []
    var length = 0
}

extension PageStream {
    /// The pieces of a stream: many small ranges are one piece, and the borders of huge pages are borders of pieces.
    struct Pieces: Sequence, IteratorProtocol {
        private var rest: ArraySlice<Range<UInt64>>
        private var offset: UInt64 = 0

        init(_ stream: PageStream) { rest = stream.ranges[...] }

        mutating func next() -> PagePiece? {
            var piece = PagePiece(offset: offset)
            while let range = rest.first {
                let last = range.lowerBound | (PagePiece.limit - 1)
                let end = last < range.upperBound ? last + 1 : range.upperBound
                let length = Int(end - range.lowerBound)
                guard piece.length + length <= PagePiece.limit else { break }
                piece.ranges.append(range.lowerBound..<end)
                piece.length += length
                if end < range.upperBound {
                    rest[rest.startIndex] = end..<range.upperBound
                } else {
                    rest = rest.dropFirst()
                }
            }
            offset += UInt64(piece.length)
            return piece.length > 0 ? piece : nil
        }
    }
}
