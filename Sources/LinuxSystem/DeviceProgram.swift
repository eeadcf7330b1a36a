/// A program in the kernel that decides which devices the processes of a cgroup may use. bpf(2).
public struct DeviceProgram: ~Copyable {
    private let descriptor: OwnedDescriptor

    /// BPF_PROG_LOAD of BPF_PROG_TYPE_CGROUP_DEVICE, kernel 4.15. Each instruction is a `struct bpf_insn`.
    public init(_ instructions: [UInt64]) throws(SystemError) {
        let license: StaticString = "GPL"
        let descriptor = try instructions.withUnsafeBufferPointer { buffer throws(SystemError) in
            var load = clinux_bpf_load()
            load.prog_type = UInt32(BPF_PROG_TYPE_CGROUP_DEVICE.rawValue)
            load.insn_cnt = UInt32(buffer.count)
            load.insns = UInt64(UInt(bitPattern: buffer.baseAddress))
            load.license = UInt64(UInt(bitPattern: license.utf8Start))
            return try call("load device program", BPF_PROG_LOAD, &load)
        }
        self.descriptor = OwnedDescriptor(CInt(descriptor))
    }

    /// BPF_PROG_ATTACH. Programs of the cgroups above, and of this one from elsewhere, have to agree as well.
    public func attach(to cgroup: CInt) throws(SystemError) {
        var attach = clinux_bpf_attach()
        attach.target_fd = UInt32(bitPattern: cgroup)
        attach.attach_bpf_fd = UInt32(bitPattern: descriptor.raw)
        attach.attach_type = UInt32(BPF_CGROUP_DEVICE.rawValue)
        attach.attach_flags = UInt32(BPF_F_ALLOW_MULTI)
        try call("attach device program", BPF_PROG_ATTACH, &attach)
    }
}

@discardableResult
private func call<Attributes>(
    _ attempt: String, _ command: bpf_cmd, _ attributes: inout Attributes
) throws(SystemError) -> Int {
    try system(attempt) {
        withUnsafeMutablePointer(to: &attributes) {
            clinux_syscall(
                Int(SYS_bpf), Int(command.rawValue), Int(bitPattern: $0), MemoryLayout<Attributes>.size, 0, 0, 0)
        }
    }
}
