import LinuxSystem

/// Kernel objects that only kcmp(2) can tell apart, in the order that it gives them: n of them take n log n calls.
struct KernelOrder<Value> {
    /// In order. The pieces are small enough for one more in their middle to cost nothing.
    private var pieces: [[Value]] = [[]]
    private static var limit: Int { 256 }

    var values: [Value] { pieces.flatMap { $0 } }

    /// The value of the object that is the same, or the one that `make` makes for a new object.
    ///
    /// - Parameter compare: how the new object compares with a value's.
    mutating func value(_ compare: (Value) throws -> KernelComparison, orMake make: () throws -> Value) throws -> Value
    {
        let (piece, place) = try position(compare)
        if let known = place.same { return known }
        let made = try make()
        pieces[piece].insert(made, at: place.index)
        if pieces[piece].count > Self.limit {
            let half = Self.limit / 2
            pieces.insert(Array(pieces[piece][half...]), at: piece + 1)
            pieces[piece].removeLast(pieces[piece].count - half)
        }
        return made
    }

    /// The value of the object that is the same, `nil` if it is not there.
    func value(_ compare: (Value) throws -> KernelComparison) throws -> Value? {
        try position(compare).place.same
    }

    private func position(
        _ compare: (Value) throws -> KernelComparison
    ) throws -> (piece: Int, place: (index: Int, same: Value?)) {
        let piece = try Self.position(in: pieces.dropFirst(), compare) { $0[0] }.index - 1
        return (piece, try Self.position(in: pieces[piece][...], compare) { $0 })
    }

    /// Where the first element is that the object lies before, and the value of the element that is the same.
    private static func position<Element>(
        in elements: ArraySlice<Element>, _ compare: (Value) throws -> KernelComparison, _ value: (Element) -> Value
    ) throws -> (index: Int, same: Value?) {
        var (low, high) = (elements.startIndex, elements.endIndex)
        while low < high {
            let middle = (low + high) / 2
            let other = value(elements[middle])
            switch try compare(other) {
            case .same: return (middle + 1, other)
            case .before: high = middle
            case .after: low = middle + 1
            }
        }
        return (low, nil)
    }
}

/// How an object compares with another one.
enum KernelComparison {
    case same, before, after

    /// Of the other one with this.
    var reversed: KernelComparison {
        switch self {
        case .same: .same
        case .before: .after
        case .after: .before
        }
    }
}

/// kcmp(2) of two tasks' objects of one kind; the numbers are those of KCMP_FILE's descriptors. The second is an address with
/// KCMP_EPOLL_TFD.
func compareObjects(
    _ kind: CInt, of task: pid_t, _ number: CInt = 0, with other: pid_t, _ otherNumber: Int = 0
) throws -> KernelComparison {
    switch try systemCall(
        "kcmp", Int(SYS_kcmp), Int(task), Int(other), Int(kind), Int(number), otherNumber)
    {
    case 0: .same
    case 1: .before
    case 2: .after
    case let result: throw CheckpointError("kcmp orders tasks \(task) and \(other) as \(result)")
    }
}
