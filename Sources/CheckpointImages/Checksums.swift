/// `checksums.stasis`: what every other file of the checkpoint should be.
///
/// One line for each file, `checksum  size  name`; pages have a ``PageSum``, other files a ``Checksum``, and `-` stands
/// where only the size is known. The last line is about the lines before it. CRIU does not know the file and ignores it; its own
/// checkpoints lack it. It finds damage, not malice.
struct Checksums: Sendable {
    static let fileName = "checksums.stasis"

    struct Line: Sendable {
        /// `nil`: only the size is known.
        var checksum: UInt64?
        var size: UInt64
    }

    private(set) var lines: [(name: String, line: Line)] = []

    mutating func add(_ name: String, _ bytes: [UInt8]) {
        lines.append((name, Line(checksum: Checksum.of(bytes), size: UInt64(bytes.count))))
    }

    mutating func add(_ name: String, size: UInt64, sum: UInt64?) {
        lines.append((name, Line(checksum: sum, size: size)))
    }

    /// Whether a file's sum is a ``PageSum``.
    static func isPages(_ name: String) -> Bool { name.hasPrefix("pages-") }

    func encoded() -> [UInt8] {
        let body = lines.map { Self.text($0.name, $0.line) }.joined()
        return Array((body + Self.lastLine(after: body.utf8)).utf8)
    }

    /// By name. Compares the last line as bytes, so that no other spelling of it passes either.
    static func decode(_ bytes: [UInt8]) throws(ImageError) -> [String: Line] {
        let newline = UInt8(ascii: "\n")
        let body = bytes.dropLast().lastIndex(of: newline).map { bytes.prefix($0 + 1) } ?? []
        guard bytes.dropFirst(body.count).elementsEqual(lastLine(after: body).utf8) else { throw damaged }
        var lines: [String: Line] = [:]
        for row in body.split(separator: newline) {
            guard let (name, line) = parse(String(decoding: row, as: UTF8.self)), lines[name] == nil else {
                throw damaged
            }
            lines[name] = line
        }
        return lines
    }

    private static func lastLine(after body: some Collection<UInt8>) -> String {
        text(fileName, Line(checksum: Checksum.of(body), size: UInt64(body.count)))
    }

    private static var damaged: ImageError { ImageError(fileName, .malformed("is damaged")) }

    private static func parse(_ row: String) -> (String, Line)? {
        let columns = row.split(separator: "  ", maxSplits: 2)
        guard columns.count == 3, let size = UInt64(columns[1]) else { return nil }
        if columns[0] == "-" { return (String(columns[2]), Line(checksum: nil, size: size)) }
        guard let checksum = UInt64(columns[0], radix: 16) else { return nil }
        return (String(columns[2]), Line(checksum: checksum, size: size))
    }

    private static func text(_ name: String, _ line: Line) -> String {
        let digits = line.checksum.map { String($0, radix: 16) }
        let checksum = digits.map { String(repeating: "0", count: 16 - $0.count) + $0 } ?? "-"
        return "\(checksum)  \(line.size)  \(name)\n"
    }
}

/// FNV-1a, 64 bits. Each step is a bijection of the state, so one changed byte always changes the sum.
struct Checksum: Sendable {
    private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func update(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }

    static func of(_ bytes: some Sequence<UInt8>) -> UInt64 {
        var checksum = Checksum()
        checksum.update(bytes)
        return checksum.value
    }
}
