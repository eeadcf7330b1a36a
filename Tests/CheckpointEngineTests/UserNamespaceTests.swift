import LinuxSystem
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages

/// Ids on their way between the container and the engine.
struct UserNamespaceTests {
    private static let namespace = UserNamespace(
        users: [
            UserNamespace.Extent(inner: 1000, outer: 500_000, count: 10),
            UserNamespace.Extent(inner: 0, outer: 300_000, count: 1000),
        ],
        groups: [UserNamespace.Extent(inner: 0, outer: 700_000, count: 100)])

    @Test func bothWays() throws {
        for (inner, outer) in [(0, 300_000), (999, 300_999), (1000, 500_000), (1009, 500_009)] as [(UInt32, UInt32)] {
            #expect(try Self.namespace.outside(user: inner) == outer)
            #expect(try Self.namespace.inside(user: outer) == inner)
        }
        #expect(try Self.namespace.outside(group: 99) == 700_099)
        #expect(try Self.namespace.inside(group: 700_099) == 99)
        #expect(try UserNamespace.own.inside(user: 4_000_000_000) == 4_000_000_000)
    }

    @Test func whatIsNotMappedIsRefused() {
        for outer in [0, 299_999, 301_000, 499_999, 500_010, .max] as [UInt32] {
            #expect(throws: CheckpointError.self) { try Self.namespace.inside(user: outer) }
        }
        #expect(throws: CheckpointError.self) { try Self.namespace.outside(user: 1010) }
        #expect(throws: CheckpointError.self) { try Self.namespace.outside(group: 100) }
        // −1 is nobody's id.
        #expect(throws: CheckpointError.self) { try UserNamespace.own.outside(user: .max) }
        for change in [{ $0.fsuid = 1010 }, { $0.egid = 100 }, { $0.groups = [1, 100] }]
            as [(inout CredsEntry) -> Void]
        {
            var credentials = CredsEntry()
            #expect(throws: Never.self) { try Self.namespace.check(credentials) }
            change(&credentials)
            #expect(throws: CheckpointError.self) { try Self.namespace.check(credentials) }
        }
    }

    @Test func theImageHasTheMaps() throws {
        let entry = try #require(Self.namespace.entry)
        #expect(UserNamespace(entry) == Self.namespace && UserNamespace.own.entry == nil)
        #expect(UserNamespace(UsernsEntry()) != .own)
        #expect(throws: CheckpointError.self) { try UserNamespace(entry).check(restoredIn: .own, of: "x") }
        // Numbers from a hostile image go round, and do not trap.
        let wild = UserNamespace.Extent(inner: .max, outer: .max, count: .max)
        #expect(try UserNamespace(users: [wild], groups: [wild]).outside(user: .max) == .max)
    }

    @Test func attributesHaveIDsInThem() throws {
        var file = MemoryFileEntry(name: "file", stat())
        (file.user, file.group) = (300_007, 700_008)
        // An ACL for user 300001 and group 700002, and a mask without an id; file capabilities of root 300000.
        let list: [UInt8] =
            [2, 0, 0, 0, 2, 0, 6, 0, 0xe1, 0x93, 4, 0, 8, 0, 6, 0, 0x62, 0xae, 0x0a, 0]
            + [16, 0, 6, 0, 0xff, 0xff, 0xff, 0xff]
        let capability: [UInt8] = [0, 0, 0, 3] + [UInt8](repeating: 0, count: 16) + [0xe0, 0x93, 4, 0]
        file.attributes = [("system.posix_acl_default", list), ("security.capability", capability), ("user.x", list)]
        let inside = try Self.namespace.inside(file)
        #expect(inside.user == 7 && inside.group == 8)
        let entries: [UInt8] = [1, 0, 0, 0, 8, 0, 6, 0, 2, 0, 0, 0, 16, 0, 6, 0, 255, 255, 255, 255]
        #expect(inside.attributes[0].value[8...] == entries[...])
        #expect(inside.attributes[1].value.suffix(4) == [0, 0, 0, 0] && inside.attributes[2].value == list)
        let back = try Self.namespace.outside(inside)
        #expect(back.attributes.map(\.value) == file.attributes.map(\.value) && back.user == 300_007)
        for length in list.indices {
            file.attributes = [("system.posix_acl_access", Array(list[..<length]))]
            _ = try? Self.namespace.inside(file)
        }
    }
}
