import LinuxSystem

/// A procfs of the runtime's own, mounted nowhere: what it shows cannot have been prepared or redirected by the image.
struct ProcessFilesystem: ~Copyable {
    private let mount: OwnedDescriptor

    init() throws(SystemError) {
        let mount = try FilesystemContext("proc").mount([.noSetuid, .noDevices, .noExecute])
        guard try filesystemMagic(of: mount.raw) == UInt64(PROC_SUPER_MAGIC) else {
            throw SystemError(.invalidArgument, "procfs is not procfs")
        }
        self.mount = mount
    }

    /// Writes a file of this procfs, and of no other file system. Links are refused but for `self`, the kernel's own.
    func write(_ path: String, _ text: String) throws(SystemError) {
        let file = try openAt(mount.raw, path, O_WRONLY, resolve: [.beneath, .noMagicLinks, .noCrossMounts])
        let bytes = Array(text.utf8)
        try system("write \(text) to /proc/\(path)") {
            bytes.withUnsafeBytes { LinuxSystem.write(file.raw, $0.baseAddress, $0.count) }
        }
    }

    /// `net.ipv4.ip_forward` is the file /proc/sys/net/ipv4/ip_forward; a slash may stand for the dot.
    func setKernelParameter(_ key: String, _ value: String) throws(SystemError) {
        try write("sys/" + key.map { $0 == "." ? "/" : String($0) }.joined(), value)
    }
}
