/// Where a file has data, holes left out: lseek(2) SEEK_DATA.
///
/// - Parameter size: bytes from which on nothing is looked for.
public func dataRanges(of file: CInt, size: off_t) throws(SystemError) -> [Range<off_t>] {
    var ranges: [Range<off_t>] = []
    var position: off_t = 0
    while position < size {
        let start = lseek(file, position, CInt(CLINUX_SEEK_DATA))
        // ENXIO: nothing but a hole is left.
        if start < 0, Errno.current == .noSuchAddressOrDevice { break }
        try system("find data") { start }
        let end = try system("find a hole") { lseek(file, start, CInt(CLINUX_SEEK_HOLE)) }
        ranges.append(start..<max(start, min(end, size)))
        position = end
    }
    return ranges
}

/// Reads exactly so many bytes from a place; `EIO` if the file has become shorter. pread(2).
public func readBytes(_ file: CInt, at position: off_t, count: Int) throws(SystemError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < count {
        let step = try system("read \(count) bytes at \(position)") {
            bytes.withUnsafeMutableBytes {
                pread(file, $0.baseAddress?.advanced(by: done), count - done, position + off_t(done))
            }
        }
        guard step > 0 else { throw SystemError(.ioError, "read \(count) bytes at \(position): the file is shorter") }
        done += step
    }
    return bytes
}

/// Writes all bytes to a place. pwrite(2).
public func writeBytes(_ file: CInt, _ bytes: ArraySlice<UInt8>, at position: off_t) throws(SystemError) {
    var done = 0
    while done < bytes.count {
        done += try system("write \(bytes.count) bytes at \(position)") {
            bytes.withUnsafeBytes {
                pwrite(file, $0.baseAddress?.advanced(by: done), bytes.count - done, position + off_t(done))
            }
        }
    }
}

/// Sets when a file was read and written last. futimens(3).
public func setTimes(of file: CInt, access: timespec, modification: timespec) throws(SystemError) {
    let times = [access, modification]
    try system("set times") { times.withUnsafeBufferPointer { futimens(file, $0.baseAddress) } }
}
