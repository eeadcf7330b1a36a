import CheckpointImages
import LinuxSystem
import Synchronization

/// Copies streams of pages and sums them up on the way, several pieces at once: while one is read, summed or written by a
/// processor, others wait for the disk.
final class PageCopier: Sendable {
    /// More than processors, for each is in the hands of a disk at times.
    private static let workers = 4

    private struct State {
        var next = 0
        var pieces: PageStream.Pieces?
        var failure: (any Error)?
        var sums: [PageSum]
    }

    private let streams: [PageStream]
    private let state: Mutex<State>

    private init(_ streams: [PageStream]) {
        self.streams = streams
        state = Mutex(State(sums: streams.map { _ in PageSum() }))
    }

    /// Copies everything, or fails with the first error.
    ///
    /// - Returns: a sum for each stream.
    static func copy(_ streams: [PageStream]) throws -> [PageSum] {
        let length = streams.reduce(0) { $0 + $1.length }
        let copier = PageCopier(streams)
        let room = min(length, PagePiece.limit)
        concurrently(min(workers, Int((length + PagePiece.limit - 1) / PagePiece.limit))) {
            copier.work(room: Int(room))
        }
        return try copier.state.withLock { state in
            if let failure = state.failure { throw failure }
            return state.sums
        }
    }

    private func take() -> (stream: Int, piece: PagePiece)? {
        state.withLock { state in
            guard state.failure == nil else { return nil }
            while true {
                if let piece = state.pieces?.next() { return (state.next - 1, piece) }
                guard state.next < streams.count else { return nil }
                state.pieces = PageStream.Pieces(streams[state.next])
                state.next += 1
            }
        }
    }

    private func work(room: Int) {
        var buffer = PageBuffer(byteCount: room)
        var open: (stream: Int, source: any PageSource)?
        while let (index, piece) = take() {
            do {
                if open?.stream != index { open = (index, try streams[index].source()) }
                try open?.source.read(piece, into: &buffer)
                var sum = PageSum()
                if let origin = streams[index].sumsFrom {
                    sum.add(piece.ranges, of: buffer, from: origin)
                } else {
                    buffer.withPages(piece.length) { sum.add($0, at: piece.offset) }
                }
                try streams[index].sink.write(piece, from: buffer)
                state.withLock { $0.sums[index].add(sum) }
            } catch {
                state.withLock { $0.failure = $0.failure ?? error }
            }
        }
    }
}

extension PageSum {
    /// Adds pages that lie in a buffer back to back, by their places in memory.
    mutating func add(_ ranges: [Range<UInt64>], of buffer: borrowing PageBuffer, from origin: UInt64) {
        var sum = self
        var first = 0
        for range in ranges {
            let next = first + range.count / 4096
            buffer.withPages(next * 4096) { sum.add($0.extracting(first..<next), at: range.lowerBound - origin) }
            first = next
        }
        self = sum
    }
}
