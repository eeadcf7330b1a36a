import CheckpointImages
import LinuxSystem

/// Network namespaces of single processes, with nothing configured in them but whether `lo` is up (`netdev-N.img`), and the
/// sockets that are in there. network_namespaces(7).
enum InnerNetwork {
    /// IFF_UP, IFF_LOOPBACK
    private static let (up, loopback) = (UInt32(1), UInt32(8))

    // MARK: Dump

    /// Fails if more is configured than a new one has.
    static func capture(_ number: UInt32, of process: CapturedProcess, into dump: Dump) throws {
        let now = try content(of: process.task)
        let new = try inNewNamespaces(.network) {
            let down = try content(of: nil)
            try NetworkInterface("lo").bringUp()
            return [down, try content(of: nil)]
        }
        guard let state = new.firstIndex(of: now) else {
            let other = now.first { !new[0].contains($0) && !new[1].contains($0) }
            throw CheckpointError(
                "is in a network namespace that is not the container's, with `\(other ?? "a part of what a new one has")`; "
                    + "this cannot be checkpointed yet")
        }
        try dump.images.add(
            .netdev, number,
            entries: [
                NetDeviceEntry.with {
                    ($0.type, $0.ifindex, $0.mtu, $0.name) = (.loopback, 1, 65_536, "lo")
                    $0.flags = loopback | (state == 1 ? up : 0)
                }
            ])
    }

    /// What is configured in a process's namespace, or the caller's: a line for each object, and one for each multicast group.
    private static func content(of process: pid_t?) throws -> [String] {
        let objects = try process.map { try NetworkConfiguration.text(of: $0) } ?? NetworkConfiguration.text()
        let folder = process.map { "/proc/\($0)" } ?? "/proc/thread-self"
        let groups = try MulticastMembership.groups(in: folder + "/net")
        return objects.split(separator: "\n").map(String.init) + groups.map { "group \($0.group) of \($0.interface)" }
    }

    /// All network namespaces in which processes are, by one who is.
    static func members(of dump: Dump) -> [pid_t] {
        [dump.first.hostPid] + InnerNamespace.inner(.network, in: dump).map(\.task)
    }

    /// That of a socket, where it is not the container's.
    static func number(of file: borrowing OpenFile, in dump: Dump) throws -> UInt32? {
        guard file.status.isSocket, !InnerNamespace.inner(.network, in: dump).isEmpty else { return nil }
        let known = dump.knownNamespace(try InternetSocket.network(of: file))
        return try known == dump.namespaceID("net", of: dump.first.hostPid) ? nil : known
    }

    /// Notes where a socket is, if its kind can be brought back there.
    static func note(_ file: borrowing OpenFile, in entry: inout FileEntry, of dump: Dump) throws {
        guard let number = try number(of: file, in: dump) else { return }
        func refuse(_ what: String) -> CheckpointError {
            CheckpointError(
                "\(file.link): \(what) in a network namespace that is not the container's cannot be checkpointed yet")
        }
        if entry.hasUsk {
            guard entry.usk.name.first != 0 else { throw refuse("a unix socket with an abstract name") }
            entry.usk.nsID = number
        } else if entry.hasNlsk {
            entry.nlsk.nsID = number
        } else if entry.hasIsk, entry.isk.type != UInt32(SOCK_RAW.rawValue) {
            guard entry.isk.type != UInt32(SOCK_STREAM.rawValue) || isIdle(entry.isk) else {
                throw refuse("a TCP connection")
            }
            guard try SocketOptions.memory(file.descriptor.raw).received == 0 else {
                throw refuse("a socket with datagrams that nobody has received yet")
            }
            entry.isk.nsID = number
        } else {
            throw refuse("this kind of socket")
        }
    }

    /// TCP_CLOSE, TCP_LISTEN
    private static func isIdle(_ socket: InetSkEntry) -> Bool { [7, 10].contains(socket.state) && !socket.hasShutdown }

    // MARK: Restore

    /// - Returns: whether `lo` is up.
    static func plan(_ number: UInt32, _ restore: RestorePlan) throws -> Bool {
        let devices: [NetDeviceEntry] = try restore.images.directory.entries(.netdev, number)
        guard devices.count == 1, let device = devices.first, device.type == .loopback, device.name == "lo" else {
            throw CheckpointError("netdev-\(number).img: more than `lo` is in there, which cannot be restored yet")
        }
        let isUp = device.flags & up != 0
        guard !isUp || restore.policy.capabilities & 1 << UInt64(CAP_NET_ADMIN) != 0 else {
            throw CheckpointError(
                "is in a network namespace of its own with `lo` up, and config.json does not grant CAP_NET_ADMIN")
        }
        return isUp
    }

    /// Sockets of the internet and of netlink are made by the first process that has them: fails if it is in another
    /// namespace than they are. Unix sockets meet by names that do not depend on it, but for abstract ones.
    static func planSockets(_ restore: RestorePlan) throws {
        let networks = restore[InnerNamespace.self].networks
        guard let own = restore.first.ids[.network], !networks.isEmpty else { return }
        var makers: [UInt32: ProcessPlan] = [:]
        for plan in restore.first.all where !plan.isZombie && plan.completed.contains(.descriptors) {
            let held = plan.descriptors.map(\.id)
            for id in held + restore.images.filesUnderWay(to: held) where makers[id] == nil { makers[id] = plan }
        }
        let queued = QueuedConnection.files(in: restore.images)
        for file in restore.images.files.all where !queued.contains(file.id) {
            guard let network = file.network else { continue }
            let id = file.id
            let isApart = network != 0 && network != own
            guard !isApart || !file.hasIsk || file.isk.type != UInt32(SOCK_STREAM.rawValue) || isIdle(file.isk) else {
                throw CheckpointError("socket \(id): a connection in a network namespace that is not the container's")
            }
            guard let maker = makers[id], networks[maker.pid] ?? own == (network == 0 ? own : network) else {
                throw CheckpointError(
                    "socket \(id): is in another network namespace than \(makers[id].map { "\($0)" } ?? "everybody"), "
                        + "which has it; this cannot be restored yet")
            }
        }
        var peers: [UInt32: [UInt32]] = [:]
        for file in restore.images.files.all(.unixsk) where file.usk.peer != 0 {
            peers[file.usk.peer, default: []].append(file.id)
        }
        for file in restore.images.files.all(.unixsk) {
            let id = file.id
            let names = [
                Array(file.usk.name), PeerCredentials.formerName(restore.images.socketOptions[id] ?? []) ?? [],
            ]
            guard names.contains(where: { $0.first == 0 }) else { continue }
            for end in [id] + (peers[file.usk.ino] ?? []) {
                let peer = try PeerCredentials(restore.images.socketOptions[end] ?? [])
                guard peer.map({ networks[$0.process] == nil }) ?? true else {
                    throw CheckpointError(
                        "unix socket \(id): has an abstract name, and was connected by a process that is in another "
                            + "network namespace by now; this cannot be restored yet")
                }
            }
        }
    }
}

extension FileEntry {
    /// Of a socket that its task makes, 0 for the container's; nil for other files.
    fileprivate var network: UInt32? {
        if hasIsk { return isk.nsID }
        if hasNlsk { return nlsk.nsID }
        return hasPsk ? psk.nsID : nil
    }
}
