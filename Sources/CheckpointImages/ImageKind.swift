/// A kind of image file: what its files are called and which magic numbers they begin with.
package struct ImageKind: Hashable, Sendable {
    package enum Header: Hashable, Sendable {
        /// Two numbers: the one that all images share, then the kind's own.
        case image(UInt32)
        /// Files that are no part of the checkpoint proper, such as statistics.
        case service(UInt32)
        /// The inventory has its own number alone.
        case inventory(UInt32)
        /// No magic and no entries: pages, archives, dumps of network tools.
        case raw
    }

    /// The file's name; `%u` and `%x` stand for an ID.
    package let pattern: String
    package let header: Header

    init(_ pattern: String, _ header: Header) {
        self.pattern = pattern
        self.header = header
    }

    /// The name of the file for `id`. Kinds with a single file ignore the ID.
    package func fileName(_ id: some BinaryInteger = UInt64(0)) -> String {
        pattern.replacing("%u", with: String(id)).replacing("%x", with: String(id, radix: 16))
    }

    /// What the file begins with, each as a little-endian u32.
    var magics: [UInt32] {
        switch header {
        case .image(let own): [0x5456_4319, own]
        case .service(let own): [0x5510_5940, own]
        case .inventory(let own): [own]
        case .raw: []
        }
    }
}
