import LinuxSystem

/// The identity of a program or library: the GNU build-id note of its ELF file. elf(5).
///
/// A mapped file that was replaced by another of the same size would go unnoticed until it crashes.
enum BuildID {
    /// As the image format has it: words in the machine's order, empty if the file has none.
    ///
    /// - Parameter path: beneath `root`.
    static func words(of path: String, in root: CInt) throws -> [UInt32] {
        let file = try openAt(root, path, O_RDONLY | O_NONBLOCK, resolve: .inRoot)
        return words(in: file.raw)
    }

    private static func words(in file: CInt) -> [UInt32] {
        guard let header = read(file, at: 0, count: 64), header.prefix(4) == [0x7f, 0x45, 0x4c, 0x46] else { return [] }
        let table = number(header, 32, UInt64.self)
        let size = Int(number(header, 54, UInt16.self))
        let count = min(Int(number(header, 56, UInt16.self)), 64)
        guard size >= 56, size <= 256 else { return [] }
        for index in 0..<count {
            let (position, overflow) = table.addingReportingOverflow(UInt64(index * size))
            guard !overflow, let segment = read(file, at: position, count: 56) else { return [] }
            // PT_NOTE
            guard number(segment, 0, UInt32.self) == 4 else { continue }
            let length = min(number(segment, 32, UInt64.self), 4096)
            guard let notes = read(file, at: number(segment, 8, UInt64.self), count: Int(length)) else { continue }
            if let found = search(notes) { return found }
        }
        return []
    }

    /// Notes one after another: name size 4, content size 4, type 4, name, content, each padded to 4.
    private static func search(_ notes: [UInt8]) -> [UInt32]? {
        var position = 0
        while position + 12 <= notes.count {
            let name = Int(number(notes, position, UInt32.self))
            let size = Int(number(notes, position + 4, UInt32.self))
            guard name <= 256, size <= 256 else { return nil }
            let start = position + 12 + (name + 3) & ~3
            guard start + size <= notes.count else { return nil }
            // NT_GNU_BUILD_ID of "GNU"
            if number(notes, position + 8, UInt32.self) == 3, name == 4 {
                return stride(from: start, to: start + size - 3, by: 4).map { number(notes, $0, UInt32.self) }
            }
            position = start + (size + 3) & ~3
        }
        return nil
    }

    private static func number<T: FixedWidthInteger>(_ bytes: [UInt8], _ offset: Int, _ type: T.Type) -> T {
        bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: T.self) }
    }

    private static func read(_ file: CInt, at offset: UInt64, count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        let position = off_t(truncatingIfNeeded: offset)
        let got = bytes.withUnsafeMutableBytes { pread(file, $0.baseAddress, count, position) }
        return got == count ? bytes : nil
    }
}
