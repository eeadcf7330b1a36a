/// The file that this process runs from.
public enum OwnExecutable {
    /// Goes on from the same file on another mount, as if it had been started there: its mappings and /proc/self/exe.
    ///
    /// After a failure the process may be mapped from either, and runs on. The caller has one thread.
    /// prctl(2) PR_SET_MM_MAP, kernel 3.18 with CONFIG_CHECKPOINT_RESTORE; ioctl_pagemap_scan(2), kernel 6.7.
    public static func replace(by mount: CInt) throws(SystemError) {
        // The mount's own descriptor is O_PATH.
        let file = try reopen(mount, as: "the runtime's own program", O_RDONLY)
        let pagemap = try openAt(AT_FDCWD, "/proc/self/pagemap", O_RDONLY)
        var map = try currentLayout()
        map.exe_fd = UInt32(bitPattern: file.raw)
        try system("remap own executable") { clinux_remap_executable(file.raw, pagemap.raw) }
        try system("replace own executable") {
            withUnsafeMutablePointer(to: &map) { map in
                // What the kernel has allowed the heap to grow to; it would take any other number for the truth.
                map.pointee.brk = UInt64(clinux_syscall(Int(SYS_brk), 0, 0, 0, 0, 0, 0))
                return clinux_prctl(
                    PR_SET_MM, UInt(PR_SET_MM_MAP), UInt(bitPattern: map),
                    UInt(MemoryLayout<clinux_prctl_mm_map>.size), 0)
            }
        }
    }

    /// proc_pid_stat(5), from field 26 on; the name in field 2 may hold blanks.
    private static func currentLayout() throws(SystemError) -> clinux_prctl_mm_map {
        let text = try readFile("/proc/self/stat")
        guard let name = text.lastIndex(of: UInt8(ascii: ")")) else {
            throw SystemError(.invalidArgument, "parse stat")
        }
        var fields: [UInt64] = [0]
        for byte in text[(name + 2)...] {
            if byte == UInt8(ascii: " ") {
                fields.append(0)
            } else {
                fields[fields.count - 1] = fields[fields.count - 1] &* 10 &+ UInt64(byte &- UInt8(ascii: "0"))
            }
        }
        guard fields.count > 48 else { throw SystemError(.invalidArgument, "parse stat") }
        var map = clinux_prctl_mm_map()
        (map.start_code, map.end_code, map.start_stack) = (fields[23], fields[24], fields[25])
        (map.start_data, map.end_data, map.start_brk) = (fields[42], fields[43], fields[44])
        (map.arg_start, map.arg_end, map.env_start, map.env_end) = (fields[45], fields[46], fields[47], fields[48])
        return map
    }
}
