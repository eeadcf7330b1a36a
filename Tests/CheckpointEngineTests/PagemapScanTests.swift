import LinuxSystem
import Testing

@testable import CheckpointEngine

@Suite struct PagemapScanTests {
    private static let installGuard: CInt = 102

    /// Anonymous memory of which some pages were written.
    private func withMemory(
        pages: Int, written: [Int], _ body: (UnsafeMutableRawPointer, Range<UInt64>) throws -> Void
    ) throws {
        let address = try #require(mmap(nil, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        defer { munmap(address, pages * 4096) }
        madvise(address, pages * 4096, CInt(MADV_NOHUGEPAGE))
        for page in written { address.storeBytes(of: 1, toByteOffset: page * 4096, as: UInt8.self) }
        let start = UInt64(UInt(bitPattern: address))
        try body(address, start..<start + UInt64(pages) * 4096)
    }

    /// What kernels before 6.7 are asked finds the same as what newer ones are.
    @Test func everyWayFindsTheSamePages() throws {
        // Runs of one or more pages, also across the 4096th, where the reading takes up anew.
        let own = [3, 4, 5, 100, 4095, 4096, 4097, 9999]
        try withMemory(pages: 10_000, written: own) { _, range in
            let pagemap = try openAt(AT_FDCWD, "/proc/self/pagemap", O_RDONLY)
            let found = try PagemapScan.read(pagemap.raw, range)
            #expect(found.stored.map { ($0.lowerBound - range.lowerBound) / 4096 } == [3, 100, 4095, 9999])
            #expect(found.stored.reduce(0) { $0 + $1.count } == own.count * 4096)
            #expect(found.guards.isEmpty)
            #expect(try PagemapScan.ownPages(pagemap.raw, range) == found)
            #expect(try PagemapScan.ownPages(pagemap.raw, range, namesGuards: false) == found)
        }
    }

    /// As 6.15 and later are asked, as 6.13 and 6.14 are, and where there is no scan.
    @Test func everyWayTellsGuardPages() throws {
        try withMemory(pages: 5000, written: [0, 2, 7, 4095, 4500]) { address, range in
            for (first, count) in [(1, 1), (2, 3), (4096, 3)] {
                guard madvise(address + first * 4096, count * 4096, Self.installGuard) == 0 else {
                    try Test.cancel("this kernel has no guard pages")
                }
            }
            let pagemap = try openAt(AT_FDCWD, "/proc/self/pagemap", O_RDONLY)
            func pages(_ ranges: [Range<UInt64>]) -> [Range<UInt64>] {
                ranges.map {
                    ($0.lowerBound - range.lowerBound) / 4096..<($0.upperBound - range.lowerBound) / 4096
                }
            }
            let found = try PagemapScan.ownPages(pagemap.raw, range)
            #expect(pages(found.stored) == [0..<1, 7..<8, 4095..<4096, 4500..<4501])
            #expect(pages(found.guards) == [1..<5, 4096..<4099])
            #expect(try PagemapScan.ownPages(pagemap.raw, range, namesGuards: false) == found)
            #expect(try PagemapScan.read(pagemap.raw, range) == found)
            #expect(try PagemapScan.guards(pagemap.raw, range) == found.guards)
        }
    }
}
