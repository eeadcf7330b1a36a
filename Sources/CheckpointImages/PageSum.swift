import LinuxSystem

/// The checksum of a file of pages: of each page by itself, together with its place, so that several threads can add
/// pages in any order. Four sums side by side go faster than memory does. They are not one vector: vectors of x86-64
/// have no multiplication of 64 bits before AVX-512, and what stands in for it takes twice as long.
package struct PageSum: Equatable, Sendable {
    package private(set) var value: UInt64 = 0

    package init() {}

    /// - Parameter offset: where they lie in the file.
    package mutating func add(_ pages: Span<PageWords>, at offset: UInt64) {
        let prime: UInt64 = 0x100_0000_01b3
        for index in pages.indices {
            let page = offset / 4096 &+ UInt64(index)
            var (first, second, third, fourth) = (page &+ 1, page &+ 2, page &+ 3, page &+ 4)
            for word in stride(from: 0, to: 512, by: 4) {
                first = (first ^ pages[index][word]) &* prime
                second = (second ^ pages[index][word + 1]) &* prime
                third = (third ^ pages[index][word + 2]) &* prime
                fourth = (fourth ^ pages[index][word + 3]) &* prime
            }
            var mixed = page
            for lane in [first, second, third, fourth] { mixed = (mixed ^ lane ^ lane >> 29) &* prime }
            value &+= mixed
        }
    }

    package mutating func add(_ other: PageSum) { value &+= other.value }
}
