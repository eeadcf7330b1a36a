import LinuxSystem

/// Interfaces of the host's that are a container's while it lives: config.json's `linux.netDevices`.
///
/// Inside they are up and keep hardware address, MTU and their permanent global addresses. When the container goes they
/// come back under their old names, down and without addresses: what a container made of them is not to be trusted. A
/// new network namespace is held by a mount in the container's directory until then, for the kernel destroys virtual
/// interfaces together with their namespace.
struct NetworkDevices {
    static let holderName = "netns"

    /// The names inside, by those of the host.
    private let names: [(host: String, inside: String)]
    /// The container's network namespace.
    private let namespacePath: String

    init(_ state: ContainerState) {
        names = state.netDevices.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        namespacePath = state.netNamespace ?? ""
    }

    /// The names with the first free number in place of a `%d`.
    func numbered() throws(RuntimeError) -> [String: String] {
        var result: [String: String] = [:]
        for (host, inside) in names {
            result[host] = inside
            guard inside.contains("%d") else { continue }
            try launching("linux.netDevices.\(host)") { () throws(SystemError) in
                let namespace = try openAt(AT_FDCWD, namespacePath, O_RDONLY)
                let socket = try RouteSocket(in: namespace.raw)
                for number in 0...9999 {
                    let name = inside.replacing("%d", with: "\(number)", maxReplacements: 1)
                    if !result.values.contains(name), try socket.index(of: name) == nil {
                        result[host] = name
                        return
                    }
                }
                throw SystemError(.fileExists, "no number is free for \(inside)")
            }
        }
        return result
    }

    /// Mounts a network namespace where ``takeBack(releasing:)`` finds it.
    static func hold(_ namespace: borrowing OwnedDescriptor, at path: String) throws(SystemError) {
        let made = try openAt(AT_FDCWD, path, O_CREAT | O_EXCL | O_RDONLY | O_NOFOLLOW, mode: 0o600)
        let mount = try cloneMount(at: namespace.raw)
        try attachMount(mount.raw, to: made.raw, name: path)
    }

    /// Moves each in turn. What came before one that fails has moved: the caller takes it back.
    func lend() throws(RuntimeError) {
        for (host, inside) in names {
            try launching("linux.netDevices.\(host)") { () throws(SystemError) in
                let target = try openAt(AT_FDCWD, namespacePath, O_RDONLY)
                let here = try RouteSocket()
                let there = try RouteSocket(in: target.raw)
                guard try !NamespacePlan.isOwn(target.raw, "net") else {
                    throw SystemError(.invalidArgument, "the container has the host's network namespace")
                }
                guard let index = try here.index(of: host) else {
                    throw SystemError(.operationNotSupportedByDevice, "look for interface \(host)")
                }
                if try there.index(of: inside) != nil {
                    throw SystemError(.fileExists, "an interface \(inside) in the container's network namespace")
                }
                let addresses = try here.addresses(of: index).filter(\.isPermanentAndGlobal)
                try here.move(index, to: target.raw, name: inside)
                guard let moved = try there.index(of: inside) else {
                    throw SystemError(.operationNotSupportedByDevice, "look for interface \(inside) in the container")
                }
                for address in addresses { try there.add(address, to: moved) }
                try there.bringUp(moved)
            }
        }
    }

    /// Moves back what is there, and lets go of the namespace. Nothing of it can keep a container from being deleted:
    /// what fails becomes a warning.
    func takeBack(releasing directory: String) {
        if names.isEmpty { return }
        do throws(SystemError) {
            let namespace = try openAt(AT_FDCWD, namespacePath, O_RDONLY)
            // A holder that was never mounted on is a plain file.
            if try filesystemMagic(of: namespace.raw) == Namespaces.fileSystemMagic { try takeBack(from: namespace) }
        } catch {
            Warnings.add("linux.netDevices: \(error)")
        }
        let holder = "\(directory)/\(Self.holderName)"
        if namespacePath == holder { try? detachMount(holder) }
    }

    private func takeBack(from namespace: borrowing OwnedDescriptor) throws(SystemError) {
        let host = try openAt(AT_FDCWD, "/proc/self/ns/net", O_RDONLY)
        let inside = try RouteSocket(in: namespace.raw)
        for (hostName, name) in names {
            do throws(SystemError) {
                // Not there: never moved, or deleted or renamed by the container.
                guard let index = try inside.index(of: name) else { continue }
                try inside.move(index, to: host.raw, name: hostName)
            } catch {
                Warnings.add("linux.netDevices.\(hostName): \(error)")
            }
        }
    }
}
