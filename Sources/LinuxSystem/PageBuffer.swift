/// The words of a page.
public typealias PageWords = InlineArray<512, UInt64>

/// Room for pages on their way from one place to another, aligned as O_DIRECT wants it.
public struct PageBuffer: ~Copyable {
    private let room: UnsafeMutableRawBufferPointer

    public init(byteCount: Int) { room = .allocate(byteCount: byteCount, alignment: 4096) }

    deinit { room.deallocate() }

    public var count: Int { room.count }

    /// The first so many bytes, page by page.
    public func withPages<R>(_ bytes: Int, _ body: (Span<PageWords>) -> R) -> R {
        body(UnsafeRawBufferPointer(rebasing: room[..<bytes]).bindMemory(to: PageWords.self).span)
    }

    /// For calls that take an address.
    public func withBytes<R, E: Error>(
        _ range: Range<Int>, _ body: (UnsafeRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        try body(UnsafeRawBufferPointer(rebasing: room[range]))
    }

    /// For calls that fill it.
    public mutating func withMutableBytes<R, E: Error>(
        _ range: Range<Int>, _ body: (UnsafeMutableRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        try body(UnsafeMutableRawBufferPointer(rebasing: room[range]))
    }

    /// Fills a part of it from a place in a file. pread(2), repeated after short reads.
    ///
    /// - Returns: how many bytes; fewer only where the file ends.
    public mutating func fill(
        _ range: Range<Int>, from file: CInt, at offset: UInt64, _ attempt: @autoclosure () -> String
    ) throws(SystemError) -> Int {
        try withMutableBytes(range) { bytes throws(SystemError) in
            var done = 0
            while done < bytes.count {
                let place = off_t(truncatingIfNeeded: offset) + off_t(done)
                let count = try system(attempt()) {
                    pread(file, bytes.baseAddress?.advanced(by: done), bytes.count - done, place)
                }
                if count == 0 { break }
                done += count
            }
            return done
        }
    }

    /// Puts its first so many bytes at a place in a file. pwrite(2), repeated after short writes.
    public func write(
        _ count: Int, to file: CInt, at offset: UInt64, _ attempt: @autoclosure () -> String
    ) throws(SystemError) {
        try withBytes(0..<count) { bytes throws(SystemError) in
            var done = 0
            while done < count {
                let place = off_t(truncatingIfNeeded: offset) + off_t(done)
                done += try system(attempt()) {
                    pwrite(file, bytes.baseAddress?.advanced(by: done), count - done, place)
                }
            }
        }
    }

    /// Fills a part of it with a page of a file, with what memory shows behind the file's end, too. mmap(2).
    public mutating func fillPage(_ range: Range<Int>, from file: CInt, at offset: UInt64) throws(SystemError) {
        let page = mmap(nil, range.count, PROT_READ, MAP_PRIVATE, file, off_t(truncatingIfNeeded: offset))
        guard let page, Int(bitPattern: page) != -1 else { throw SystemError(.current, "map a page at \(offset)") }
        defer { munmap(page, range.count) }
        try withMutableBytes(range) { bytes throws(SystemError) in
            // A file that has just become shorter is an error of this call, and no signal.
            var vectors = (
                iovec(iov_base: bytes.baseAddress, iov_len: bytes.count), iovec(iov_base: page, iov_len: bytes.count)
            )
            try system("read a page at \(offset)") {
                withUnsafeMutableBytes(of: &vectors) {
                    let address = Int(bitPattern: $0.baseAddress)
                    return clinux_syscall(
                        Int(SYS_process_vm_readv), Int(getpid()), address, 1, address + MemoryLayout<iovec>.size, 1, 0)
                }
            }
        }
    }
}
