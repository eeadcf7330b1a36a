import CheckpointImages
import LinuxSystem

/// Takes one `tmpfs-N.stasis` apart, piece by piece; nothing in it is trusted. ``MemoryFileEntry`` draws it.
struct MemoryFileReader {
    /// What comes next. After a directory its content does, up to its end.
    enum Item {
        case entry(MemoryFileEntry)
        case end
    }

    private(set) var point = ""
    private let size: UInt64
    private let read: (PayloadPlace) throws -> [UInt8]
    private var offset: UInt64 = 0
    private var window: ArraySlice<UInt8> = []
    private(set) var depth = 0
    /// Of the file whose content comes next.
    private var open: MemoryFileEntry?
    private var numbers: UInt32 = 0
    /// Whether the file that came last has a name already.
    private(set) var isFurtherName = false
    private var hasBegun = false

    /// Directories in each other.
    static let deepest = 65_536

    /// - Parameter read: some bytes of the image.
    init(size: UInt64, read: @escaping (PayloadPlace) throws -> [UInt8]) throws {
        self.size = size
        self.read = read
        guard try number() as UInt32 == MemoryFileEntry.magic else { throw CheckpointError("is no such image") }
        point = try text(limit: 4096)
    }

    /// Passes over content that nobody has read. `nil` after the end of the mount point itself, where the image must end, too.
    mutating func next() throws -> Item? {
        try content { _, _ in }
        if hasBegun, depth == 0 {
            guard offset == size, window.isEmpty else { throw CheckpointError("goes on behind its end") }
            return nil
        }
        let mode: UInt32 = try number()
        if mode == 0, hasBegun {
            depth -= 1
            return .end
        }
        let entry = try entry(mode)
        hasBegun = true
        if entry.isDirectory {
            depth += 1
            guard depth <= Self.deepest else {
                throw CheckpointError("more than \(Self.deepest) directories in each other")
            }
        }
        if entry.isRegular, !isFurtherName { open = entry }
        return .entry(entry)
    }

    /// The pieces of the regular file that came last, unless it is a further name of one.
    mutating func content(_ body: (_ offset: UInt64, _ bytes: ArraySlice<UInt8>) throws -> Void) throws {
        guard let file = open else { return }
        while true {
            let count: UInt32 = try number()
            if count == 0 { break }
            let start: UInt64 = try number()
            guard count <= MemoryFileEntry.pieceSize, start <= UInt64(file.size),
                UInt64(count) <= UInt64(file.size) - start
            else { throw CheckpointError("\(file.name): content behind its end") }
            try body(start, try take(Int(count)))
        }
        open = nil
    }

    private mutating func entry(_ mode: UInt32) throws -> MemoryFileEntry {
        var status = stat()
        status.st_mode = mode
        (status.st_uid, status.st_gid) = (try number(), try number())
        func time(_ reader: inout Self) throws -> timespec {
            let (seconds, nanoseconds): (Int64, UInt64) = (try reader.number(), try reader.number())
            guard nanoseconds < 1_000_000_000 else { throw CheckpointError("a time that cannot be") }
            return timespec(tv_sec: Int(seconds), tv_nsec: Int(nanoseconds))
        }
        (status.st_atim, status.st_mtim) = (try time(&self), try time(&self))
        let length: UInt64 = try number()
        guard length < 1 << 46 else { throw CheckpointError("a size that cannot be") }
        var entry = MemoryFileEntry(name: try text(limit: 255), status)
        entry.size = Int(length)
        let bytes = entry.name.utf8
        guard hasBegun ? !bytes.isEmpty : bytes.isEmpty && entry.isDirectory,
            !bytes.contains(0), !bytes.contains(UInt8(ascii: "/")), entry.name != ".", entry.name != ".."
        else { throw CheckpointError("a name that leads elsewhere") }
        let kinds = [S_IFDIR, S_IFREG, S_IFLNK, S_IFIFO, S_IFSOCK].map { UInt32($0) }
        guard kinds.contains(mode & UInt32(S_IFMT)), mode >> 16 == 0 else {
            throw CheckpointError("\(entry.name): this kind of file (mode \(String(mode, radix: 8))) may not be there")
        }
        entry.number = try number()
        isFurtherName = entry.number > 0 && entry.number <= numbers
        if entry.number > numbers {
            guard entry.number == numbers + 1, !entry.isDirectory else {
                throw CheckpointError("\(entry.name): a link to no file")
            }
            numbers += 1
        }
        entry.target = try text(limit: 4095)
        guard !entry.target.utf8.contains(0) else { throw CheckpointError("\(entry.name): a target that cannot be") }
        try readAttributes(of: &entry)
        return entry
    }

    private mutating func readAttributes(of entry: inout MemoryFileEntry) throws {
        var total = 0
        for _ in 0..<(try number() as UInt32) {
            let name = try text(limit: 255)
            let value = Array(try bytes(limit: 64 << 10))
            total += name.utf8.count + value.count
            guard MemoryFileSystem.isCarried(name), !name.utf8.contains(0), total <= MemoryFileEntry.attributeLimit
            else {
                throw CheckpointError("\(entry.name): an attribute that may not be set")
            }
            entry.attributes.append((name, value))
        }
    }

    private mutating func number<N: FixedWidthInteger>() throws -> N {
        var value: N = 0
        for (index, byte) in try take(MemoryLayout<N>.size).enumerated() {
            value |= N(truncatingIfNeeded: byte) << (8 * index)
        }
        return value
    }

    private mutating func bytes(limit: Int) throws -> ArraySlice<UInt8> {
        let count: UInt32 = try number()
        guard count <= limit else { throw CheckpointError("a name or value of \(count) bytes") }
        return try take(Int(count))
    }

    private mutating func text(limit: Int) throws -> String {
        guard let text = String(validating: try bytes(limit: limit), as: UTF8.self) else {
            throw CheckpointError("a name that is not UTF-8")
        }
        return text
    }

    private mutating func take(_ count: Int) throws -> ArraySlice<UInt8> {
        if window.count < count {
            let missing = UInt64(count - window.count)
            guard size - offset >= missing else { throw CheckpointError("ends in the middle of an entry") }
            let more = max(missing, min(size - offset, UInt64(MemoryFileEntry.pieceSize)))
            window = (window + (try read(PayloadPlace(offset: offset, count: more))))[...]
            offset += more
        }
        defer { window = window.dropFirst(count) }
        return window.prefix(count)
    }
}

/// One `tmpfs-N.stasis`, looked over once and read again when its files are made.
final class MemoryFileImage {
    private let name: String
    private let file: RawImage
    private(set) var point = ""

    init(_ name: String, _ file: consuming RawImage) throws {
        self.name = name
        self.file = file
        var reader = try reader()
        while try reader.next() != nil {}
        point = reader.point
    }

    func reader() throws -> MemoryFileReader {
        try MemoryFileReader(size: file.size) { [unowned self] in try file.bytes($0, name) }
    }
}
