import CheckpointImages
import LinuxSystem

/// What TCP, UDP and raw sockets have in common: an address of the container's network, and options.
enum InternetSocket: Kind {
    final class DumpState: KindState {
        /// What sock_diag tells of the container's network, by protocol.
        fileprivate var told: [CInt: [UInt32: InternetDiagnosis]] = [:]
        /// The multicast groups of the container's network, read once.
        fileprivate var groups: [MulticastMembership.Group]?
    }

    /// The protocol of a socket of AF_INET or AF_INET6 with this type; `nil` of other files.
    static func proto(of file: borrowing OpenFile, type: __socket_type) throws -> CInt? {
        let socket = file.descriptor.raw
        guard file.status.isSocket, try family(of: file) != nil,
            try SocketOptions.number(socket, SOL_SOCKET, SO_TYPE) == CInt(type.rawValue)
        else { return nil }
        return try SocketOptions.number(socket, SOL_SOCKET, SO_PROTOCOL)
    }

    private static func family(of file: borrowing OpenFile) throws -> CInt? {
        let family = try SocketOptions.number(file.descriptor.raw, SOL_SOCKET, SO_DOMAIN)
        return family == AF_INET || family == AF_INET6 ? family : nil
    }

    // MARK: Checkpoint

    /// All sockets of a protocol in the container's networks, by inode; asked once.
    static func told(of proto: CInt, in dump: Dump) throws -> [UInt32: InternetDiagnosis] {
        if let known = dump[Self.self].told[proto] { return known }
        var told: [UInt32: InternetDiagnosis] = [:]
        for member in InnerNetwork.members(of: dump) {
            let there = try inNamespace(.network, of: member) { try InternetDiagnosis.sockets(of: proto) }
            told.merge(there) { one, _ in one }
        }
        dump[Self.self].told[proto] = told
        return told
    }

    static func groups(in dump: Dump) throws -> [MulticastMembership.Group] {
        let groups = try dump[Self.self].groups ?? MulticastMembership.groups(in: "/proc/\(dump.first.hostPid)/net")
        dump[Self.self].groups = groups
        return groups
    }

    /// Has the sockets of a protocol asked for again.
    static func forget(_ proto: CInt, in dump: Dump) { dump[Self.self].told[proto] = nil }

    static func local(of file: borrowing OpenFile) throws -> InternetAddress {
        try InternetAddress.local(of: file.descriptor.raw, try family(of: file) ?? AF_INET)
    }

    /// What is told in the same way of every socket.
    ///
    /// - Parameter wasConnected: whether the kernel has set options by itself.
    static func entry(
        _ file: borrowing OpenFile, id: UInt32, local: InternetAddress, remote: InternetAddress?, wasConnected: Bool,
        into dump: Dump
    ) throws -> InetSkEntry {
        try checkNetwork(of: file, in: dump)
        let socket = file.descriptor.raw
        let others = try SocketOptionTable.capture(file, id: id, wasConnected: wasConnected, into: dump)
        var entry = InetSkEntry()
        entry.id = id
        entry.ino = UInt32(truncatingIfNeeded: file.status.st_ino)
        entry.family = UInt32(local.family)
        entry.type = UInt32(try SocketOptions.number(socket, SOL_SOCKET, SO_TYPE))
        entry.proto = UInt32(try SocketOptions.number(socket, SOL_SOCKET, SO_PROTOCOL))
        entry.srcPort = UInt32(local.port)
        entry.dstPort = UInt32(remote?.port ?? 0)
        entry.srcAddr = local.words
        entry.dstAddr = remote?.words ?? local.words.map { _ in 0 }
        entry.flags = file.info.flags
        entry.backlog = 0
        entry.fown = .none
        entry.opts = try SocketOptions.capture(socket)
        if local.family == AF_INET6 { entry.v6Only = try SocketOptions.number(socket, 41, 26) != 0 }
        if let device = try local.interfaceName(in: dump) ?? remote?.interfaceName(in: dump) { entry.ifname = device }
        entry.ipOpts = ipOptions(others)
        entry.tcpOpts.cork = others.contains { $0.level == 6 && $0.name == TCP_CORK }
        return entry
    }

    /// What the file of a socket's network namespace in /proc/PID/ns points at. SIOCGSKNS: socket.h
    static func network(of file: borrowing OpenFile) throws -> String {
        let raw = file.descriptor.raw
        let network = OwnedDescriptor(try system("network of socket") { clinux_ioctl(raw, 0x894c, 0) })
        return try linkTarget("/proc/self/fd/\(network.raw)")
    }

    /// A socket comes back in a network of the container's.
    static func checkNetwork(of file: borrowing OpenFile, in dump: Dump) throws {
        guard dump.knownNamespace(try network(of: file)) != nil else {
            throw CheckpointError(
                "\(file.link): a socket of a network namespace in which no process of the container is cannot be "
                    + "checkpointed yet")
        }
    }

    /// SOL_RAW and SOL_ICMPV6, in each of which option 1 says which messages of ICMP a socket receives.
    private static let filterLevels: [CInt] = [255, 58]

