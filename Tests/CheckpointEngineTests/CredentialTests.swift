import LinuxSystem
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages

/// The last look at what a restored thread may do. This process stands for the thread.
@Suite
struct CredentialTests {
    private func difference(available: UInt64 = .max, _ change: (inout CredsEntry) -> Void) throws -> String? {
        let status = try ProcessStatus(getpid())
        var entry = try Credentials.capture(status, secureBits: 0, in: .own)
        change(&entry)
        return try Credentials.difference(status, from: entry, in: .own, available: available)
    }

    @Test func whatWasPlannedIsNoDifference() throws {
        #expect(try difference { _ in } == nil)
    }

    @Test(arguments: [\CredsEntry.uid, \.euid, \.suid, \.fsuid, \.gid, \.egid, \.sgid, \.fsgid])
    func anotherIdIsSeen(id: any WritableKeyPath<CredsEntry, UInt32> & Sendable) throws {
        #expect(try difference { $0[keyPath: id] += 1 } != nil)
    }

    @Test func otherGroupsAreSeen() throws {
        #expect(try difference { $0.groups += [4711] } != nil)
    }

    /// More than planned is seen in each set, and less too; but not a bit that the engine itself has not got.
    @Test(arguments: [\CredsEntry.capInh, \.capPrm, \.capEff, \.capBnd, \.capAmb])
    func otherCapabilitiesAreSeen(set: any WritableKeyPath<CredsEntry, [UInt32]> & Sendable) throws {
        #expect(try difference { $0[keyPath: set][0] ^= 1 } != nil)
        #expect(try difference { $0[keyPath: set][1] |= 1 << 31 } != nil)
        #expect(try difference(available: .max >> 1) { $0[keyPath: set][1] |= 1 << 31 } == nil)
    }

    @Test func anotherPromiseIsSeen() throws {
        #expect(try difference { $0.noNewPrivs ^= 1 } != nil)
    }
}
