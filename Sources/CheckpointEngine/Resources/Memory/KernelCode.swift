import CheckpointImages
import LinuxSystem
import Tracee

/// The code and data that the kernel lends to every process (vdso, vvar). vdso(7).
enum KernelCode {
    /// ARCH_MAP_VDSO_64, arch_prctl(2): maps data and code where they were; needs CONFIG_CHECKPOINT_RESTORE, and that
    /// the task has none mapped.
    static func recreate(at address: UInt64, in program: inout Program) {
        program.call("arch_prctl ARCH_MAP_VDSO_64", Int(SYS_arch_prctl), [0x2003, address])
    }

    /// Fails if this kernel lends code that the program could not go on with.
    ///
    /// Programs keep the addresses of its functions. Another build of the kernel does no harm as long as all of them are
    /// where they were, and no thread stands inside of one.
    static func check(
        _ mapping: VmaEntry, in images: RestoreImages, _ plan: ProcessPlan
    ) throws {
        let here = own
        guard let pages = plan.pages, mapping.length == UInt64(here.count) else { throw otherKernel(plan) }
        var dumped = [UInt8](repeating: 0, count: here.count)
        try pages.forEachRun { run in
            guard run.range.clamped(to: mapping.start..<mapping.end) == run.range else { return }
            let start = Int(run.range.lowerBound - mapping.start)
            dumped.replaceSubrange(start..<start + run.range.count, with: try pages.bytes(run, in: images))
        }
        if dumped == here { return }
        let isInside = plan.cores.contains { (mapping.start..<mapping.end).contains($0.threadInfo.gpregs.ip) }
        guard let then = functions(dumped), let now = functions(here), then == now, !isInside else {
            throw otherKernel(plan)
        }
    }

    private static func otherKernel(_ plan: ProcessPlan) -> CheckpointError {
        CheckpointError(
            "\(plan): was dumped under a kernel that lends other code (vdso) than this one; this cannot be restored yet"
        )
    }

    /// The code that this kernel lends.
    private static let own: [UInt8] = {
        let line = (try? memoryMap(of: getpid()))?.first { $0.name == "[vdso]" }
        guard let line, let start = UnsafeRawPointer(bitPattern: UInt(line.start)) else { return [] }
        return Array(UnsafeRawBufferPointer(start: start, count: Int(line.end - line.start)))
    }()

    /// The addresses of an ELF image's dynamic symbols by name, `nil` if it is none. elf(5).
    private static func functions(_ image: [UInt8]) -> [String: UInt64]? {
        func number<T: FixedWidthInteger>(_ offset: Int, _ type: T.Type) -> T? {
            guard offset >= 0, offset <= image.count - T.bitWidth / 8 else { return nil }
            return image.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: T.self) }
        }
        /// Where a section begins and ends, and the number of the one that it refers to.
        func section(_ index: Int, table: Int) -> (kind: UInt32, bytes: Range<Int>, link: Int)? {
            let header = table + index * 64
            guard let kind = number(header + 4, UInt32.self), let offset = number(header + 24, UInt64.self),
                let size = number(header + 32, UInt64.self), let link = number(header + 40, UInt32.self),
                offset <= UInt64(image.count), size <= UInt64(image.count) - offset
            else { return nil }
            return (kind, Int(offset)..<Int(offset + size), Int(link))
        }
        guard let table = number(40, UInt64.self), table < UInt64(image.count), let count = number(60, UInt16.self)
        else {
            return nil
        }
        // SHT_DYNSYM is 11; each symbol has 24 bytes: name 4, info 1, other 1, section 2, value 8, size 8.
        let sections = (0..<Int(count)).compactMap { section($0, table: Int(table)) }
        guard let symbols = sections.first(where: { $0.kind == 11 }),
            let names = section(symbols.link, table: Int(table))
        else { return nil }
        var found: [String: UInt64] = [:]
        for start in stride(from: symbols.bytes.lowerBound, to: symbols.bytes.upperBound - 23, by: 24) {
            guard let name = number(start, UInt32.self), let value = number(start + 8, UInt64.self),
                Int(name) < names.bytes.count
            else { return nil }
            let text = image[(names.bytes.lowerBound + Int(name))..<names.bytes.upperBound].prefix { $0 != 0 }
            found[String(decoding: text, as: UTF8.self)] = value
        }
        return found.isEmpty ? nil : found
    }
}
