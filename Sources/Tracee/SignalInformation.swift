import LinuxSystem

/// A siginfo: a signal, and who sent it how, as the receiver sees that. sigaction(2).
public struct SignalInformation: Sendable {
    /// struct siginfo as the kernel lays it out: number 4, errno 4, code 4, padding 4, for most codes the sender's id 4.
    public let bytes: [UInt8]

    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    public var signal: CInt { word(0) }
    public var code: CInt { word(8) }
    /// 0 for one that the receiver's pid namespace does not have.
    public var sender: pid_t { word(16) }

    /// Whether it comes from outside of the receiver's pid namespace, or from the kernel: SI_USER, SI_TKILL, SI_KERNEL.
    public var isOutside: Bool { code == 0x80 || (code == 0 || code == Self.ofThread) && sender == 0 }

    /// SI_TKILL: by tgkill(2), which nobody can pretend in another process's name.
    static let ofThread: CInt = -6

    private func word(_ offset: Int) -> CInt {
        bytes.withUnsafeBytes { offset + 4 <= $0.count ? $0.loadUnaligned(fromByteOffset: offset, as: CInt.self) : 0 }
    }
}
