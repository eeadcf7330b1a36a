import CheckpointImages
import LinuxSystem

/// Packet sockets, which receive and send at the level of an interface. packet(7)
enum PacketSocket: FileKind {
    final class DumpState: KindState {
        /// What sock_diag tells of the container's network.
        fileprivate var told: [UInt32: PacketDiagnosis]?
    }

    static let family: CInt = 17
    /// SOL_PACKET
    private static let level: CInt = 263
    private static let types = [SOCK_DGRAM.rawValue, SOCK_RAW.rawValue]
    /// What a fanout's BPF programs are, nothing tells.
    private static let fanoutTypes: Range<UInt32> = 0..<6
    private static let noFanout: UInt32 = 0xffff_ffff
    private static let mostMemberships = 1024

    // MARK: Checkpoint

    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        let socket = file.descriptor.raw
        guard file.status.isSocket, try SocketOptions.number(socket, SOL_SOCKET, SO_DOMAIN) == family else {
            return nil
        }
        try InternetSocket.checkNetwork(of: file, in: dump)
        try Datagrams.refuse(file, "\(file.link): a packet socket")
        let all =
            try dump[Self.self].told
            ?? inNamespace(.network, of: dump.first.hostPid) { try PacketDiagnosis.sockets() }
        dump[Self.self].told = all
        guard let told = all[UInt32(truncatingIfNeeded: file.status.st_ino)] else {
            throw CheckpointError("\(file.link): sock_diag does not know this packet socket")
        }
        let type = UInt32(bitPattern: try SocketOptions.number(socket, SOL_SOCKET, SO_TYPE))
        let fanout = UInt32(bitPattern: try SocketOptions.number(socket, level, 18))
        try refuse(told, type, fanout, "\(file.link): a packet socket")
        // struct sockaddr_ll {family 2, protocol 2, interface 4, …}
        let name = try SocketOptions.address(socket)
        let (proto, interface) = (name.integer(UInt16.self, at: 2) ?? 0, name.integer(UInt32.self, at: 4) ?? 0)
        try SocketOptionTable.capture(file, id: id, into: dump)
        try keepNames([interface] + told.memberships.map(\.interface), of: file, id: id, into: dump)
        let options = try SocketOptions.capture(socket)
        return .with {
            ($0.type, $0.id) = (.packetsk, id)
            $0.psk = .with {
                ($0.id, $0.type, $0.protocol, $0.flags) = (id, type, UInt32(proto), file.info.flags)
                ($0.ifindex, $0.fown, $0.opts) = (interface, .none, options)
                ($0.version, $0.reserve, $0.copyThresh) = (told.version, told.reserve, told.copyThreshold)
                ($0.auxData, $0.origDev) = (told.hasAuxiliaryData, told.tellsOriginalDevice)
                ($0.vnetHdr, $0.loss, $0.timestamp) = (told.hasVirtualHeader, told.skipsFaulty, told.timestamp)
                $0.mclist = told.memberships.flatMap { member in
                    let entry = PacketMclist.with {
                        ($0.index, $0.type, $0.addr) = (member.interface, UInt32(member.type), .init(member.address))
                    }
                    return Array(repeating: entry, count: Int(member.count))
                }
                $0.fanout = told.isInFanout ? fanout : noFanout
            }
        }
    }

    private static func refuse(_ told: PacketDiagnosis, _ type: UInt32, _ fanout: UInt32, _ what: String) throws {
        let memberships = told.memberships.reduce(0) { $0 + Int($1.count) }
        let reason: String? =
            told.hasRing
            ? "with a ring (PACKET_RX_RING, PACKET_TX_RING)"
            : told.isInFanout && !fanoutTypes.contains(fanout >> 16 & 0xff)
                ? "of a fanout group with a BPF program"
                : !types.contains(type)
                    ? "of type \(type)"
                    : memberships > mostMemberships ? "with \(memberships) memberships" : nil
        if let reason { throw CheckpointError("\(what) \(reason) cannot be checkpointed yet") }
    }

    /// Numbers of interfaces may be others at the restore.
    private static func keepNames(
        _ numbers: [UInt32], of file: borrowing OpenFile, id: UInt32, into dump: Dump
    ) throws {
        for number in Set(numbers).sorted() where number != 0 {
            guard
                let name = try? inNamespace(.network, of: dump.first.hostPid, { try interfaceName(number) })
            else {
                throw CheckpointError(
                    "\(file.link): a packet socket that is bound to an interface which is gone cannot be checkpointed; "
                        + "let its program close it")
            }
            let value = [UInt8](integers: [number]) + Array(name.utf8)
            let entry = SocketOptionEntry(file: id, level: level, name: nameOfInterface, value: value)
            try dump.stream(raw: SocketOptionEntry.fileName).append(raw: entry.bytes)
        }
    }

    /// Of an entry of `sockets.stasis`: u32 number, and what the interface with this number is called.
    private static let nameOfInterface: CInt = -1

    static func keepsName(_ entry: SocketOptionEntry) -> Bool {
        entry.level == level && entry.name == nameOfInterface && 5..<20 ~= entry.value.count
    }

    // MARK: Restore

    static func plan(_ restore: RestorePlan) throws {
        for file in restore.images.files.all(.packetsk) {
            let (id, wanted) = (file.id, file.psk)
            let isMember = wanted.mclist.count <= mostMemberships && wanted.mclist.allSatisfy { $0.addr.count <= 32 }
            let isFanout = wanted.fanout == noFanout || fanoutTypes.contains(wanted.fanout >> 16 & 0xff)
            guard types.contains(wanted.type), wanted.protocol <= 0xffff, isMember, isFanout, !wanted.hasRxRing,
                !wanted.hasTxRing
            else {
                throw CheckpointError(
                    "socket \(id): a packet socket of type \(wanted.type) and protocol \(wanted.protocol), fanout "
                        + "\(wanted.fanout), with \(wanted.mclist.count) memberships\(ring(wanted)) cannot be restored")
            }
        }
    }

    private static func ring(_ wanted: PacketSockEntry) -> String {
        wanted.hasRxRing || wanted.hasTxRing ? " and a ring" : ""
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasPsk else { return nil }
        let wanted = entry.psk
        guard let opener = workshop.opener else { throw CheckpointError("socket \(wanted.id): is no task's") }
        // Without a protocol: it receives when it is bound.
        _ = try opener.runAsEither { identity in
            try opener.run(as: identity) { program in
                let type = wanted.type | wanted.flags & UInt32(O_NONBLOCK)
                let arguments = [UInt64(family), UInt64(type), 0]
                program.call("make a packet socket", Int(SYS_socket), arguments, expecting: 0)
            }
        }
        let made = try opener.take(0)
        try SocketOptionTable.set(try SocketOptionTable.entries(of: wanted.id, in: workshop), by: opener)
        try SocketOptions.apply(wanted.opts, to: made.raw)
        try setOptions(wanted, of: made.raw)
        try SocketFilter.recreate(wanted.opts, of: wanted.id, made.raw, by: opener, in: workshop)
        let names = try names(of: wanted.id, in: workshop)
        for member in wanted.mclist {
            // struct packet_mreq {interface 4, type 2, length 2, address 8}, longer where the address is.
            let size = UInt16(truncatingIfNeeded: member.addr.count)
            let head = [UInt8](integers: [names[member.index] ?? member.index])
            let tail = [UInt8](integers: [UInt16(truncatingIfNeeded: member.type), size]) + Array(member.addr)
            let rest = [UInt8](repeating: 0, count: max(0, 8 - member.addr.count))
            try SocketOptions.set(made.raw, level, 1, head + tail + rest)
        }
        if wanted.protocol != 0 || wanted.ifindex != 0 {
            // struct sockaddr_ll
            let number = names[wanted.ifindex] ?? wanted.ifindex
            let head = [UInt8](integers: [UInt16(family), UInt16(truncatingIfNeeded: wanted.protocol)])
            let address = head + [UInt8](integers: [number, 0, 0, 0])
            try InternetSocket.call("bind a packet socket", Int(SYS_bind), address, by: opener)
            // An interface that is down is an error, which its program knows.
            _ = try SocketOptions.number(made.raw, SOL_SOCKET, SO_ERROR)
        }
        if wanted.hasFanout, wanted.fanout != noFanout {
            try SocketOptions.set(made.raw, level, 18, CInt(bitPattern: wanted.fanout))
        }
        return made
    }

    /// What CRIU's entry has a place for.
    private static func setOptions(_ wanted: PacketSockEntry, of socket: CInt) throws {
        let options: [(name: CInt, value: UInt32)] = [
            (7, wanted.copyThresh), (8, wanted.auxData ? 1 : 0), (9, wanted.origDev ? 1 : 0), (10, wanted.version),
            (12, wanted.reserve), (14, wanted.loss ? 1 : 0), (17, wanted.timestamp),
        ]
        for (name, value) in options where value != 0 {
            try SocketOptions.set(socket, level, name, CInt(bitPattern: value))
        }
        // PACKET_VNET_HDR_SZ has set it, and may have a larger size.
        if wanted.vnetHdr, try SocketOptions.number(socket, level, 15) == 0 {
            try SocketOptions.set(socket, level, 15, 1)
        }
    }

    /// This network's numbers of the interfaces, by those in the entry.
    private static func names(of id: UInt32, in workshop: Workshop) throws -> [UInt32: UInt32] {
        var found: [UInt32: UInt32] = [:]
        for entry in workshop.images.socketOptions[id] ?? [] where keepsName(entry) {
            let name = String(decoding: entry.value.dropFirst(4), as: UTF8.self)
            guard let number = entry.value.integer(UInt32.self, at: 0) else { continue }
            found[number] = try workshop.inNetworkNamespace { try interfaceNumber(name) }
        }
        return found
    }
}
