/// A file descriptor with one owner: closed when the owner goes, given away by ``release()``.
public struct OwnedDescriptor: ~Copyable, Sendable {
    public let raw: CInt

    public init(_ raw: CInt) { self.raw = raw }

    public init(_ descriptor: FileDescriptor) { raw = descriptor.rawValue }

    deinit { close(raw) }

    /// The same descriptor for calls of swift-system; valid as long as the owner lives.
    public var descriptor: FileDescriptor { FileDescriptor(rawValue: raw) }

    /// Gives the descriptor to a caller who will close it.
    public consuming func release() -> CInt {
        let given = raw
        discard self
        return given
    }

    /// A second descriptor for the same open file, close-on-exec. fcntl(2) F_DUPFD_CLOEXEC.
    public func duplicate() throws(SystemError) -> OwnedDescriptor {
        OwnedDescriptor(try system("duplicate descriptor \(raw)") { clinux_fcntl(raw, F_DUPFD_CLOEXEC, 0) })
    }
}
