import CheckpointImages
import LinuxSystem
import Tracee

/// What the memory of a process has on this architecture alone: segments of its own (modify_ldt(2)), and tags in addresses
/// (Linear Address Masking, arch_prctl(2)). Refused.
enum LocalDescriptorTable: ProcessKind {
    static func ask(_ process: CapturedProcess, in program: inout Program, of dump: Dump) -> ProcessAnswer? {
        // Of the table, one entry; nothing where there has never been one.
        let (entry, mask) = (program.reserve(8), program.reserve(8))
        let size = program.call("modify_ldt", Int(SYS_modify_ldt), [0, entry.raw, 8], tolerated: nil)
        // ARCH_GET_UNTAG_MASK, Linux 6.4
        program.call("arch_prctl", Int(SYS_arch_prctl), [0x4001, mask.raw], tolerated: nil)
        return { results, _ in
            // An int, errors too.
            guard Int32(truncatingIfNeeded: results[size]) <= 0 else {
                throw CheckpointError("it has a local descriptor table (modify_ldt), which cannot be checkpointed yet")
            }
            let kept = results.value(mask, as: UInt64.self) ?? 0
            guard kept == 0 || kept == .max else {
                throw CheckpointError(
                    "it has tags in addresses (ARCH_ENABLE_TAGGED_ADDR), which cannot be checkpointed yet")
            }
        }
    }
}
