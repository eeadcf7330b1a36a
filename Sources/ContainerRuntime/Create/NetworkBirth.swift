import LinuxSystem
import OCISpec

/// A container's network namespace: the runtime makes it, with `lo` up, and hands it to the first process.
///
/// To make one takes as long as most of a container's mounts together, so the two are done side by side.
enum NetworkBirth {
    /// The runtime's half. A first process that is already dead has told why, or its end says enough.
    ///
    /// - Parameter holder: where a mount shall keep the namespace alive.
    static func send(to channel: borrowing InitChannel, heldAt holder: String?) throws(RuntimeError) {
        try launching { () throws(SystemError) in
            let namespace = try make()
            if let holder { try NetworkDevices.hold(namespace, at: holder) }
            do throws(SystemError) {
                try sendMessage(channel.socket.raw, InitMessage.network.bytes, descriptors: [namespace.raw])
            } catch  where error.errno == .brokenPipe || error.errno == .connectionReset {}
        }
    }

    /// The first process's half: waits for the namespace and joins it.
    static func join(from channel: borrowing InitChannel) throws(RuntimeError) {
        let message = try launching("receive network namespace") { () throws(SystemError) in
            try receiveMessage(channel.socket.raw, limit: 16, descriptors: 1)
        }
        guard InitMessage(message.bytes) == .network, let raw = message.descriptors.first else {
            throw RuntimeError("the runtime is gone")
        }
        let namespace = OwnedDescriptor(raw)
        try launching { () throws(SystemError) in try joinNamespaces(namespace.raw, .network) }
    }

    private static func make() throws(SystemError) -> OwnedDescriptor {
        let own = try openAt(AT_FDCWD, "/proc/self/ns/net", O_RDONLY)
        try leaveNamespaces(.network)
        do throws(SystemError) {
            try NetworkInterface("lo").bringUp()
            let made = try openAt(AT_FDCWD, "/proc/self/ns/net", O_RDONLY)
            try joinNamespaces(own.raw, .network)
            return made
        } catch {
            try joinNamespaces(own.raw, .network)
            throw error
        }
    }
}

extension Mount {
    /// Whether the file system may keep or check the network namespace of the process that mounts it.
    var looksAtNetwork: Bool {
        switch type {
        case "proc", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "bind": false
        default: true
        }
    }
}
