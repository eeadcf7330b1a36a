import LinuxSystem

extension Pidfd {
    /// `--pidfd-socket`: sends a copy to who listens at `path`. The word that comes with it is runc's: `standard` is a
    /// container's first process, `setns` a further one.
    func hand(to path: String, as kind: String) throws(RuntimeError) {
        try launching("send pidfd to \(path)") { () throws(SystemError) in
            let socket = try connectUnixSocketAtOnce(path)
            try sendMessage(socket.raw, Array(kind.utf8), descriptors: [raw])
        }
    }
}