    /// Some of the options have a place in CRIU's messages, too.
    private static func ipOptions(_ entries: [SocketOptionEntry]) -> IpOptsEntry {
        func number(_ name: CInt) -> UInt32? {
            entries.first { $0.level == 0 && $0.name == name }?.value.integer(UInt32.self, at: 0)
        }
        let filters = entries.filter { filterLevels.contains($0.level) && $0.name == 1 }.flatMap(\.value)
        return .with {
            if number(3) == 1 { $0.raw.hdrincl = true }
            if number(22) == 1 { $0.raw.nodefrag = true }
            if !filters.isEmpty {
                $0.raw.icmpvFilter = stride(from: 0, to: filters.count, by: 4).map {
                    filters.integer(UInt32.self, at: $0) ?? 0
                }
            }
            if number(15) == 1 { $0.freebind = true }
            if number(8) == 1 { $0.pktinfo = true }
            if let tos = number(1) { $0.tos = tos }
            if let ttl = number(2) { $0.ttl = ttl }
        }
    }

    // MARK: Restore

    /// That of a socket's link-local addresses.
    static func interface(of wanted: InetSkEntry, in workshop: Workshop) throws -> UInt32 {
        wanted.hasIfname ? try workshop.inNetworkNamespace { try interfaceNumber(wanted.ifname) } : 0
    }

    /// A new socket with its options, made by the task that is being furnished, in whose hands it is descriptor 0.
    ///
    /// - Parameter isLate: of an option that is left to the caller.
    static func make(
        _ wanted: InetSkEntry, in workshop: Workshop, isLate: (SocketOptionEntry) -> Bool = { _ in false }
    ) throws -> OwnedDescriptor {
        let opener = try opener(of: wanted, in: workshop)
        let family = CInt(truncatingIfNeeded: wanted.family)
        let type = CInt(truncatingIfNeeded: wanted.type) | CInt(bitPattern: wanted.flags) & O_NONBLOCK
        // Raw ones ask for rights, which a program may have given up since.
        _ = try opener.runAsEither { identity in
            try opener.run(as: identity) { program in
                let arguments = [UInt64(family), UInt64(UInt32(bitPattern: type)), UInt64(wanted.proto)]
                program.call(
                    "make a socket of protocol \(wanted.proto)", Int(SYS_socket), arguments, expecting: 0)
            }
        }
        let made = try opener.take(0)
        // By the task: some ask for rights. Before those that follow: IP_TOS changes SO_PRIORITY.
        try SocketOptionTable.set(
            try options(wanted, differingFrom: made.raw, in: workshop).filter { !isLate($0) }, by: opener)
        try SocketOptions.apply(wanted.opts, to: made.raw)
        if family == AF_INET6, try SocketOptions.number(made.raw, 41, 26) != (wanted.v6Only ? 1 : 0) {
            try SocketOptions.set(made.raw, 41, 26, wanted.v6Only ? 1 : 0)
        }
        return made
    }

    private static func opener(of wanted: InetSkEntry, in workshop: Workshop) throws -> Opener {
        guard let opener = workshop.opener else { throw CheckpointError("socket \(wanted.id): is no task's") }
        return opener
    }

    /// The socket that has just been made. Lower ports ask for CAP_NET_BIND_SERVICE.
    static func bind(_ wanted: InetSkEntry, to address: InternetAddress, in workshop: Workshop) throws {
        try call("bind to", Int(SYS_bind), address, by: opener(of: wanted, in: workshop))
    }

    static func connect(_ wanted: InetSkEntry, to address: InternetAddress, in workshop: Workshop) throws {
        try call("connect to", Int(SYS_connect), address, by: opener(of: wanted, in: workshop))
    }

    private static func call(_ name: String, _ number: Int, _ address: InternetAddress, by opener: Opener) throws {
        try call("\(name) \(address) in the container's network", number, address.sockaddr, by: opener)
    }

    /// Takes its peer from the socket that has just been made, and the port that nobody has bound it to.
    static func disconnect(_ wanted: InetSkEntry, in workshop: Workshop) throws {
        // AF_UNSPEC
        let nobody = [UInt8](repeating: 0, count: 16)
        try call("disconnect socket", Int(SYS_connect), nobody, by: opener(of: wanted, in: workshop))
    }

    /// - Parameter bytes: struct sockaddr.
    static func call(_ attempt: String, _ number: Int, _ bytes: [UInt8], by opener: Opener) throws {
        _ = try opener.runAsEither { identity in
            try opener.run(as: identity, keeping: 1) { program in
                let place = program.place(bytes)
                program.call(attempt, number, [0, place.raw, UInt64(bytes.count)])
            }
        }
    }

    /// All that differ from those that a socket has.
    static func options(
        _ wanted: InetSkEntry, differingFrom socket: CInt, in workshop: Workshop
    ) throws -> [SocketOptionEntry] {
        func entry(_ level: CInt, _ name: CInt, _ value: UInt32) -> SocketOptionEntry {
            SocketOptionEntry(file: wanted.id, level: level, name: name, value: [UInt8](integers: [value]))
        }
        var entries: [SocketOptionEntry] = []
        let ip = wanted.ipOpts
        if ip.freebind { entries.append(entry(0, 15, 1)) }
        if ip.pktinfo { entries.append(entry(0, 8, 1)) }
        if ip.hasTos { entries.append(entry(0, 1, ip.tos)) }
        if ip.hasTtl { entries.append(entry(0, 2, ip.ttl)) }
        if ip.raw.hdrincl { entries.append(entry(0, 3, 1)) }
        if ip.raw.nodefrag { entries.append(entry(0, 22, 1)) }
        if wanted.tcpOpts.cork { entries.append(entry(6, TCP_CORK, 1)) }
        entries += try SocketOptionTable.entries(of: wanted.id, in: workshop)
        return entries.filter { entry in
            (try? SocketOptions.bytes(socket, entry.level, entry.name, limit: entry.value.count)) != entry.value
        }
    }
}
