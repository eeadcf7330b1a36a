/// Which pages a `pages-N.img` has: `pagemap_head` and the `pagemap_entry`s after it.
package struct Pagemap: Sendable {
    package static let pageSize: UInt64 = 4096

    package var pagesID: UInt32
    /// In address order, without overlap. A large process has a million, so they are not kept as messages.
    private var runs: [Run] = []

    /// One entry in 16 bytes.
    private struct Run {
        /// That of a page, with the flags in its lowest bits.
        let address: UInt64
        let pages: UInt64

        var entry: PagemapEntry {
            PagemapEntry(
                address: address & ~(Pagemap.pageSize - 1), pages: pages,
                flags: PagemapFlags(rawValue: UInt32(address & (Pagemap.pageSize - 1))))
        }
    }

    package init(pagesID: UInt32) { self.pagesID = pagesID }

    package var entries: some RandomAccessCollection<PagemapEntry> { runs.lazy.map(\.entry) }

    /// - Parameter address: of a page, behind those before it.
    package mutating func append(address: UInt64, pages: UInt64, flags: PagemapFlags = .present) {
        runs.append(Run(address: address | UInt64(flags.rawValue), pages: pages))
    }

    /// Bytes that `pages-N.img` has to have.
    package var storedBytes: UInt64 {
        entries.reduce(0) { $1.isStored ? $0 + $1.pageCount * Self.pageSize : $0 }
    }

    init(_ reader: inout ImageReader) throws(ImageError) {
        pagesID = try reader.next(as: PagemapHead.self).pagesID
        var end: UInt64 = 0
        while !reader.isAtEnd {
            let entry = try reader.next(as: PagemapEntry.self)
            let (size, overflow) = entry.pageCount.multipliedReportingOverflow(by: Self.pageSize)
            let (next, wraps) = entry.vaddr.addingReportingOverflow(size)
            guard !overflow, !wraps, entry.vaddr % Self.pageSize == 0 else {
                throw reader.malformed("\(entry.pageCount) pages at address \(entry.vaddr) are not possible")
            }
            guard entry.vaddr >= end else {
                throw reader.malformed("address \(entry.vaddr) is not behind the entry before it")
            }
            guard UInt64(entry.pageFlags.rawValue) < Self.pageSize else {
                throw reader.malformed("flags 0x\(String(entry.pageFlags.rawValue, radix: 16)) are not known")
            }
            end = next
            append(address: entry.vaddr, pages: entry.pageCount, flags: entry.pageFlags)
        }
    }
}

/// `pmap.flags` of a ``PagemapEntry``.
package struct PagemapFlags: OptionSet, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
    /// The pages are in the parent checkpoint.
    package static let parent = PagemapFlags(rawValue: 1 << 0)
    /// The pages may be brought in later.
    package static let lazy = PagemapFlags(rawValue: 1 << 1)
    /// The pages are in `pages-N.img`.
    package static let present = PagemapFlags(rawValue: 1 << 2)
}

extension PagemapEntry {
    /// States the number twice: crit up to 3.17 reads only `compat_nr_pages`.
    package init(address: UInt64, pages: UInt64, flags: PagemapFlags = .present) {
        self.init()
        vaddr = address
        compatNrPages = UInt32(truncatingIfNeeded: pages)
        nrPages = pages
        self.flags = flags.rawValue
    }

    package var pageCount: UInt64 { hasNrPages ? nrPages : UInt64(compatNrPages) }

    /// Older images say `in_parent` beside flags or in their place.
    package var pageFlags: PagemapFlags {
        let flags = hasFlags ? PagemapFlags(rawValue: flags) : inParent ? [] : .present
        return inParent ? flags.union(.parent) : flags
    }

    /// Whether `pages-N.img` has these pages.
    package var isStored: Bool { pageFlags.contains(.present) }
}
