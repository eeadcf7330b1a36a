import Testing

@testable import LinuxSystem

/// A locked connection is silent, and nobody else is.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct ConnectionLockTests {
    /// Two ends of a connection over `lo`.
    private struct Pair {
        let client: CInt
        let server: CInt
        let name: ConnectionName

        init(_ listener: CInt, _ address: InternetEnd) throws {
            client = try Self.socket(address, SOCK_STREAM)
            try address.call(Int(SYS_connect), client)
            server = CInt(try systemCall("accept", Int(SYS_accept4), Int(listener), 0, 0, 0))
            name = ConnectionName(
                local: address.bytes, address.port, remote: address.bytes, try InternetEnd.port(of: client))
        }

        static func socket(_ address: InternetEnd, _ type: __socket_type) throws -> CInt {
            CInt(try systemCall("socket", Int(SYS_socket), Int(address.family), Int(type.rawValue), 0))
        }

        /// Whether what the client sends is there within 300 ms.
        func speaks() -> Bool {
            var byte: UInt8 = 7
            send(client, &byte, 1, CInt(MSG_NOSIGNAL))
            return hears(milliseconds: 300)
        }

        func hears(milliseconds: CInt) -> Bool {
            var state = pollfd(fd: server, events: Int16(POLLIN), revents: 0)
            let came = clinux_poll(&state, 1, milliseconds) == 1
            var bytes = [UInt8](repeating: 0, count: 100)
            if came { recv(server, &bytes, bytes.count, 0) }
            return came
        }
    }

    private struct InternetEnd {
        let family: CInt
        let bytes: [UInt8]
        let port: UInt16

        func call(_ number: Int, _ socket: CInt) throws {
            var address: [UInt8] = [UInt8(family), 0, UInt8(port >> 8), UInt8(port & 255)]
            address += family == AF_INET ? bytes + Array(repeating: 0, count: 8) : [0, 0, 0, 0] + bytes + [0, 0, 0, 0]
            try address.withUnsafeBytes {
                _ = try systemCall("call \(number)", number, Int(socket), Int(bitPattern: $0.baseAddress), $0.count)
            }
        }

        static func port(of socket: CInt) throws -> UInt16 {
            var bytes = [UInt8](repeating: 0, count: 28)
            var length = socklen_t(28)
            try bytes.withUnsafeMutableBytes { raw in
                try withUnsafeMutablePointer(to: &length) {
                    _ = try systemCall(
                        "getsockname", Int(SYS_getsockname), Int(socket), Int(bitPattern: raw.baseAddress),
                        Int(bitPattern: $0))
                }
            }
            return UInt16(bytes[2]) << 8 | UInt16(bytes[3])
        }
    }

    @Test(arguments: [false, true]) func onlyWhatIsLockedIsSilent(isV6: Bool) async {
        await #expect(processExitsWith: .success) { [isV6 = isV6 as Bool] in
            try leaveNamespaces(.network)
            try NetworkInterface("lo").bringUp()
            let end = InternetEnd(
                family: isV6 ? AF_INET6 : AF_INET, bytes: isV6 ? Array(repeating: 0, count: 15) + [1] : [127, 0, 0, 1],
                port: 4321)
            let listener = try Pair.socket(end, SOCK_STREAM)
            try end.call(Int(SYS_bind), listener)
            listen(listener, 5)
            let (locked, other) = (try Pair(listener, end), try Pair(listener, end))
            let lock = ConnectionLock("a test", [locked.name], ports: [4444])
            try lock.close()
            try #require(!locked.speaks(), "a locked connection speaks")
            try #require(other.speaks() && (try Pair(listener, end)).speaks(), "another one does not")
            try #require(try Self.tables() == [lock.table], "another table")

            // Nobody gets through to a locked port, and nobody is turned away.
            let asked = InternetEnd(family: end.family, bytes: end.bytes, port: 4444)
            let caller = CInt(
                try systemCall(
                    "socket", Int(SYS_socket), Int(end.family), Int(SOCK_STREAM.rawValue) | Int(O_NONBLOCK), 0))
            _ = try? asked.call(Int(SYS_connect), caller)
            var state = pollfd(fd: caller, events: Int16(POLLOUT), revents: 0)
            try #require(clinux_poll(&state, 1, 300) == 0, "a locked port answers")

            try lock.leaveBehind()
            try lock.open()
            try #require(!locked.hears(milliseconds: 1500), "what was left behind does not hold")
            try lock.forgetLeftBehind()
            try #require(locked.hears(milliseconds: 10_000), "an open lock holds")
            lock.remove()
            try #require(try !Self.tables().contains(lock.table), "rules that stay")
            try lock.forgetLeftBehind()
        }
    }

    /// The kernel takes the rules away with the process that has made them.
    @Test func aKilledProcessLocksNothing() async throws {
        let network = try Self.newNetwork()
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = "/proc/\(getpid())/fd/\(network.raw)" as String] in
            let there = try openAt(AT_FDCWD, path, O_RDONLY)
            try joinNamespaces(there.raw, .network)
            let name = ConnectionName(local: [127, 0, 0, 1], 1, remote: [127, 0, 0, 1], 2)
            let lock = ConnectionLock("a child", [name], ports: [])
            try lock.close()
            if try !Self.tables().isEmpty { kill(getpid(), SIGKILL) }
        }
        let home = try openAt(AT_FDCWD, "/proc/thread-self/ns/net", O_RDONLY)
        try joinNamespaces(network.raw, .network)
        let rules = try Self.tables()
        try joinNamespaces(home.raw, .network)
        #expect(rules.isEmpty)
    }

    /// To where there is no route, a routing rule tells its own no: EINVAL.
    @Test(arguments: [false, true]) func inANetworkThatEndsARoutingRuleKeepsSilent(isV6: Bool) async {
        await #expect(processExitsWith: .success) { [isV6 = isV6 as Bool] in
            try leaveNamespaces(.network)
            try NetworkInterface("lo").bringUp()
            let own: [UInt8] = isV6 ? Array(repeating: 0, count: 15) + [1] : [127, 0, 0, 1]
            let name = ConnectionName(local: own, 4321, remote: Array(repeating: 11, count: own.count), 0x1234)
            try ConnectionLock("a test", [name], ports: []).keepSilentToTheEnd()
            try #require(Self.refusal(of: name) == .invalidArgument)
            var other = name
            other.localPort = 4322
            try #require(Self.refusal(of: other) == .networkUnreachable)
            other = name
            other.remotePort = 0x3412
            try #require(Self.refusal(of: other) == .networkUnreachable)
        }
    }

    /// What the kernel says when it is asked for the route of what the own end sends.
    private static func refusal(of name: ConnectionName) -> Errno? {
        let bits = UInt8(name.local.count * 8), family = UInt8(bits == 32 ? AF_INET : AF_INET6)
        let header: [UInt8] = [family, bits, bits] + [UInt8](repeating: 0, count: 9)
        // RTA_DST, RTA_SRC, RTA_IP_PROTO, RTA_SPORT, RTA_DPORT
        let attributes = [
            NetlinkAttribute(type: 1, value: name.remote), NetlinkAttribute(type: 2, value: name.local),
            NetlinkAttribute(type: 27, UInt8(6)), NetlinkAttribute(type: 28, name.localPort.bigEndian),
            NetlinkAttribute(type: 29, name.remotePort.bigEndian),
        ]
        do throws(SystemError) {
            try NetlinkSocket(CInt(NETLINK_ROUTE), name: "rtnetlink").ask(
                "look for a route", type: UInt16(RTM_GETROUTE), header + attributes.flatMap(\.bytes))
            return nil
        } catch { return error.errno }
    }

    /// Of nftables, in the caller's network namespace.
    private static func tables() throws -> [String] {
        // NETLINK_NETFILTER; NFT_MSG_GETTABLE, NFTA_TABLE_NAME
        try NetlinkSocket(12, name: "nftables").ask("list tables", type: 10 << 8 | 1, isDump: true, [0, 0, 0, 0])
            .map { String(decoding: ($0.attributes(after: 4).value(1) ?? []).dropLast(), as: UTF8.self) }
    }

    private static func newNetwork() throws -> OwnedDescriptor {
        let home = try openAt(AT_FDCWD, "/proc/thread-self/ns/net", O_RDONLY)
        try leaveNamespaces(.network)
        let made = try openAt(AT_FDCWD, "/proc/thread-self/ns/net", O_RDONLY)
        try joinNamespaces(home.raw, .network)
        return made
    }
}
