import LinuxSystem

/// What the page tables say of a private mapping.
struct OwnPages: Equatable {
    /// Pages that are the process's own: present or swapped, not a file's, and not the zero page.
    var stored: [Range<UInt64>] = []
    /// Pages that nobody may touch. madvise(2) MADV_GUARD_INSTALL, kernel 6.13.
    var guards: [Range<UInt64>] = []
}

/// Which pages a process has. PAGEMAP_SCAN, kernel 6.7; before that, /proc/PID/pagemap.
enum PagemapScan {
    /// - Parameter namesGuards: whether to ask the kernel itself for guard pages, as one may from 6.15 on. Before, they
    ///   look swapped to the scan, and /proc/PID/pagemap is read to tell.
    static func ownPages(
        _ pagemap: CInt, _ range: Range<UInt64>, namesGuards: Bool = true
    ) throws(SystemError) -> OwnPages {
        var query = clinux_pm_scan_arg()
        query.category_inverted = UInt64(CLINUX_PAGE_IS_FILE | CLINUX_PAGE_IS_PFNZERO)
        query.category_mask = UInt64(CLINUX_PAGE_IS_FILE | CLINUX_PAGE_IS_PFNZERO)
        query.category_anyof_mask = UInt64(CLINUX_PAGE_IS_PRESENT | CLINUX_PAGE_IS_SWAPPED)
        query.return_mask = UInt64(namesGuards ? CLINUX_PAGE_IS_GUARD : CLINUX_PAGE_IS_SWAPPED)
        var found = OwnPages()
        do throws(SystemError) {
            for region in try scan(query, pagemap, range) {
                let pages = region.start..<region.end
                if region.categories == 0 {
                    found.stored.extend(by: pages)
                } else if namesGuards {
                    found.guards.extend(by: pages)
                } else {
                    let closer = try read(pagemap, pages)
                    for range in closer.stored { found.stored.extend(by: range) }
                    for range in closer.guards { found.guards.extend(by: range) }
                }
            }
            return found
        } catch {
            switch error.errno {
            case .invalidArgument where namesGuards: return try ownPages(pagemap, range, namesGuards: false)
            case .inappropriateIOCTLForDevice: return try read(pagemap, range)
            default: throw error
            }
        }
    }

    /// The guard pages of a mapping whose content is not the process's own. Kernels before 6.15, which cannot be asked,
    /// let nobody have any there.
    static func guards(_ pagemap: CInt, _ range: Range<UInt64>) throws(SystemError) -> [Range<UInt64>] {
        var query = clinux_pm_scan_arg()
        query.category_mask = UInt64(CLINUX_PAGE_IS_GUARD)
        do throws(SystemError) {
            return try scan(query, pagemap, range).map { $0.start..<$0.end }
        } catch {
            guard [.invalidArgument, .inappropriateIOCTLForDevice].contains(error.errno) else { throw error }
            return []
        }
    }

    private static func scan(
        _ query: clinux_pm_scan_arg, _ pagemap: CInt, _ range: Range<UInt64>
    ) throws(SystemError) -> [clinux_page_region] {
        var found: [clinux_page_region] = []
        var regions = [clinux_page_region](repeating: clinux_page_region(), count: 256)
        var position = range.lowerBound
        while position < range.upperBound {
            let (count, end) = try regions.withUnsafeMutableBufferPointer { buffer throws(SystemError) in
                var query = query
                query.size = UInt64(MemoryLayout<clinux_pm_scan_arg>.size)
                query.start = position
                query.end = range.upperBound
                query.vec = UInt64(UInt(bitPattern: buffer.baseAddress))
                query.vec_len = UInt64(buffer.count)
                let count = try system("PAGEMAP_SCAN") {
                    withUnsafeMutablePointer(to: &query) {
                        clinux_ioctl(pagemap, clinux_pagemap_scan(), UInt(bitPattern: $0))
                    }
                }
                return (Int(count), query.walk_end)
            }
            found += regions[..<count]
            guard end > position else { break }
            position = end
        }
        return found
    }

    /// The same on an older kernel, where the zero page cannot be told from the process's own.
    static func read(_ pagemap: CInt, _ range: Range<UInt64>) throws(SystemError) -> OwnPages {
        var found = OwnPages()
        var entries: [PagemapWord] = []
        var position = range.lowerBound
        while position < range.upperBound {
            try PagemapWord.read(pagemap, position, count: min(4096, Int(range.count / 4096)), into: &entries)
            guard !entries.isEmpty else { break }
            for entry in entries where position < range.upperBound {
                let next = position + 4096
                if entry.isGuard {
                    found.guards.extend(by: position..<next)
                } else if entry.isPresent || entry.isSwapped, !entry.isFileOrShared {
                    found.stored.extend(by: position..<next)
                }
                position = next
            }
        }
        return found
    }
}

/// What /proc/PID/pagemap says of one page. proc_pid_pagemap(5).
struct PagemapWord {
    let raw: UInt64

    var isPresent: Bool { raw & 1 << 63 != 0 }
    var isSwapped: Bool { raw & 1 << 62 != 0 }
    var isFileOrShared: Bool { raw & 1 << 61 != 0 }
    /// Whether no other page table has the page.
    var isExclusive: Bool { raw & 1 << 56 != 0 }
    /// In the place of a swap file's number guards have 31, which stands for marks, and in that of the offset 4. From
    /// 6.15 on there is a bit too, which older kernels lack; all of them show these numbers, to CAP_SYS_ADMIN.
    var isGuard: Bool { isSwapped && raw & (1 << 55 - 1) == 31 | 4 << 5 }

    /// Reads as many words as there are, up to `count`.
    static func read(
        _ pagemap: CInt, _ address: UInt64, count: Int, into words: inout [PagemapWord]
    ) throws(SystemError) {
        if words.count != count { words = [PagemapWord](repeating: PagemapWord(raw: 0), count: count) }
        let done = try system("read pagemap") {
            words.withUnsafeMutableBytes { pread(pagemap, $0.baseAddress, $0.count, off_t(address / 4096 * 8)) }
        }
        if done / 8 < count { words.removeLast(count - done / 8) }
    }
}

extension [Range<UInt64>] {
    /// Adds a range behind the last, as part of it if they touch.
    mutating func extend(by range: Range<UInt64>) {
        if let last, last.upperBound == range.lowerBound {
            self[count - 1] = last.lowerBound..<range.upperBound
        } else {
            append(range)
        }
    }
}
