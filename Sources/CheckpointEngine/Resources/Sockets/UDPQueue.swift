import CheckpointImages
import LinuxSystem

/// The datagrams that wait in a UDP socket, each with who has sent it. They are put back as packets in their senders' names,
/// by the container's lo. udp(7), raw(7)
enum UDPQueue: Kind {
    final class DumpState: KindState {
        /// What a datagram of this family and length takes in a queue.
        fileprivate var sizes: [SIMD2<CInt>: UInt32] = [:]
    }

    private static let peekOffset: CInt = 42
    private static let longest = 65_507
    /// Less than the least that the kernel counts for a datagram.
    private static let least: UInt32 = 256
    /// The options that have more come with each datagram than its sender, by levels: where it was sent to, how far it came.
    private static let accompanying: [CInt: [CInt]] = [
        0: [6, 7, 8, 12, 13, 20, 23, 25], 41: [2, 3, 4, 5, 8, 49, 51, 53, 56, 58, 66, 74, 77],
    ]

    // MARK: Checkpoint

    static func capture(
        _ file: borrowing OpenFile, _ entry: InetSkEntry, _ what: String, into dump: Dump
    ) throws {
        let socket = file.descriptor.raw
        let received = try SocketOptions.memory(socket).received
        if received == 0 { return }
        func refusal(_ reason: String) -> CheckpointError {
            CheckpointError(
                passing: "\(what), has datagrams that nobody has received yet, and \(reason), which cannot be "
                    + "checkpointed; let its "
                    + "program receive them")
        }
        if let reason = try reason(entry, socket, in: dump) { throw refusal(reason) }
        let before = try SocketOptions.number(socket, SOL_SOCKET, peekOffset)
        try SocketOptions.set(socket, SOL_SOCKET, peekOffset, 0)
        defer { try? SocketOptions.set(socket, SOL_SOCKET, peekOffset, before) }
        var (index, total) = (UInt32(0), UInt32(0))
        while let message = try peekMessage(socket, limit: longest) {
            let origin = DatagramOrigin(index: index, address: message.address)
            guard message.length <= longest else { throw refusal("one of them has \(message.length) bytes") }
            if let fault = try fault(of: try origin.sender, for: entry) { throw refusal("one of them is \(fault)") }
            let packet = SkPacketEntry.with { ($0.idFor, $0.length) = (entry.id, UInt32(message.length)) }
            try dump.stream(.socketQueues).append(packet, payload: message.bytes)
            try dump.stream(raw: SocketOptionEntry.fileName).append(raw: origin.entry(of: entry.id).bytes)
            total += try size(ofDatagram: message.length, family: CInt(entry.family), in: dump)
            index += 1
        }
        // An empty one is shown once, and others may be packed in other ways than those that come by lo.
        guard index > 0, received < total + least else {
            throw refusal("the kernel counts more (\(received)) than the \(index) that it shows")
        }
    }

    /// Why the datagrams of a socket cannot be put back.
    private static func reason(_ entry: InetSkEntry, _ socket: CInt, in dump: Dump) throws -> String? {
        if entry.proto != 17 { return "is none of plain UDP" }
        if entry.opts.reuseaddr || entry.opts.soReuseport { return "may share its port (SO_REUSEADDR, SO_REUSEPORT)" }
        if entry.opts.hasSoBoundDev { return "is bound to a device" }
        for (level, names) in accompanying
        where names.contains(where: { (try? SocketOptions.number(socket, level, $0)) ?? 0 > 0 }) {
            return "asks for what came with each (IP_PKTINFO or the like)"
        }
        let local = try entry.local(interface: 0)
        if local.isAny { return nil }
        if local.isGroup { return "is bound to a multicast group" }
        let isOwn = try inNamespace(.network, of: dump.first.hostPid) { try isLocalAddress(local.bytes) }
        return isOwn ? nil : "is bound to \(local), a broadcast address or none of its network's"
    }

    /// Why a datagram of this sender cannot be sent to a socket again: another one would get it, or none.
    private static func fault(of sender: InternetAddress, for entry: InetSkEntry) throws -> String? {
        if sender.isAny || sender.isGroup { return "from \(sender), which is nobody's address" }
        if sender.isLinkLocal { return "from a link-local address" }
        let local = try entry.local(interface: 0)
        let isBound = local.words.contains { $0 != 0 }
        let isV4 = sender.bytes.count == 4
        let isRefused = isV4 && sender.family == AF_INET6 && entry.v6Only
        guard sender.family == local.family, !isRefused, !isBound || isV4 == (local.bytes.count == 4) else {
            return "from \(sender), which does not reach a socket at \(local)"
        }
        return nil
    }

