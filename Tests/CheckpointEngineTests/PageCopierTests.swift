import CheckpointImages
import LinuxSystem
import Synchronization
import Testing

@testable import CheckpointEngine

/// Memory in which every word tells its own address.
private final class FakeMemory: PageSource {
    private let failsAt: UInt64?
    let opened = Mutex(0)

    init(failsAt: UInt64? = nil) { self.failsAt = failsAt }

    static func page(_ address: UInt64) -> [UInt64] { (0..<512).map { (address + $0 * 8) &* 0x9e37_79b9_7f4a_7c15 } }

    func read(_ piece: PagePiece, into buffer: inout PageBuffer) throws {
        var done = 0
        for address in piece.ranges.flatMap({ stride(from: $0.lowerBound, to: $0.upperBound, by: 4096) }) {
            if address == failsAt { throw CheckpointError("no page \(address)") }
            buffer.withMutableBytes(done..<done + 4096) { bytes in
                Self.page(address).withUnsafeBytes { bytes.copyMemory(from: $0) }
            }
            done += 4096
        }
        #expect(done == piece.length)
    }
}

/// Keeps the first word of each page by its place.
private final class FakeFile: PageSink {
    private let room: Int
    let words = Mutex<[UInt64: UInt64]>([:])
    let writes = Mutex(0)

    init(room: Int = .max) { self.room = room }

    func write(_ piece: PagePiece, from buffer: borrowing PageBuffer) throws {
        writes.withLock { $0 += 1 }
        let found = buffer.withPages(piece.length) { pages in pages.indices.map { pages[$0][0] } }
        try words.withLock { words in
            guard words.count + found.count <= room else { throw CheckpointError("full") }
            for (index, word) in found.enumerated() { words[piece.offset + UInt64(index) * 4096] = word }
        }
    }
}

@Suite struct PageCopierTests {
    /// Single pages, a run across the borders of huge pages, and one that is several huge pages long.
    private static let ranges: [Range<UInt64>] =
        (0..<700).map { 0x10_0000 + $0 * 0x3000..<0x10_1000 + $0 * 0x3000 } + [
            0x7f00_001f_f000..<0x7f00_0020_1000, 0x7f10_0000_3000..<0x7f10_0160_5000,
        ]

    private static func sum(_ ranges: [Range<UInt64>]) -> PageSum {
        var (sum, offset) = (PageSum(), UInt64(0))
        var buffer = PageBuffer(byteCount: 4096)
        for address in ranges.flatMap({ stride(from: $0.lowerBound, to: $0.upperBound, by: 4096) }) {
            buffer.withMutableBytes(0..<4096) { bytes in
                FakeMemory.page(address).withUnsafeBytes { bytes.copyMemory(from: $0) }
            }
            buffer.withPages(4096) { sum.add($0, at: offset) }
            offset += 4096
        }
        return sum
    }

    /// Checkpoints of older builds have these sums.
    @Test func sumsStayWhatTheyWere() {
        var buffer = PageBuffer(byteCount: 3 * 4096)
        buffer.withMutableBytes(0..<3 * 4096) { bytes in
            let words = bytes.bindMemory(to: UInt64.self)
            for index in words.indices { words[index] = UInt64(index) &* 0x9e37_79b9_7f4a_7c15 }
        }
        var sum = PageSum()
        buffer.withPages(3 * 4096) { sum.add($0, at: 7 * 4096) }
        #expect(sum.value == 0xb64f_15b7_c356_4903)
    }

    @Test func piecesAreWholeAndEndWithHugePages() {
        let stream = PageStream(runs: [PageRun](Self.ranges), source: { FakeMemory() }, sink: FakeFile())
        let pieces = Array(PageStream.Pieces(stream))
        var offset: UInt64 = 0
        for piece in pieces {
            #expect(piece.offset == offset && piece.length == piece.ranges.reduce(0) { $0 + $1.count })
            #expect(piece.length > 0 && piece.length <= Int(PagePiece.limit))
            #expect(piece.ranges.allSatisfy { $0.lowerBound >> 21 == ($0.upperBound - 1) >> 21 })
            offset += UInt64(piece.length)
        }
        #expect(offset == stream.length)
        #expect(pieces.flatMap(\.ranges).reduce(0) { $0 + $1.count } == Int(offset))
        // 702 ranges.
        #expect(pieces.count < 20)
        let last = PageStream(
            runs: [PageRun]([UInt64.max - 8191..<UInt64.max - 4095]), source: { FakeMemory() }, sink: FakeFile())
        #expect(Array(PageStream.Pieces(last)).map(\.length) == [4096])
    }

