import CheckpointImages
import LinuxSystem
import Synchronization
import Tracee

/// Compares pages with what another source has for the same places, byte for byte, and keeps nothing but which are the
/// same.
final class PageComparison: PageSink {
    private struct State {
        var same: [Range<UInt64>] = []
        var sum = PageSum()
    }

    private let other: @Sendable () throws -> any PageSource
    private let state = Mutex(State())

    init(with other: @escaping @Sendable () throws -> any PageSource) { self.other = other }

    /// The same pages, in order, and their sum by where in memory they belong.
    var result: (same: [Range<UInt64>], sum: PageSum) {
        state.withLock { state in
            var same: [Range<UInt64>] = []
            for range in state.same.sorted(by: { $0.lowerBound < $1.lowerBound }) { same.extend(by: range) }
            return (same, state.sum)
        }
    }

    func write(_ piece: PagePiece, from buffer: borrowing PageBuffer) throws {
        var here = PageBuffer(byteCount: piece.length)
        try other().read(piece, into: &here)
        var found = State()
        var place = 0
        for address in piece.ranges.lazy.flatMap({ stride(from: $0.lowerBound, to: $0.upperBound, by: 4096) }) {
            defer { place += 4096 }
            guard buffer.hasSamePage(place, as: here, place) else { continue }
            found.same.extend(by: address..<address + 4096)
            buffer.withPages(piece.length) {
                found.sum.add($0.extracting(place / 4096..<place / 4096 + 1), at: address)
            }
        }
        state.withLock { state in
            state.same += found.same
            state.sum.add(found.sum)
        }
    }
}

extension [Range<UInt64>] {
    /// The parts of these that are in none of some others. Both are in order.
    func subtracting(_ others: [Range<UInt64>]) -> [Range<UInt64>] {
        var left: [Range<UInt64>] = []
        var rest = others[...]
        for range in self {
            var start = range.lowerBound
            while let other = rest.first, other.lowerBound < range.upperBound {
                if other.lowerBound > start { left.append(start..<other.lowerBound) }
                start = Swift.max(start, other.upperBound)
                guard other.upperBound <= range.upperBound else { break }
                rest = rest.dropFirst()
            }
            if start < range.upperBound { left.append(start..<range.upperBound) }
        }
        return left
    }
}
