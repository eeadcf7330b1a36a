import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages
@testable import Tracee

/// Checkpoints that build on others, which may be anybody's.
@Suite
struct ParentChainTests {
    private static let start: UInt64 = 0x7000_0000

    private static func range(_ pages: Range<UInt64>) -> Range<UInt64> {
        start + pages.lowerBound * 4096..<start + pages.upperBound * 4096
    }

    /// A checkpoint of one pagemap, `pagemap-1.img`, whose pages are full of a byte.
    ///
    /// - Parameters:
    ///   - own: which pages it has itself.
    ///   - distant: which a parent should have.
    private func make(
        _ name: String, in scratch: Scratch, own: [Range<UInt64>] = [], distant: [Range<UInt64>] = [],
        parent: String? = nil, missing: UInt64 = 0
    ) throws {
        try scratch.makeDirectory(name)
        try scratch.put("\(name)/inventory.img", [0])
        var image = ImageWriter(.pagemap, 1)
        try image.append(PagemapHead.with { $0.pagesID = 7 })
        let entries = own.map { ($0, PagemapFlags.present) } + distant.map { ($0, PagemapFlags.parent) }
        for (pages, flags) in entries.sorted(by: { $0.0.lowerBound < $1.0.lowerBound }) {
            let range = Self.range(pages)
            try image.append(
                PagemapEntry(address: range.lowerBound, pages: UInt64(range.count) / 4096, flags: flags))
        }
        try scratch.put("\(name)/pagemap-1.img", image.bytes)
        let count = own.reduce(0) { $0 + $1.count } * 4096 - Int(missing)
        try scratch.put("\(name)/pages-7.img", [UInt8](repeating: name.utf8.first ?? 0, count: count))
        if let parent { try scratch.link("\(name)/parent", to: parent) }
    }

    private func find(
        _ pages: [Range<UInt64>], from name: String, in scratch: Scratch, isComplete: Bool = true
    ) throws -> [PageRun] {
        let directory = try scratch.open(name)
        let chain = try ParentChain(of: directory.raw, isInside: false)
        return try chain.find(pages.map(Self.range), of: .pagemap, 1, isComplete: isComplete).runs
    }

    private func refusal(_ name: String, in scratch: Scratch) -> String {
        failure { _ = try find([0..<4], from: name, in: scratch) }
    }

    @Test func pagesAreFoundInWhichParentHasThem() throws {
        let scratch = Scratch()
        try make("c", in: scratch, parent: "../b")
        try make("b", in: scratch, own: [1..<2, 5..<9], distant: [0..<1, 2..<5], parent: "../a/")
        try make("a", in: scratch, own: [0..<6])
        let found = try find([0..<3, 4..<7], from: "c", in: scratch)
        #expect(found.map(\.file) == [2, 1, 2, 2, 1])
        #expect(found.map(\.range) == [0..<1, 1..<2, 2..<3, 4..<5, 5..<7].map(Self.range))
        #expect(found.map(\.offset) == [0, 0, 2, 4, 1].map { $0 * 4096 })
    }

