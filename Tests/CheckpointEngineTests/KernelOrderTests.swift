import Testing

@testable import CheckpointEngine

/// Objects that can only be compared, as kcmp(2) does.
struct KernelOrderTests {
    @Test func eachObjectIsKnownOnceAndFoundFast() throws {
        let count = 20_000
        var order = KernelOrder<(key: Int, id: Int)>()
        var comparisons = 0
        func id(_ key: Int) throws -> Int {
            try order.value({
                comparisons += 1
                return key == $0.key ? .same : key < $0.key ? .before : .after
            }) { (key, key * 3) }.id
        }
        // In some order, then all of them again.
        let keys = (0..<count).map { $0 * 7919 % count }
        for key in keys { #expect(try id(key) == key * 3) }
        let first = comparisons
        for key in keys.reversed() {
            #expect(
                try order.value({ key == $0.key ? .same : key < $0.key ? .before : .after }) { (key, -1) }.id == key * 3
            )
        }
        // Linear search would take 200,000,000.
        #expect(first < count * 20)
    }
}
