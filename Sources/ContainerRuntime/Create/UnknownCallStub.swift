import CSeccomp
import LinuxSystem
import OCISpec

/// Instructions before a filter that answer ENOSYS to calls newer than the profile.
///
/// A profile cannot list what did not exist when it was written, and programs fall back to an older call on ENOSYS but
/// not on EPERM. So runc gives calls beyond the newest one that the profile names the kernel's own answer.
struct UnknownCallStub: Equatable {
    private var newest: UInt32

    init?(_ seccomp: Seccomp) {
        switch seccomp.defaultAction {
        case .allow, .log, .trace, .notify: return nil
        case .errno where seccomp.defaultErrnoRet == UInt32(ENOSYS): return nil
        default: break
        }
        let numbers = seccomp.syscalls.flatMap(\.names).map { seccomp_syscall_resolve_name($0) }
        guard let newest = numbers.filter({ $0 >= 0 }).max() else { return nil }
        self.newest = UInt32(newest)
    }

    /// For the native architecture only; x32 calls (bit 30) and every other architecture go to the filter as they are.
    var bytes: [UInt8] {
        let architecture = seccomp_arch_native()
        let load: UInt16 = 0x20, jumpEqual: UInt16 = 0x15, jumpGreater: UInt16 = 0x25, jumpSet: UInt16 = 0x45
        let instructions: [(code: UInt16, yes: UInt8, no: UInt8, value: UInt32)] = [
            (load, 0, 0, 4),
            (jumpEqual, 0, 4, architecture),
            (load, 0, 0, 0),
            (jumpSet, 2, 0, 0x4000_0000),
            (jumpGreater, 0, 1, newest),
            (0x06, 0, 0, 0x0005_0000 | UInt32(ENOSYS)),
        ]
        return instructions.flatMap { instruction in
            withUnsafeBytes(of: instruction.code.littleEndian, Array.init) + [instruction.yes, instruction.no]
                + withUnsafeBytes(of: instruction.value.littleEndian, Array.init)
        }
    }
}
