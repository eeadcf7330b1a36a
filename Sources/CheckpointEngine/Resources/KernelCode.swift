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

    /// Fails if the checkpoint comes from a kernel that lends other code: programs keep addresses into it.
    static func check(
        _ mapping: VmaEntry, _ ranges: [Range<UInt64>], in images: RestoreImages, _ plan: ProcessPlan
    ) throws {
        guard let pagemap = plan.pagemap else { return }
        let length = Int(clamping: mapping.length)
        guard let start = UnsafeRawPointer(bitPattern: UInt(getauxval(33))) else {
            throw CheckpointError("this kernel lends no code (vdso) to its processes")
        }
        let file = try images.directory.pages(of: pagemap)
        var offset: UInt64 = 0
        for range in ranges {
            defer { offset += range.upperBound - range.lowerBound }
            guard range.lowerBound >= mapping.start, range.upperBound <= mapping.end else { continue }
            // Before anything is allocated: the length is whatever the image says.
            guard length <= KernelCode.size else { throw otherKernel(plan) }
            var bytes = [UInt8](repeating: 0, count: Int(range.upperBound - range.lowerBound))
            let position = off_t(offset)
            try system("read pages of the vdso") { bytes.withUnsafeMutableBytes { pread(file.descriptor.raw, $0.baseAddress, $0.count, position) } }
            let here = start.advanced(by: Int(range.lowerBound - mapping.start))
            let isSame = bytes.withUnsafeBytes { memcmp($0.baseAddress ?? here, here, $0.count) == 0 }
            guard isSame else { throw otherKernel(plan) }
        }
    }

    private static func otherKernel(_ plan: ProcessPlan) -> CheckpointError {
        CheckpointError(
            "\(plan): was dumped under a kernel with another vdso than this one's; this cannot be restored yet")
    }

    /// Bytes of code that this kernel lends.
    private static var size: Int {
        let line = (try? memoryMap(of: getpid()))?.first { $0.name == "[vdso]" }
        return line.map { Int($0.end - $0.start) } ?? 0
    }
}