    @Test func aNewPageNeedsNoParentAtADump() throws {
        let scratch = Scratch()
        try make("b", in: scratch, parent: "../a")
        try make("a", in: scratch, own: [2..<3])
        #expect(try find([0..<4], from: "b", in: scratch, isComplete: false).map(\.range) == [Self.range(2..<3)])
        #expect(refusal("b", in: scratch) == "pagemap-1.img: parent checkpoint ../a: does not have page 0x70000000")
        scratch.drop("a/pagemap-1.img")
        #expect(try find([0..<4], from: "b", in: scratch, isComplete: false).isEmpty)
        #expect(
            refusal("b", in: scratch)
                == "pagemap-1.img: parent checkpoint ../a: has no such file for page 0x70000000")
    }

    @Test(arguments: ["/tmp", "../../tmp", "..", "../a/../../..", "../a/..", ""])
    func aLinkThatLeadsOut(link: String) throws {
        let scratch = Scratch()
        try make("a", in: scratch, own: [0..<4])
        let directory = try scratch.open("a")
        let chain = try ParentChain(of: directory.raw, isInside: false, named: link)
        let message = failure {
            _ = try chain.find([Self.range(0..<4)], of: .pagemap, 1, isComplete: true)
        }
        #expect(message.contains("parent checkpoint \(link): leads out of the directory"), "\(message)")
    }

    @Test func aLinkOnTheWayThatLeadsOut() throws {
        let (scratch, outside) = (Scratch(), Scratch())
        try make("a", in: outside, own: [0..<4])
        try make("b", in: scratch, parent: "../beside/a")
        try scratch.link("beside", to: outside.path)
        #expect(refusal("b", in: scratch).contains("parent checkpoint ../beside/a: "))
        // Who names it himself may lead anywhere.
        let directory = try scratch.open("b")
        let chain = try ParentChain(of: directory.raw, isInside: false, named: "../beside/a", isTrusted: true)
        #expect(try chain.find([Self.range(0..<4)], of: .pagemap, 1, isComplete: true).runs.count == 1)
    }

    @Test func parentsThatAreNone() throws {
        let scratch = Scratch()
        try make("b", in: scratch, distant: [0..<4], parent: "../a")
        #expect(refusal("b", in: scratch).contains("page 0x70000000: parent checkpoint ../a: open a: no such file"))
        try scratch.put("a", "a file")
        #expect(refusal("b", in: scratch).contains("parent checkpoint ../a: open a: not a directory"))
        unlink(scratch.path("a"))
        try make("a", in: scratch, own: [0..<4])
        scratch.drop("a/inventory.img")
        #expect(refusal("b", in: scratch).contains("parent checkpoint ../a: has no inventory.img"))
        scratch.drop("b/parent")
        #expect(refusal("b", in: scratch).contains("this checkpoint has no parent: its link `parent`"))
        // Nobody asks for a parent from which nothing comes.
        #expect(try find([], from: "b", in: scratch).isEmpty)
    }

    @Test(arguments: [["b"], ["b", "a"]]) func aLoop(chain: [String]) throws {
        let scratch = Scratch()
        for (index, name) in chain.enumerated() {
            try make(name, in: scratch, distant: [0..<4], parent: "../\(chain[(index + 1) % chain.count])")
        }
        #expect(refusal("b", in: scratch).contains("cannot be its own parent"))
    }

    @Test func aChainWithoutEnd() throws {
        let scratch = Scratch()
        for number in 0...ParentChain.longest + 1 {
            try make("\(number)", in: scratch, distant: [0..<4], parent: "../\(number + 1)")
        }
        #expect(refusal("0", in: scratch).contains("has more than 256 parents"))
    }

    @Test(arguments: [1, 4096] as [UInt64]) func aTruncatedParent(missing: UInt64) throws {
        let scratch = Scratch()
        try make("b", in: scratch, distant: [0..<4], parent: "../a")
        try make("a", in: scratch, own: [0..<4], missing: missing)
        #expect(
            refusal("b", in: scratch)
                == "pagemap-1.img: parent checkpoint ../a: pages-7.img: has \(16384 - missing) bytes, but its pagemap describes 16384"
        )
    }

    @Test func whatIsInNoParentIsNotRestored() throws {
        let copy = try ImageCopy()
        try copy.edit("pagemap-1.img", as: PagemapEntry.self) { (entries: inout [PagemapEntry]) in
            entries[1].flags = PagemapFlags.parent.rawValue
        }
        #expect(failure { _ = try copy.tree() }.contains("this checkpoint has no parent"))
    }

    @Test func aPreDumpIsNoCheckpoint() throws {
        let copy = try ImageCopy()
        copy.drop("pstree.img")
        #expect(failure { _ = try copy.images() }.contains("a pre-dump has memory alone"))
    }

    @Test func sumsOfParents() throws {
        var sum = PageSum()
        withUnsafePages { sum.add($0, at: 4096) }
        let sums = try ParentSums(text: ParentSums.text([("pagemap-1.img", sum), ("pagemap-2.img", PageSum())]))
        #expect(sums.sum(of: "pagemap-1.img") == sum.value && sum.value != 0)
        #expect(sums.sum(of: "pagemap-2.img") == 0 && sums.sum(of: "pagemap-3.img") == 0)
        #expect(ParentSums().sum(of: "pagemap-1.img") == nil)
        for text in ["x pagemap-1.img\n", "1\n", "1 a\n1 a\n"] {
            #expect(throws: CheckpointError.self) { try ParentSums(text: text) }
        }
    }

    private func withUnsafePages(_ body: (Span<PageWords>) -> Void) {
        var buffer = PageBuffer(byteCount: 4096)
        buffer.clear(4096)
        buffer.withPages(4096, body)
    }

    /// What nobody has in common, and what is the same only in part.
    @Test func subtraction() {
        let ranges: [Range<UInt64>] = [0..<10, 20..<30]
        #expect(ranges.subtracting([]) == ranges)
        #expect(ranges.subtracting([0..<30]) == [])
        #expect(ranges.subtracting([0..<1, 4..<6, 9..<21, 29..<40]) == [1..<4, 6..<9, 21..<29])
        #expect(ranges.subtracting([10..<20, 30..<31]) == ranges)
    }

    /// Byte for byte: a page that differs in its last bit is another one.
    @Test func comparison() throws {
        let comparison = PageComparison { Memory(flipped: 2) }
        let ranges = [Self.range(0..<2), Self.range(4..<6)]
        _ = try PageCopier.copy([
            PageStream(runs: [PageRun](ranges), source: { Memory(flipped: nil) }, sink: comparison)
        ])
        let (same, sum) = comparison.result
        #expect(same == [Self.range(0..<2), Self.range(5..<6)])
        var expected = PageSum()
        var buffer = PageBuffer(byteCount: 3 * 4096)
        try Memory(flipped: nil).read(PagePiece(offset: 0, ranges: same, length: 3 * 4096), into: &buffer)
        expected.add(same, of: buffer, from: 0)
        #expect(sum == expected)
    }

    private struct Memory: PageSource {
        let flipped: Int?

        func read(_ piece: PagePiece, into buffer: inout PageBuffer) throws {
            buffer.clear(piece.length)
            var page = 0
            for address in piece.ranges.flatMap({ stride(from: $0.lowerBound, to: $0.upperBound, by: 4096) }) {
                let place = page * 4096 + 4095
                buffer.withMutableBytes(place..<place + 1) {
                    $0[0] = UInt8(truncatingIfNeeded: address / 4096) << 1 | (page == flipped ? 1 : 0)
                }
                page += 1
            }
        }
    }
}

extension Scratch {
    fileprivate func drop(_ name: String) { unlink(path(name)) }
}