    private static func size(ofDatagram length: Int, family: CInt, in dump: Dump) throws -> UInt32 {
        let kind = SIMD2(family, CInt(length))
        if let known = dump[Self.self].sizes[kind] { return known }
        func make() throws -> OwnedDescriptor {
            OwnedDescriptor(
                CInt(try systemCall("socket", Int(SYS_socket), Int(family), 2 | Int(O_CLOEXEC | O_NONBLOCK), 0)))
        }
        let receiver = try make()
        let sender = try make()
        let words: [UInt32] = family == AF_INET ? [UInt32(0x7f00_0001).bigEndian] : [0, 0, 0, UInt32(1).bigEndian]
        let here = try InternetAddress(family, words, port: 0)
        try NamedUnixSocket.call("bind", Int(SYS_bind), receiver.raw, here.sockaddr)
        let bound = try InternetAddress.local(of: receiver.raw, family)
        _ = try sendMessage(sender.raw, [UInt8](repeating: 0, count: length), from: nil, to: bound.sockaddr)
        try expect(more: 0, in: receiver.raw)
        let size = try SocketOptions.memory(receiver.raw).received
        dump[Self.self].sizes[kind] = size
        return size
    }

    /// Waits until a socket's queue takes more than it did.
    private static func expect(more before: UInt32, in socket: CInt) throws {
        for _ in 0..<1000 {
            if try SocketOptions.memory(socket).received > before { return }
            usleep(1000)
        }
        throw CheckpointError(
            "a datagram that the engine has sent by lo did not arrive; is lo up, does a firewall keep it?")
    }

    // MARK: Restore

    static func takes(_ file: FileEntry?) -> Bool {
        guard let file, file.hasIsk else { return false }
        return file.isk.type == 2 && file.isk.proto == 17
    }

    static func plan(_ restore: RestorePlan) throws {
        let images = restore.images
        for (id, messages) in images.socketQueues where takes(images.files[id]) {
            guard let wanted = images.files[id]?.isk else { continue }
            let options = wanted.opts
            // Nobody else gets what is sent in anybody's name.
            guard wanted.srcPort != 0, !options.reuseaddr, !options.soReuseport, !options.hasSoBoundDev else {
                throw CheckpointError("socket \(id): datagrams wait in it, but its port is not its own")
            }
            let origins = try DatagramOrigin.all(images.socketOptions[id] ?? [])
            for origin in origins.values {
                let reason: String? = try about("socket \(id)") { try fault(of: try origin.sender, for: wanted) }
                if let reason { throw CheckpointError("socket \(id): a datagram that waits in it is \(reason)") }
            }
            let size = UnixSocketQueue.size(of: messages)
            guard size <= restore.policy.longestUnixQueue,
                messages.allSatisfy({ $0.place.count <= longest && $0.rights.isEmpty }),
                messages.indices.allSatisfy({ origins[UInt32($0)] != nil })
            else {
                throw CheckpointError(
                    "sk-queues.img: socket \(id): \(messages.count) datagrams that no UDP socket can have")
            }
        }
    }

    /// Of a socket that is bound and not connected yet.
    static func recreate(_ wanted: InetSkEntry, _ socket: CInt, in workshop: Workshop) throws {
        let images = workshop.images
        guard let messages = images.socketQueues[wanted.id] else { return }
        let origins = try DatagramOrigin.all(images.socketOptions[wanted.id] ?? [])
        let local = try wanted.local(interface: 0)
        let size = UnixSocketQueue.size(of: messages)
        // SO_RCVBUFFORCE: it has its own size later.
        try SocketOptions.set(socket, SOL_SOCKET, 33, SocketOptions.room(for: size, wanted.opts))
        for (index, message) in messages.enumerated() {
            guard let origin = origins[UInt32(index)] else { continue }
            let bytes = Array(try images.bytes(of: message.place, .socketQueues))
            let before = try SocketOptions.memory(socket).received
            try workshop.inNetworkNamespace {
                try ForgedDatagram(from: try origin.sender, to: local, bytes: bytes).send()
                try expect(more: before, in: socket)
            }
        }
        try SocketOptions.applyBuffers(wanted.opts, to: socket)
    }
}

/// Who has sent a datagram of a queue, as an entry of `sockets.stasis`: u32 index, and struct sockaddr_in or sockaddr_in6.
struct DatagramOrigin {
    private static let name: CInt = -4
    let index: UInt32
    let address: [UInt8]

    var sender: InternetAddress {
        get throws {
            let family = CInt(address.integer(UInt16.self, at: 0) ?? 0)
            guard family == AF_INET && address.count == 16 || family == AF_INET6 && address.count == 28 else {
                throw CheckpointError("\(SocketOptionEntry.fileName): a datagram's origin of \(address.count) bytes")
            }
            return try InternetAddress(family, sockaddr: address)
        }
    }

    func entry(of file: UInt32) -> SocketOptionEntry {
        SocketOptionEntry(
            file: file, level: SOL_SOCKET, name: Self.name, value: [UInt8](integers: [index]) + address)
    }

