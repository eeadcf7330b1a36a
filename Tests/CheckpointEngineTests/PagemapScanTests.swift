import LinuxSystem
import Testing

@testable import CheckpointEngine

@Suite struct PagemapScanTests {
    /// What kernels before 6.7 are asked finds the same as what newer ones are.
    @Test func bothWaysFindTheSamePages() throws {
        let pages = 10_000
        let address = try #require(mmap(nil, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        defer { munmap(address, pages * 4096) }
        // Runs of one or more pages, also across the 4096th, where the reading takes up anew.
        let own = [3, 4, 5, 100, 4095, 4096, 4097, 9999]
        madvise(address, pages * 4096, CInt(MADV_NOHUGEPAGE))
        for page in own { address.storeBytes(of: 1, toByteOffset: page * 4096, as: UInt8.self) }
        let start = UInt64(UInt(bitPattern: address))
        let range = start..<start + UInt64(pages) * 4096
        let pagemap = try openAt(AT_FDCWD, "/proc/self/pagemap", O_RDONLY)
        let found = try readPagemap(pagemap.raw, range)
        #expect(found.map { ($0.lowerBound - start) / 4096 } == [3, 100, 4095, 9999])
        #expect(found.reduce(0) { $0 + $1.count } == own.count * 4096)
        #expect(try scanPagemap(pagemap.raw, range) == found)
    }
}