    @Test func everyPageComesToItsPlace() throws {
        let (memory, file, second) = (FakeMemory(), FakeFile(), FakeFile())
        let short = Array(Self.ranges.prefix(3))
        let open: @Sendable () throws -> any PageSource = {
            memory.opened.withLock { $0 += 1 }
            return memory
        }
        let sums = try PageCopier.copy([
            PageStream(runs: [PageRun](Self.ranges), source: open, sink: file),
            PageStream(runs: [PageRun]([]), source: open, sink: second),
            PageStream(runs: [PageRun](short), source: open, sink: second),
        ])
        #expect(sums == [Self.sum(Self.ranges), PageSum(), Self.sum(short)])
        for (sink, ranges) in [(file, Self.ranges), (second, short)] {
            let addresses = ranges.flatMap { stride(from: $0.lowerBound, to: $0.upperBound, by: 4096) }
            let words = sink.words.withLock { $0 }
            #expect(words.count == addresses.count)
            for (index, address) in addresses.enumerated() {
                #expect(words[UInt64(index) * 4096] == FakeMemory.page(address)[0])
            }
        }
        // Once by each worker at most, although there are a dozen pieces.
        #expect(memory.opened.withLock { $0 } <= 8)
    }

    @Test func nothingIsNothing() throws {
        #expect(try PageCopier.copy([]).isEmpty)
    }

    @Test func aSinkThatFailsEndsTheCopying() {
        let file = FakeFile(room: 2000)
        let ranges: [Range<UInt64>] = [0..<64 << 20]
        #expect(throws: CheckpointError.self) {
            try PageCopier.copy([PageStream(runs: [PageRun](ranges), source: { FakeMemory() }, sink: file)])
        }
        // Three pieces have room, and each worker can fail once.
        #expect(file.words.withLock { $0.count } == 3 * 512)
        #expect((4...7).contains(file.writes.withLock { $0 }))
    }

    @Test func aSourceThatFailsIsAnError() {
        let file = FakeFile()
        let failure = #expect(throws: CheckpointError.self) {
            try PageCopier.copy([
                PageStream(runs: [PageRun]([0..<8 << 20]), source: { FakeMemory(failsAt: 4 << 20) }, sink: file)
            ])
        }
        #expect(failure?.description == "no page 4194304")
        #expect(file.words.withLock { $0[4 << 20] } == nil)
    }

    /// A file that ends before its pages do: its last page is memory as a whole, and there is none behind that.
    @Test func aShortReadIsAnError() throws {
        let file = try openAt(AT_FDCWD, "/tmp", CLINUX_O_TMPFILE | O_RDWR, mode: 0o600)
        try system("lengthen") { ftruncate(file.raw, 6000) }
        let pages = try SharedMemoryPages(file)
        let whole = try PageCopier.copy([PageStream(runs: [PageRun]([0..<8192]), source: { pages }, sink: FakeFile())])
        #expect(whole.count == 1)
        let failure = #expect(throws: CheckpointError.self) {
            try PageCopier.copy([PageStream(runs: [PageRun]([0..<12288]), source: { pages }, sink: FakeFile())])
        }
        #expect(failure?.description == "shared memory at 0x0 is not there any more")
    }

    /// Huge pages or not, and what is to be left alone is left alone.
    @Test(arguments: [false, true])
    func aTaskIsFilled(roomy: Bool) throws {
        let size = 16 << 20
        let address = try #require(mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        defer { munmap(address, size) }
        let start = UInt64(UInt(bitPattern: address))
        let skipped = start + 0x5000..<start + 0x7000
        let ranges = [start..<start + 0x3000, skipped, start + 0x9000..<start + UInt64(size)]
        let mapping = start..<start + UInt64(size)
        let sink = PageFill(getpid(), except: skipped, roomy: roomy ? [mapping] : [])
        let sums = try PageCopier.copy([PageStream(runs: [PageRun](ranges), source: { FakeMemory() }, sink: sink)])
        #expect(sums == [Self.sum(ranges)])
        for page in stride(from: start, to: mapping.upperBound, by: 4096) {
            let isFilled = ranges.contains { $0.contains(page) } && !skipped.contains(page)
            let found = address.load(fromByteOffset: Int(page - start), as: UInt64.self)
            #expect(found == (isFilled ? FakeMemory.page(page)[0] : 0))
        }
        let source = try TaskPages(SourceTask(getpid()))
        let again = try PageCopier.copy([PageStream(runs: [PageRun]([ranges[2]]), source: { source }, sink: FakeFile())]
        )
        #expect(again == [Self.sum([ranges[2]])])
    }

    /// Pages that nobody has, or may not be written, are an error that names the first of them.
    @Test func whatCannotBeWrittenIsNamed() throws {
        let address = try #require(mmap(nil, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        defer { munmap(address, 4 * 4096) }
        mprotect(address + 2 * 4096, 4096, PROT_READ)
        let start = UInt64(UInt(bitPattern: address))
        let ranges = [start..<start + 4096, start + 4096..<start + 4 * 4096]
        let failure = #expect(throws: (any Error).self) {
            try PageCopier.copy([
                PageStream(runs: [PageRun](ranges), source: { FakeMemory() }, sink: PageFill(getpid()))
            ])
        }
        let place = String(start + 2 * 4096, radix: 16)
        #expect(failure.map { "\($0)" }?.contains("memory at 0x\(place) cannot be written") == true)
    }
}
