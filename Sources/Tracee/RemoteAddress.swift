/// An address in a tracee's memory; never a pointer of ours.
public struct RemoteAddress: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var raw: UInt64

    public init(_ raw: UInt64) { self.raw = raw }

    public static func < (a: Self, b: Self) -> Bool { a.raw < b.raw }
    public static func + (a: Self, bytes: Int) -> Self { Self(a.raw &+ UInt64(bitPattern: Int64(bytes))) }

    /// The address as a system call argument.
    public var argument: UInt64 { raw }
    public var description: String { "0x" + String(raw, radix: 16) }
}
