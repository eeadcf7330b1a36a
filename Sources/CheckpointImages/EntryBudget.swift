import SwiftProtobuf

/// How much memory the entries of a checkpoint's images may take while it is restored.
///
/// A few bytes of an image become many of memory: an empty message in another one is two bytes and 100 to 400. So what
/// entries take is added up, before each is decoded, and a restore ends before it is too much. It is reckoned from the
/// images alone, so that a checkpoint can refuse what no restore would take.
package struct EntryBudget: Sendable {
    /// Bytes for a checkpoint of one process.
    private static let base = 40 << 20
    /// Bytes more for each thread, of which every process has one.
    private static let perThread = 48 << 10
    /// Bytes for any checkpoint.
    private static let most = 256 << 20

    private var spent = 0
    private var threads = 0

    package init() {}

    /// Adds an entry that was or is to be encoded in `bytes`.
    ///
    /// - Returns: whether it can be decoded.
    mutating func add<E: Message>(_ type: E.Type, _ bytes: ArraySlice<UInt8>) -> Bool {
        let parts = Self.parts(of: bytes, depth: 3) ?? 0
        var passing = 0
        // Rather too much, as measured with SwiftProtobuf 1.39 on x86-64.
        switch type {
        // Kept by Pagemap and FileTable, which decode one after the other.
        case is PagemapEntry.Type: spent += 48
        case is FileEntry.Type:
            spent += 64 + bytes.count
            passing = 4096 + 256 * parts
        case is FdinfoEntry.Type: spent += 256 + 4 * bytes.count
        case is SkPacketEntry.Type: spent += 384 + 4 * bytes.count
        case is MmEntry.Type: spent += 4096 + 384 * parts
        case is PstreeEntry.Type:
            spent += 256 + 4 * bytes.count
            // It does not pay for itself.
            return spent <= Self.base
        default: spent += 2048 + 4 * bytes.count + 256 * parts
        }
        return spent + passing <= limit
    }

    /// Threads may be what takes the memory.
    mutating func count(_ entry: some Message) {
        if let process = entry as? PstreeEntry { threads += process.threads.count }
    }

    private var limit: Int { min(Self.base + threads * Self.perThread, Self.most) }

    /// Adds those of another image.
    mutating func add(_ other: EntryBudget) {
        spent += other.spent
        threads += other.threads
    }

    var isExceeded: Bool { spent > limit }

    static let exceeded = "the entries of this checkpoint's images take more memory than a restore may have for them"

    /// How many messages, texts and byte strings are in a message, also in each other; `nil` if it is none.
    private static func parts(of bytes: ArraySlice<UInt8>, depth: Int) -> Int? {
        var (count, place) = (0, bytes.startIndex)
        func number() -> UInt64? {
            var (value, shift) = (UInt64(0), UInt64(0))
            while place < bytes.endIndex, shift < 64 {
                let byte = bytes[place]
                place += 1
                value |= UInt64(byte & 0x7f) << shift
                if byte < 0x80 { return value }
                shift += 7
            }
            return nil
        }
        while place < bytes.endIndex {
            guard let key = number(), key >= 8 else { return nil }
            var length = 0
            switch key & 7 {
            case 0: guard number() != nil else { return nil }
            case 1: length = 8
            case 2:
                guard let count = number(), count <= bytes.count else { return nil }
                length = Int(count)
            case 5: length = 4
            default: return nil
            }
            guard length <= bytes.endIndex - place else { return nil }
            if key & 7 == 2 {
                count += 1
                if depth > 1 { count += parts(of: bytes[place..<place + length], depth: depth - 1) ?? 0 }
            }
            place += length
        }
        return count
    }
}
