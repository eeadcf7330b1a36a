import LinuxSystem

/// Whole pages of a task, many at once.
extension TaskMemory {
    /// How many ranges one call takes. IOV_MAX.
    private static let vectorLimit = 1024

    /// Reads ranges into a buffer, back to back. process_vm_readv(2), which pins what it reads.
    ///
    /// - Parameter start: where in the buffer the first range goes.
    /// - Returns: how many bytes, up to the first page that cannot be read.
    public func read(_ ranges: ArraySlice<Range<UInt64>>, into buffer: inout PageBuffer, at start: Int) -> Int {
        let length = ranges.reduce(0) { $0 + $1.count }
        return buffer.withMutableBytes(start..<start + length) { bytes in
            transfer(SYS_process_vm_readv, bytes.baseAddress, ranges).done
        }
    }

    /// Writes ranges from a buffer, in which they lie back to back. The task pays for new pages. process_vm_writev(2).
    ///
    /// - Parameter start: where in the buffer the first range lies.
    public func write(
        _ ranges: ArraySlice<Range<UInt64>>, from buffer: borrowing PageBuffer, at start: Int
    ) throws(TraceeError) {
        let length = ranges.reduce(0) { $0 + $1.count }
        let (done, error) = buffer.withBytes(start..<start + length) { bytes in
            transfer(SYS_process_vm_writev, UnsafeMutableRawPointer(mutating: bytes.baseAddress), ranges)
        }
        guard done < length else { return }
        if error == .noSuchProcess { throw .gone(pid) }
        var rest = done
        let range = ranges.first {
            rest -= $0.count
            return rest < 0
        }
        let address = RemoteAddress(range.map { $0.upperBound - UInt64(-rest) } ?? 0)
        throw .unexpected(pid, "memory at \(address) cannot be written")
    }

    /// The pages of a range that are not what a buffer has for them. Read by /proc/PID/mem, which leaves pages shared
    /// that processes share copy-on-write.
    ///
    /// - Parameter start: where in the buffer the range lies.
    public func pages(
        of range: Range<UInt64>, unlike buffer: borrowing PageBuffer, at start: Int
    ) throws(SystemError) -> [Range<UInt64>] {
        let file = try openAt(AT_FDCWD, "/proc/\(pid)/mem", O_RDONLY)
        var found: [Range<UInt64>] = []
        var here = PageBuffer(byteCount: 64 << 10)
        for part in stride(from: range.lowerBound, to: range.upperBound, by: here.count) {
            let length = min(here.count, Int(range.upperBound - part))
            let place = RemoteAddress(part)
            let count = try here.fill(0..<length, from: file.raw, at: part, "read memory of task \(pid) at \(place)")
            let first = start + Int(part - range.lowerBound)
            for page in stride(from: 0, to: length, by: 4096) {
                let isLike = page < count && here.hasSamePage(page, as: buffer, first + page)
                if isLike { continue }
                let address = part + UInt64(page)
                if let last = found.last, last.upperBound == address {
                    found[found.count - 1] = last.lowerBound..<address + 4096
                } else {
                    found.append(address..<address + 4096)
                }
            }
        }
        return found
    }

    /// - Returns: how many bytes, and why no more.
    private func transfer(
        _ call: CInt, _ bytes: UnsafeMutableRawPointer?, _ ranges: ArraySlice<Range<UInt64>>
    ) -> (done: Int, error: Errno?) {
        var done = 0
        var error: Errno?
        var rest = ranges
        while !rest.isEmpty {
            let vectors = rest.prefix(Self.vectorLimit).map {
                iovec(iov_base: UnsafeMutableRawPointer(bitPattern: UInt($0.lowerBound)), iov_len: $0.count)
            }
            let length = vectors.reduce(0) { $0 + $1.iov_len }
            var local = iovec(iov_base: bytes?.advanced(by: done), iov_len: length)
            let count = withUnsafePointer(to: &local) { local in
                vectors.withUnsafeBufferPointer { remote in
                    let count = clinux_syscall(
                        Int(call), Int(pid), Int(bitPattern: local), 1, Int(bitPattern: remote.baseAddress),
                        remote.count, 0)
                    if count < 0 { error = .current }
                    return count
                }
            }
            done += max(count, 0)
            guard count == length else { break }
            rest = rest.dropFirst(Self.vectorLimit)
        }
        return (done, error)
    }

    /// Swaps a range out. process_madvise(2) MADV_PAGEOUT, kernel 5.10.
    ///
    /// - Returns: whether the kernel would.
    @discardableResult
    public func pageOut(_ range: Range<UInt64>) -> Bool { advise(CLINUX_MADV_PAGEOUT, range) }

    /// Makes a huge page of pages of 4 KiB; of those that are not there yet, too, if one is. What the task advised the
    /// kernel stays as it is, and its memory cgroup pays. process_madvise(2) MADV_COLLAPSE, kernel 6.1.
    ///
    /// - Returns: whether the kernel would.
    public func collapse(_ range: Range<UInt64>) -> Bool { advise(CLINUX_MADV_COLLAPSE, range) }

    private func advise(_ advice: CInt, _ range: Range<UInt64>) -> Bool {
        guard let process = try? Pidfd(pid: pid) else { return false }
        var range = iovec(iov_base: UnsafeMutableRawPointer(bitPattern: UInt(range.lowerBound)), iov_len: range.count)
        return withUnsafePointer(to: &range) {
            clinux_syscall(
                Int(CLINUX_SYS_process_madvise), Int(process.raw), Int(bitPattern: $0), 1, Int(advice), 0, 0)
        } == range.iov_len
    }
}

extension PageBuffer {
    /// Makes its first so many bytes zeros.
    public mutating func clear(_ count: Int) {
        withMutableBytes(0..<count) { _ = $0.initializeMemory(as: UInt8.self, repeating: 0) }
    }

    /// Whether a page is the same as one of another buffer, by where they begin in the two.
    public func hasSamePage(_ first: Int, as other: borrowing PageBuffer, _ second: Int) -> Bool {
        withBytes(first..<first + 4096) { one in
            other.withBytes(second..<second + 4096) { other in
                guard let one = one.baseAddress, let other = other.baseAddress else { return false }
                return memcmp(one, other, 4096) == 0
            }
        }
    }
}
