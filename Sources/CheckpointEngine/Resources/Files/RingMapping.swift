import CheckpointImages
import LinuxSystem
import Tracee

extension IORing {
    /// Maps rings where they were: the kernel takes no address for them, so that it is left no other.
    ///
    /// - Returns: where they begin.
    static func map(
        _ mappings: [(mapping: VmaEntry, number: CInt)], by runner: inout ProgramRunner
    ) throws -> Set<UInt64> {
        if mappings.isEmpty { return [] }
        try runner.flush()
        let least = UInt64(try readText("/proc/sys/vm/mmap_min_addr")[...].trimmed) ?? 0
        let taken = try memoryMap(of: runner.stub.tid).map(\.range)
        let gaps = self.gaps(in: max(least, MemoryMapping.pageSize)..<0x7fff_ffff_f000, between: taken)
        for portion in ProgramRunner.portions(gaps) {
            try runner.add { program in
                // MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE
                for gap in portion {
                    program.call(
                        "fill of a gap", Int(SYS_mmap),
                        [gap.lowerBound, UInt64(gap.count), 0, 0x10_4022, UInt64.max, 0])
                }
            }
        }
        for (mapping, number) in mappings {
            let arguments = [0, mapping.length, UInt64(mapping.prot), 1, UInt64(number), mapping.pgoff]
            try runner.add {
                $0.call("munmap", Int(SYS_munmap), [mapping.start, mapping.length])
                $0.call("mmap of an io_uring", Int(SYS_mmap), arguments, expecting: Int(mapping.start))
            }
        }
        let made = mappings.map { $0.mapping.start..<$0.mapping.end }.sorted { $0.lowerBound < $1.lowerBound }
        for portion in ProgramRunner.portions(gaps.flatMap { self.gaps(in: $0, between: made) }) {
            try runner.add { program in
                for gap in portion {
                    program.call("munmap of a gap", Int(SYS_munmap), [gap.lowerBound, UInt64(gap.count)])
                }
            }
        }
        return Set(made.map(\.lowerBound))
    }

    /// What is left of a range by others, which ascend.
    static func gaps(in range: Range<UInt64>, between taken: [Range<UInt64>]) -> [Range<UInt64>] {
        var (gaps, start) = ([Range<UInt64>](), range.lowerBound)
        for next in taken where next.lowerBound < range.upperBound && next.upperBound > start {
            if next.lowerBound > start { gaps.append(start..<next.lowerBound) }
            start = next.upperBound
        }
        if start < range.upperBound { gaps.append(start..<range.upperBound) }
        return gaps
    }
}
