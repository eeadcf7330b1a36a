import CheckpointImages
import LinuxSystem

/// That a socket receives what is sent to a group of addresses at one interface, from all senders but some, or from some alone.
/// No call lists a socket's groups: those of its network are, and the socket is asked for each. MCAST_MSFILTER: RFC 3678.
struct MulticastMembership: Hashable {
    /// SOL_IP, or that of IPv6.
    let level: CInt
    /// Its name, for its number may be another one at the restore.
    let interface: String
    /// MCAST_EXCLUDE 0, MCAST_INCLUDE 1
    let mode: UInt32
    let group: [UInt8]
    let sources: [[UInt8]]

    private static let joinGroup: CInt = 42
    private static let sourceFilter: CInt = 48
    /// net.ipv4.igmp_max_msf and net.ipv6.mld_max_msf give 10 and 64.
    private static let mostSources = 1024

    // MARK: Checkpoint

    typealias Group = (level: CInt, interface: UInt32, group: [UInt8])

    static func capture(_ file: borrowing OpenFile, id: UInt32, family: CInt, into dump: Dump) throws {
        let socket = file.descriptor.raw
        let groups = try InternetSocket.groups(in: dump)
        for (level, number, group) in groups where level == 0 || family == AF_INET6 {
            guard let (mode, sources) = try filter(of: socket, level, number, group) else { continue }
            let name = try inNamespace(.network, of: dump.first.hostPid) { try interfaceName(number) }
            let found = MulticastMembership(level: level, interface: name, mode: mode, group: group, sources: sources)
            try dump.stream(raw: SocketOptionEntry.fileName).append(raw: found.entry(of: id).bytes)
        }
    }

    /// All of a network, by interface. proc_net_igmp: proc(5)
    ///
    /// - Parameter folder: of a process there, in /proc.
    static func groups(in folder: String) throws -> [Group] {
        var found: [Group] = []
        var interface: UInt32?
        for line in try readText(folder + "/igmp").split(separator: "\n") {
            let words = line.split { $0 == " " || $0 == "\t" }
            if !line.hasPrefix("\t") {
                interface = words.first.flatMap { UInt32($0) }
            } else if let interface, let group = words.first.flatMap({ UInt32($0, radix: 16) }) {
                found.append((0, interface, [UInt8](integers: [group])))
            }
        }
        // Of a kernel without IPv6 there is none.
        for line in ((try? readText(folder + "/igmp6")) ?? "").split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count > 2, let interface = UInt32(words[0]), let group = [UInt8](hex: words[2].utf8),
                group.count == 16
            else {
                continue
            }
            found.append((41, interface, group))
        }
        return found
    }

    /// `nil` of a socket that is no member.
    private static func filter(
        of socket: CInt, _ level: CInt, _ interface: UInt32, _ group: [UInt8]
    ) throws -> (mode: UInt32, sources: [[UInt8]])? {
        // struct group_filter: interface, group, mode, number of sources, sources
        let request = header(interface, level, group) + [UInt8](integers: [UInt32(0), UInt32(mostSources)])
        let size = request.count
        do {
            let answer = try SocketOptions.bytes(
                socket, level, sourceFilter, limit: size + mostSources * 128, given: request)
            let count = Int(answer.integer(UInt32.self, at: size - 4) ?? 0)
            guard answer.count >= size + count * 128 else {
                throw CheckpointError("a multicast group with \(count) sources cannot be checkpointed")
            }
            let place = level == 0 ? 4 : 8
            let sources = (0..<count).map { index in
                Array(answer.dropFirst(size + index * 128 + place).prefix(group.count))
            }
            return (answer.integer(UInt32.self, at: size - 8) ?? 0, sources)
        } catch let error as SystemError
            where error.errno == .addressNotAvailable || error.errno.rawValue == ENOPROTOOPT
        {
            // Raw sockets of IPv6 can be in no groups of IPv4.
            return nil
        }
    }

    /// The beginning of struct group_req and struct group_filter.
    private static func header(_ interface: UInt32, _ level: CInt, _ group: [UInt8]) -> [UInt8] {
        [UInt8](integers: [interface, 0]) + address(level, group)
    }

    /// struct sockaddr_storage.
    private static func address(_ level: CInt, _ bytes: [UInt8]) -> [UInt8] {
        let family = UInt16(truncatingIfNeeded: level == 0 ? AF_INET : AF_INET6)
        let start = [UInt8](integers: [family, 0]) + (level == 0 ? bytes : [0, 0, 0, 0] + bytes)
        return start + [UInt8](repeating: 0, count: 128 - start.count)
    }

    // MARK: Images

    /// As an entry of `sockets.stasis`: u32 mode, count of the interface's name, the name, the group, its sources.
    func entry(of file: UInt32) -> SocketOptionEntry {
        let name = Array(interface.utf8)
        let value = [UInt8](integers: [mode, UInt32(name.count)]) + name + group + sources.flatMap { $0 }
        return SocketOptionEntry(file: file, level: level, name: Self.joinGroup, value: value)
    }

    static func keeps(_ entry: SocketOptionEntry) -> Bool {
        (entry.level == 0 || entry.level == 41) && entry.name == joinGroup
    }

    init(_ entry: SocketOptionEntry) throws {
        let size = entry.level == 0 ? 4 : 16
        let (value, rest) = (entry.value, entry.value.dropFirst(8))
        // IFNAMSIZ
        guard let mode = value.integer(UInt32.self, at: 0), let count = value.integer(UInt32.self, at: 4),
            mode <= 1, (1..<16).contains(count), rest.count >= Int(count) + size,
            (rest.count - Int(count)).isMultiple(of: size), rest.count <= Int(count) + size * (1 + Self.mostSources)
        else {
            throw CheckpointError("\(SocketOptionEntry.fileName): a multicast group of \(value.count) bytes is none")
        }
        let addresses = Array(rest.dropFirst(Int(count)))
        let all = stride(from: 0, to: addresses.count, by: size).map { Array(addresses[$0..<$0 + size]) }
        self.init(
            level: entry.level, interface: String(decoding: rest.prefix(Int(count)), as: UTF8.self), mode: mode,
            group: all[0], sources: Array(all.dropFirst()))
    }

    init(level: CInt, interface: String, mode: UInt32, group: [UInt8], sources: [[UInt8]]) {
        (self.level, self.interface, self.mode) = (level, interface, mode)
        (self.group, self.sources) = (group, sources)
    }

    // MARK: Restore

    static func recreate(of id: UInt32, _ socket: CInt, in workshop: Workshop) throws {
        for entry in workshop.images.socketOptions[id] ?? [] where keeps(entry) {
            try MulticastMembership(entry).join(socket, in: workshop)
        }
    }

    private func join(_ socket: CInt, in workshop: Workshop) throws {
        let number = try workshop.inNetworkNamespace { try interfaceNumber(interface) }
        let header = Self.header(number, level, group)
        try about("a multicast group at \(interface)") {
            try SocketOptions.set(socket, level, Self.joinGroup, header)
            // All senders are what a new member hears.
            if mode == 0, sources.isEmpty { return }
            let filter =
                header + [UInt8](integers: [mode, UInt32(sources.count)])
                + sources.flatMap { Self.address(level, $0) }
            try SocketOptions.set(socket, level, Self.sourceFilter, filter)
        }
    }
}
