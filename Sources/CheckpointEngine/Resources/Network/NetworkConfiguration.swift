import CheckpointImages
import LinuxSystem

/// What is configured in a network namespace that config.json makes: interfaces, addresses, routes, rules, the firewall.
///
/// The start's is config.json's, its hooks' and the client's, who make it again. What the container has added to it or taken
/// away is in `network.stasis`, and a restore does the same to what its container starts with. See ``NetworkDifference``.
package enum NetworkConfiguration: Kind {
    static let fileName = "network.stasis"

    final class DumpState: KindState {
        fileprivate var difference = NetworkDifference()
    }

    final class RestoreState: KindState {
        fileprivate(set) var difference = NetworkDifference()
        /// Of the new container, before anything was changed.
        fileprivate(set) var start: [NetworkObject] = []
    }

    /// A line for each object.
    package static func text(of process: pid_t, except lock: ConnectionLock? = nil) throws -> String {
        try inNamespace(.network, of: process) { try text(except: lock) }
    }

    /// Of the caller's own.
    static func text(except lock: ConnectionLock? = nil) throws -> String {
        try NetworkObjects.all(except: lock).map(\.line).joined(separator: "\n")
    }

    // MARK: Dump

    /// Before connections are locked.
    static func capture(_ request: CheckpointRequest, into dump: Dump) throws {
        guard let start = request.start?.network else { return }
        let before = try start.split(separator: "\n").map { try NetworkObject(line: $0) }
        let now = try inNamespace(.network, of: dump.first.hostPid) { try NetworkObjects.all() }
        let difference = NetworkDifference(from: before, to: now)
        do {
            try difference.check()
            // Ids of a user namespace that the restore's need not have.
            if dump.userNamespace != .own { try difference.checkOwners() }
        } catch {
            throw CheckpointError(
                "the container's network, since its program started: \(error); take that back, or give the network namespace "
                    + "by a path in config.json, so that it stays when the container goes")
        }
        dump[Self.self].difference = difference
    }

    static func seal(_ dump: Dump) throws {
        let difference = dump[Self.self].difference
        if !difference.isEmpty { try dump.images.add(fileName, Array(difference.text.utf8)) }
    }

    // MARK: Restore

    static func plan(_ restore: RestorePlan) throws {
        guard try restore.images.directory.contains(fileName) else { return }
        let text = String(decoding: try restore.images.directory.bytes(fileName), as: UTF8.self)
        let difference = try NetworkDifference(text: text)
        guard restore.policy.configuresNetwork else {
            let what = (difference.added + difference.gone).first?.description ?? "nothing"
            throw CheckpointError(
                "\(fileName): config.json does not let the container configure its network (CAP_NET_ADMIN), and it has changed "
                    + what)
        }
        restore[Self.self].difference = difference
    }

    /// Interfaces, before the kernel's parameters, of which each has its own.
    static func recreateInterfaces(in workshop: Workshop) throws {
        let state = workshop[Self.self]
        if state.difference.isEmpty { return }
        try changing(workshop) { lock in
            state.start = try NetworkObjects.all(except: lock)
            try state.difference.checkNumbers(with: state.start)
            var interfaces = try NetworkInterfaces(state.difference)
            try interfaces.make()
        }
    }

    static func recreate(in workshop: Workshop) throws {
        let state = workshop[Self.self]
        let difference = state.difference
        if difference.isEmpty { return }
        try changing(workshop) { lock in
            var interfaces = try NetworkInterfaces(difference)
            try interfaces.setFlags()
            let replay = try RouteReplay()
            for object in difference.gone { try replay.remove(object) }
            for kind in [NetworkObject.Kind.address, .neighbour, .forwarding, .route, .rule] {
                try replay.add(difference.added(kind))
            }
            let present = Set(state.start)
            try FirewallReplay.run(
                gone: difference.gone.filter { $0.kind == .table && present.contains($0) },
                added: difference.added.filter(\.isInTable))
            try interfaces.verify()
            try verify(state, replay, lock)
        }
    }

    private static func changing(_ workshop: Workshop, _ body: (ConnectionLock) throws -> Void) throws {
        try about(fileName) {
            try inNamespace(.network, of: workshop.firstProcess) { try body(workshop[TCPConnection.self].lock) }
        }
    }

    /// Fails if the network is not what the container's was.
    private static func verify(_ state: RestoreState, _ replay: borrowing RouteReplay, _ lock: ConnectionLock) throws {
        let difference = state.difference
        var now = try NetworkObjects.all(except: lock)
        // What the kernel has made of it, and the container had taken away.
        let known = Set(state.start + difference.added)
        for object in now where object.isKernelRoute && !known.contains(object) { try replay.remove(object) }
        now = try NetworkObjects.all(except: lock)
        let present = Set(now)
        let rest: (NetworkObject) -> Bool = { $0.kind != .interface && $0.kind != .visitor }
        if let missing = difference.added.first(where: { rest($0) && !present.contains($0) }) {
            throw CheckpointError("\(missing) does not come back as it was (\(missing.line))")
        }
        if let left = difference.gone.first(where: { rest($0) && present.contains($0) }) {
            throw CheckpointError("\(left) is still there")
        }
        if let other = now.first(where: { rest($0) && !known.contains($0) }) {
            throw CheckpointError("\(other) came with what was configured (\(other.line))")
        }
    }
}

/// The interfaces of ``NetworkConfiguration``, which must be there when the kernel's parameters are set.
enum NetworkInterfaceKind: Kind {
    static func recreate(in workshop: Workshop) throws {
        try NetworkConfiguration.recreateInterfaces(in: workshop)
    }
}

extension NetworkDifference {
    /// Fails if rules tell interfaces by numbers that they do not have any more.
    fileprivate func checkNumbers(with now: [NetworkObject]) throws {
        guard let rule = added.first(where: \.usesInterfaceNumbers) else { return }
        for object in now where object.kind == .interface {
            guard let before = before[object.interface], before.index != object.index else { continue }
            throw CheckpointError(
                "\(rule) tells interfaces by their numbers, and \(object.interface) had \(before.index) and has \(object.index)"
            )
        }
    }

    fileprivate func checkOwners() throws {
        // IFLA_TUN_OWNER, IFLA_TUN_GROUP
        for object in added(.interface) where object.type == "tun" {
            guard object.number(InterfaceAttribute.ofKind + 1) == nil,
                object.number(InterfaceAttribute.ofKind + 2) == nil
            else { throw CheckpointError("\(object) has an owner, whom another user namespace may not know") }
        }
        // FRA_UID_RANGE: the kernel takes it only from the network's own user namespace.
        for object in added + gone where object.kind == .rule && object[20] != nil {
            throw CheckpointError("\(object) is for users by their ids, which another user namespace may not know")
        }
    }
}

extension NetworkObject {
    /// RTPROT_KERNEL
    fileprivate var isKernelRoute: Bool { kind == .route && header.count == 8 && header[4] == 2 }
}
