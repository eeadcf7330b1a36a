import LinuxSystem
import Testing

@testable import CheckpointEngine

/// What is configured in a network, as an image tells it.
struct NetworkObjectTests {
    private static func object(_ line: String) throws -> NetworkObject { try NetworkObject(line: line) }

    private static let lo = "interface lo 49000000 4=00000100 | 3000=01000000"

    /// What an image with these lines is refused for; empty if it is taken.
    private static func complaint(_ lines: String...) -> String {
        do {
            _ = try NetworkDifference(text: (["= " + lo] + lines).joined(separator: "\n"))
            return ""
        } catch { return "\(error)" }
    }

    @Test func lines() throws {
        let lines = [
            Self.lo, "address lo 020800 1=7f000002 8=00000000", "rule - 020000000100 6=64000000",
            "element - 01 1=6100 2=6200 3=0800010004000100 | 3=0c00010008000100",
        ]
        for line in lines { #expect(try Self.object(line).line == line) }
        // What passes is not compared.
        #expect(try Self.object(Self.lo) == Self.object("interface lo 49000000 4=00000100 | 3000=02000000"))
        #expect(try Self.object(Self.lo) != Self.object("interface lo 49000000 4=00000200 | 3000=01000000"))
        let element = try Self.object(lines[3])
        #expect(element.whole.value(3) == [12, 0, 1, 0, 8, 0, 1, 0] && element[3] == [8, 0, 1, 0, 4, 0, 1, 0])
    }

    @Test(arguments: [
        "", "interface", "interface lo", "nothing lo 00", "address lo 0", "address lo 0g", "address lo 020800 1",
        "address lo 020800 x=00", "address lo 020800 65536=00", "address lo 020800 16384=00", "address lo 020800 1=0",
        "address lo 020800 | 6=00 | 6=00",
    ]) func malformed(line: String) {
        #expect(throws: CheckpointError.self) { try NetworkObject(line: line) }
        #expect(!Self.complaint("+ " + line).isEmpty)
    }

    @Test func differences() throws {
        let lo = try Self.object(Self.lo)
        let changed = try Self.object("interface lo 49000000 4=00020000 | 3000=01000000")
        let address = try Self.object("address lo 020800 1=7f000002 8=00000000")
        let other = try Self.object("address lo 020800 1=7f000001 8=00000000")
        #expect(NetworkDifference(from: [lo, other], to: [lo, other]).isEmpty)
        let difference = NetworkDifference(from: [lo, other], to: [changed, address])
        #expect(difference.added == [changed, address] && difference.gone == [lo, other])
        let read = try NetworkDifference(text: difference.text)
        #expect(read.added == difference.added && read.gone == difference.gone && read.before == ["lo": lo])
        #expect(difference.text.contains("- address lo 020800 1=7f000001"))
    }

    /// What nobody in the container could have been given, or no restore makes.
    @Test(arguments: [
        // Into another network namespace, by an id of the engine's: IFLA_NET_NS_PID, IFLA_NET_NS_FD
        ("interface lo 49000000 4=00000200 19=01000000 | 3000=01000000", "attribute 19"),
        ("interface lo 49000000 4=00000200 28=03000000 | 3000=01000000", "attribute 28"),
        ("interface d 01000000 18=766574680a 4=00000200 | 3000=05000000", "interfaces of kind"),
        ("interface d 01000000 18=7678616e 4=00000200 | 3000=05000000", "interfaces of kind"),
        ("interface d 01000000 18=76657468 37=00000000 | 3000=05000000", "in another network namespace"),
        ("interface d 01000000 18=76657468 | 3000=05000000", "its other end is not"),
        ("interface d%d 01000000 18=696662 | 3000=05000000", "no interface is called"),
        ("interface .. 01000000 18=696662 | 3000=05000000", "no interface is called"),
        ("interface d 01000000 18=696662", "header is malformed"),
        ("interface d 010000 18=696662 | 3000=05000000", "header is malformed"),
        ("interface d 01000000 18=74756e 1006=00 | 3000=05000000", "goes when the program"),
        ("interface d 01000000 18=627269646765 1007=01 | 3000=05000000", "filters VLANs"),
        ("address eth7 020800 1=7f000002 8=00000000", "no interface eth7"),
        ("address lo 110800 1=7f000002 8=00000000", "family 17"),
        ("address lo 0208 1=7f000002 8=00000000", "header is malformed"),
        ("address lo 020800 1=7f000002 8=00000000 1000=01", "lifetime is missing"),
        // Programs of BPF by a descriptor of the engine's, and what else is a tunnel.
        ("route - 0208000401000100 1=0a000000 4=6c6f 15=fe000000 21=0600 22=00", "encapsulation"),
        ("route - 0208000401000100 1=0a000000 15=fe000000 30=05000000", "a nexthop object"),
        ("route - 0208000401000100 1=0a000000 9=ff6c", "its ways are malformed"),
        ("route - 0208000401000100 1=0a000000 9=026c6f0001080006001600", "its ways are malformed"),
        ("queueing lo 00000100 1=706669666f00", "is not carried over"),
        ("legacy - - 1=69", "is not carried over"),
        ("statement - 01 1=6100 2=6200 4=", "started with that table"),
    ]) func refused(line: String, complaint: String) {
        #expect(Self.complaint("+ " + line).contains(complaint), "\(Self.complaint("+ " + line))")
    }

    @Test func takenAway() {
        #expect(Self.complaint("- address lo 020800 1=7f000002 8=00000000") == "")
        #expect(Self.complaint("- interface eth0 49000000 | 3000=02000000").contains("was taken away"))
        #expect(Self.complaint("- chain - 01 1=6100 3=6200").contains("was taken away"))
        #expect(Self.complaint("- table - 01 1=6100", "- chain - 01 1=6100 3=6200") == "")
    }

    /// `immediate`, and expressions that are none of nftables' own.
    @Test func firewalls() {
        func rule(_ name: String) -> String {
            let text = name.utf8.map { $0 } + [0]
            let inner = NetlinkAttribute(type: 1, value: text).bytes
            let list = NetlinkAttribute(type: 1, value: inner).bytes
            return "+ statement - 01 1=6100 2=6200 4=\(list.hex)"
        }
        #expect(Self.complaint("+ table - 01 1=6100 2=00000000", rule("immediate")) == "")
        for name in ["match", "target", "ebpf", "flow_offload", ""] {
            #expect(!Self.complaint("+ table - 01 1=6100 2=00000000", rule(name)).isEmpty, "\(name)")
        }
        // NFT_TABLE_F_OWNER; lists that end in the middle; helpers.
        #expect(Self.complaint("+ table - 01 1=6100 2=00000002").contains("program that owns it"))
        #expect(
            Self.complaint("+ table - 01 1=6100 2=00000000", "+ statement - 01 1=6100 2=6200 4=ff0001").contains(
                "malformed"))
        #expect(
            Self.complaint("+ table - 01 1=6100 2=00000000", "+ object - 01 1=6100 2=6200 3=00000003").contains(
                "type 3"))
        #expect(Self.complaint("+ table - 0c 1=6100 2=00000000").contains("family 12"))
    }

    @Test(.enabled(if: geteuid() == 0, "needs root")) func theEnginesLockIsNotTheContainers() async {
        await #expect(processExitsWith: .success) {
            try leaveNamespaces(.network)
            let name = ConnectionName(local: [127, 0, 0, 1], 1, remote: [127, 0, 0, 1], 2)
            let lock = ConnectionLock("a test", [name], ports: [])
            try lock.close()
            try #require(try NetworkObjects.all().contains { $0.kind == .table })
            try #require(try !NetworkObjects.all(except: lock).contains { $0.isInTable })
        }
    }
}