    static func keeps(_ entry: SocketOptionEntry) -> Bool { entry.level == SOL_SOCKET && entry.name == name }

    static func all(_ entries: [SocketOptionEntry]) throws -> [UInt32: DatagramOrigin] {
        var found: [UInt32: DatagramOrigin] = [:]
        for entry in entries where keeps(entry) {
            guard let index = entry.value.integer(UInt32.self, at: 0) else {
                throw CheckpointError(
                    "\(SocketOptionEntry.fileName): a datagram's origin of \(entry.value.count) bytes")
            }
            let origin = DatagramOrigin(index: index, address: Array(entry.value.dropFirst(4)))
            _ = try origin.sender
            found[index] = origin
        }
        return found
    }
}

/// A datagram in a sender's name, for a socket of the caller's network namespace.
struct ForgedDatagram {
    let from: InternetAddress
    /// Where it is bound: with no address, whichever lo has.
    let to: InternetAddress
    let bytes: [UInt8]

    /// As the kernel packs what a UDP socket sends, so that the receiver's queue is as full as it was.
    func send() throws {
        let isV4 = from.bytes.count == 4
        let raw = Int(SOCK_RAW.rawValue) | Int(O_CLOEXEC)
        let socket = OwnedDescriptor(
            CInt(try systemCall("open a raw socket", Int(SYS_socket), Int(isV4 ? AF_INET : AF_INET6), raw, 17)))
        try SocketOptions.set(socket.raw, SOL_SOCKET, SO_MARK, CInt(bitPattern: ConnectionLock.mark))
        // IP_TRANSPARENT, IPV6_TRANSPARENT: it may have others' addresses.
        try SocketOptions.set(socket.raw, isV4 ? 0 : 41, isV4 ? 19 : 75, 1)
        // The longest fit into its queue.
        try SocketOptions.set(socket.raw, SOL_SOCKET, 32, 1 << 20)
        let (sender, target) = (try Self.address(from.bytes), try target)
        // Where the socket is bound to an address that is not there (IP_FREEBIND), a device would get it.
        guard try isLocalAddress(target.bytes, mark: ConnectionLock.mark) else {
            throw CheckpointError("a datagram for \(to) would not stay in the container's network; is lo up?")
        }
        try NamedUnixSocket.call("bind a raw socket", Int(SYS_bind), socket.raw, sender.sockaddr)
        let datagram = self.datagram(from: sender, to: target)
        let size = try sendMessage(socket.raw, datagram, from: nil, to: target.sockaddr)
        guard size == datagram.count else { throw CheckpointError("only \(size) bytes of a datagram could be sent") }
    }

    /// Without a port, for raw sockets.
    private static func address(_ bytes: [UInt8]) throws -> InternetAddress {
        let words = stride(from: 0, to: bytes.count, by: 4).compactMap { bytes.integer(UInt32.self, at: $0) }
        return try InternetAddress(bytes.count == 4 ? AF_INET : AF_INET6, words, port: 0)
    }

    private var target: InternetAddress {
        get throws {
            let isOwn = to.bytes.contains { $0 != 0 } && to.bytes.count == from.bytes.count
            let loopback = from.bytes.count == 4 ? [127, 0, 0, 1] : [UInt8](repeating: 0, count: 15) + [1]
            return try Self.address(isOwn ? to.bytes : loopback)
        }
    }

    /// With UDP's header.
    private func datagram(from sender: InternetAddress, to target: InternetAddress) -> [UInt8] {
        let length = UInt16(bytes.count + 8)
        var datagram: [UInt8] = []
        for word in [from.port, to.port, length, 0] { datagram.append(integer: word.bigEndian) }
        datagram += bytes
        var pseudo = sender.bytes + target.bytes + [0, 17]
        pseudo.append(integer: length.bigEndian)
        let sum = Self.checksum(pseudo + datagram)
        // 0 says that there is none.
        datagram.replaceSubrange(6..<8, with: [UInt8](integers: [(sum == 0 ? .max : sum).bigEndian]))
        return datagram
    }

    /// RFC 1071
    private static func checksum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt64 = 0
        for (place, byte) in bytes.enumerated() { sum += UInt64(byte) << (place.isMultiple(of: 2) ? 8 : 0) }
        while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
        return ~UInt16(sum)
    }
}

extension InternetAddress {
    /// Also where it is written as one of IPv6.
    fileprivate var isAny: Bool { !bytes.contains { $0 != 0 } }

    fileprivate var isGroup: Bool { bytes.count == 4 ? bytes[0] & 0xf0 == 0xe0 : bytes[0] == 0xff }

    /// Whose interface says where it is.
    var isLinkLocal: Bool {
        family == AF_INET6 && bytes.count == 16 && bytes[0] == 0xfe && bytes[1] & 0xc0 == 0x80
    }
}
