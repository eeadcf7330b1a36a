/// SplitMix64: the same mutants for the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
        return word ^ word >> 31
    }
}

/// Damages images: anyhow, and so that they stay well-formed and only lie.
struct Mutator {
    var generator: SeededGenerator

    /// Numbers at which arithmetic goes wrong.
    private static let extremes: [UInt64] = [
        0, 1, 2, 3, 15, 16, 63, 64, 65, 127, 128, 255, 4095, 4096, 65_535, 65_536, 1 << 20, 1 << 22, 1 << 31 - 1,
        1 << 31,
        1 << 32 - 1, 1 << 32, 1 << 46, 1 << 47, 0x7fff_ffff_f000, 1 << 62, 1 << 63 - 1, 1 << 63, .max - 4095, .max - 1,
        .max,
    ]

    mutating func mutate(_ bytes: [UInt8]) -> (bytes: [UInt8], what: String) {
        switch Int.random(in: 0..<20, using: &generator) {
        case 0:
            let count = Int.random(in: 0...bytes.count, using: &generator)
            return (Array(bytes.prefix(count)), "cut to \(count)")
        case 1:
            let extra = (0..<Int.random(in: 1...64, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            return (bytes + extra, "\(extra.count) bytes more")
        case 2...6:
            guard !bytes.isEmpty else { return (bytes, "nothing") }
            var changed = bytes
            let offset = Int.random(in: 0..<bytes.count, using: &generator)
            changed[offset] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            return (changed, "flipped in \(offset)")
        default:
            return lie(bytes)
        }
    }

    /// Changes one field of one entry, and the lengths around it so that they fit again.
    private mutating func lie(_ bytes: [UInt8]) -> (bytes: [UInt8], what: String) {
        guard bytes.count > 12 else { return (bytes, "nothing") }
        var entries: [ArraySlice<UInt8>] = []
        // inventory.img has one magic number, the others two.
        let header = Self.number(bytes[4..<8]) < bytes.count ? 4 : 8
        var rest = bytes[header...]
        while rest.count >= 4 {
            let size = Self.number(rest)
            guard size <= rest.count - 4 else { break }
            entries.append(rest.dropFirst(4).prefix(size))
            rest = rest.dropFirst(4 + size)
        }
        guard let index = entries.indices.randomElement(using: &generator),
            let (changed, what) = lie(entries[index], depth: 0)
        else { return (bytes, "nothing") }
        if Int.random(in: 0..<8, using: &generator) == 0 { entries.append(entries[index]) }
        entries[index] = changed[...]
        let body = entries.flatMap { entry in (0..<4).map { UInt8(truncatingIfNeeded: entry.count >> (8 * $0)) } + entry
        }
        return (Array(bytes[..<header]) + body + rest, "entry \(index): \(what)")
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> Int {
        bytes.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
    }

    private struct Field {
        var key: UInt64
        var varint: UInt64 = 0
        var content: ArraySlice<UInt8> = []
    }

    /// A message by the wire format of protocol buffers, `nil` if it is none.
    private static func fields(_ message: ArraySlice<UInt8>) -> [Field]? {
        var rest = message
        func varint() -> UInt64? {
            var value: UInt64 = 0
            for shift in 0..<10 {
                guard let byte = rest.popFirst() else { return nil }
                value |= UInt64(byte & 0x7f) << UInt64(shift * 7)
                if byte < 0x80 { return value }
            }
            return nil
        }
        func take(_ count: UInt64) -> ArraySlice<UInt8>? {
            guard count <= rest.count else { return nil }
            defer { rest = rest.dropFirst(Int(count)) }
            return rest.prefix(Int(count))
        }
        var fields: [Field] = []
        while !rest.isEmpty {
            guard let key = varint(), key >> 3 != 0 else { return nil }
            var field = Field(key: key)
            switch key & 7 {
            case 0:
                guard let value = varint() else { return nil }
                field.varint = value
            case 1, 2, 5:
                guard let count = key & 7 == 2 ? varint() : key & 7 == 1 ? 8 : 4, let content = take(count) else {
                    return nil
                }
                field.content = content
            default: return nil
            }
            fields.append(field)
        }
        return fields
    }

    private static func encoded(_ fields: [Field]) -> [UInt8] {
        func varint(_ value: UInt64) -> [UInt8] {
            var value = value
            var bytes: [UInt8] = []
            while value >= 0x80 {
                bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
                value >>= 7
            }
            return bytes + [UInt8(value)]
        }
        return fields.flatMap { field in
            switch field.key & 7 {
            case 0: varint(field.key) + varint(field.varint)
            case 2: varint(field.key) + varint(UInt64(field.content.count)) + field.content
            default: varint(field.key) + field.content
            }
        }
    }

    private mutating func lie(_ message: ArraySlice<UInt8>, depth: Int) -> (bytes: [UInt8], what: String)? {
        guard depth < 6, var fields = Self.fields(message),
            // Every kind of field as often: there are hundreds of mappings and one number beside them.
            let key = Set(fields.map(\.key)).sorted().randomElement(using: &generator),
            let index = fields.indices.filter({ fields[$0].key == key }).randomElement(using: &generator)
        else { return nil }
        let name = "field \(fields[index].key >> 3)"
        let extreme = Self.extremes.randomElement(using: &generator) ?? 0
        switch Int.random(in: 0..<12, using: &generator) {
        case 0:
            fields.remove(at: index)
            return (Self.encoded(fields), "no \(name)")
        case 1:
            let count = [1, 20, 70, 700, 10_000].randomElement(using: &generator) ?? 1
            fields.insert(contentsOf: repeatElement(fields[index], count: count), at: index)
            return (Self.encoded(fields), "\(count) more of \(name)")
        default: break
        }
        switch fields[index].key & 7 {
        case 0:
            fields[index].varint = extreme
            return (Self.encoded(fields), "\(name) is \(extreme)")
        case 2:
            if let (inner, what) = lie(fields[index].content, depth: depth + 1) {
                fields[index].content = inner[...]
                return (Self.encoded(fields), "\(name): \(what)")
            }
            let count = [0, 1, 8, 1000, 300_000].randomElement(using: &generator) ?? 0
            let content = Array(fields[index].content)
            fields[index].content = (0..<count).map { content.isEmpty ? 0x41 : content[$0 % content.count] }[...]
            return (Self.encoded(fields), "\(name) has \(count) bytes")
        default:
            fields[index].content =
                fields[index].content.indices.map { UInt8(truncatingIfNeeded: extreme >> UInt64($0 % 8 * 8)) }[...]
            return (Self.encoded(fields), "\(name) is fixed \(extreme)")
        }
    }
}
