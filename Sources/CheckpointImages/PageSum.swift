/// The checksum of a file of pages: of each page by itself, together with its place, so that several threads can add
/// pages in any order. Four sums side by side go about as fast as memory does.
package struct PageSum: Sendable {
    package private(set) var value: UInt64 = 0

    package init() {}

    /// - Parameters:
    ///   - bytes: whole pages.
    ///   - offset: where they lie in the file.
    package mutating func add(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) {
        let prime: UInt64 = 0x100_0000_01b3
        var page = offset / 4096
        for start in stride(from: 0, to: bytes.count - 4095, by: 4096) {
            var lanes = SIMD4<UInt64>(1, 2, 3, 4) &+ page
            var position = start
            while position < start + 4096 {
                lanes = (lanes ^ bytes.loadUnaligned(fromByteOffset: position, as: SIMD4<UInt64>.self)) &* prime
                position += 32
            }
            var mixed = page
            for lane in 0..<4 { mixed = (mixed ^ lanes[lane] ^ lanes[lane] >> 29) &* prime }
            value &+= mixed
            page += 1
        }
    }

    package mutating func add(_ other: PageSum) { value &+= other.value }
}
