extension Array {
    /// The first place from which on all elements fulfil a condition; those before it do not.
    func firstIndex(ordered holds: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if holds(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
