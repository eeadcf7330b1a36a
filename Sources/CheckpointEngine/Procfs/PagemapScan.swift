import LinuxSystem

/// The pages of a private mapping that are its own: present or swapped, not a file's, and not the zero page.
/// PAGEMAP_SCAN, kernel 6.7.
func scanPagemap(_ pagemap: CInt, _ range: Range<UInt64>) throws(SystemError) -> [Range<UInt64>] {
    var found: [Range<UInt64>] = []
    var regions = [clinux_page_region](repeating: clinux_page_region(), count: 256)
    var position = range.lowerBound
    while position < range.upperBound {
        let (count, end) = try regions.withUnsafeMutableBufferPointer { buffer throws(SystemError) in
            var query = clinux_pm_scan_arg()
            query.size = UInt64(MemoryLayout<clinux_pm_scan_arg>.size)
            query.start = position
            query.end = range.upperBound
            query.vec = UInt64(UInt(bitPattern: buffer.baseAddress))
            query.vec_len = UInt64(buffer.count)
            query.category_inverted = UInt64(CLINUX_PAGE_IS_FILE | CLINUX_PAGE_IS_PFNZERO)
            query.category_mask = UInt64(CLINUX_PAGE_IS_FILE | CLINUX_PAGE_IS_PFNZERO)
            query.category_anyof_mask = UInt64(CLINUX_PAGE_IS_PRESENT | CLINUX_PAGE_IS_SWAPPED)
            query.return_mask = 0
            let count = try system("PAGEMAP_SCAN") {
                withUnsafeMutablePointer(to: &query) {
                    clinux_ioctl(pagemap, clinux_pagemap_scan(), UInt(bitPattern: $0))
                }
            }
            return (Int(count), query.walk_end)
        }
        for region in regions[..<count] { found.extend(by: region.start..<region.end) }
        guard end > position else { break }
        position = end
    }
    return found
}

/// The same on an older kernel, where the zero page cannot be told from the process's own. proc_pid_pagemap(5).
func readPagemap(_ pagemap: CInt, _ range: Range<UInt64>) throws(SystemError) -> [Range<UInt64>] {
    let (present, swapped, fileOrShared) = (UInt64(1) << 63, UInt64(1) << 62, UInt64(1) << 61)
    var found: [Range<UInt64>] = []
    var entries = [UInt64](repeating: 0, count: 4096)
    var position = range.lowerBound
    while position < range.upperBound {
        let wanted = min(entries.count, Int((range.upperBound - position) / 4096)) * 8
        let count = try system("read pagemap") {
            entries.withUnsafeMutableBytes { pread(pagemap, $0.baseAddress, wanted, off_t(position / 4096 * 8)) }
        }
        guard count >= 8 else { break }
        for entry in entries[..<(count / 8)] {
            let next = position + 4096
            if entry & (present | swapped) != 0, entry & fileOrShared == 0 { found.extend(by: position..<next) }
            position = next
        }
    }
    return found
}

extension [Range<UInt64>] {
    /// Adds a range behind the last, as part of it if they touch.
    fileprivate mutating func extend(by range: Range<UInt64>) {
        if let last, last.upperBound == range.lowerBound {
            self[count - 1] = last.lowerBound..<range.upperBound
        } else {
            append(range)
        }
    }
}
