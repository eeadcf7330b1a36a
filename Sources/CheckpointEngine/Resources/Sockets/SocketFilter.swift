import CheckpointImages
import LinuxSystem

/// The BPF program that chooses what a socket receives (SO_ATTACH_FILTER), and whether it stays for good (SO_LOCK_FILTER).
/// socket(7)
enum SocketFilter: Kind {
    private static let attach: CInt = 26
    private static let lock: CInt = 44
    /// BPF_MAXINSNS
    private static let longest = 4096

    // MARK: Checkpoint

    /// Its instructions, each struct sock_filter; none without a filter. SO_GET_FILTER counts instructions, not bytes.
    static func capture(_ socket: CInt) throws -> [UInt64] {
        var count: socklen_t = 0
        guard getsockopt(socket, SOL_SOCKET, attach, nil, &count) == 0 else {
            let error = Errno.current
            if error == .permissionDenied {
                throw CheckpointError(
                    "a socket with an eBPF program attached (SO_ATTACH_BPF) cannot be checkpointed yet")
            }
            throw SystemError(error, "filter of socket")
        }
        var instructions = [UInt64](repeating: 0, count: Int(count))
        guard count > 0 else { return instructions }
        try system("filter of socket") {
            instructions.withUnsafeMutableBytes { getsockopt(socket, SOL_SOCKET, attach, $0.baseAddress, &count) }
        }
        return instructions
    }

    // MARK: Restore

    static func plan(_ restore: RestorePlan) throws {
        for file in restore.images.files.all {
            guard let count = file.socketOptions?.soFilter.count, count > longest else { continue }
            throw CheckpointError("socket \(file.id): a filter of \(count) instructions is none")
        }
    }

    /// Whether an entry of `sockets.stasis` waits for the filter.
    static func isLock(_ entry: SocketOptionEntry) -> Bool { entry.level == SOL_SOCKET && entry.name == lock }

    /// When there is nothing left in the images that a filter could keep out of the socket's queue. What others have
    /// sent since the socket was made or bound is in it already: a raw socket drops that, those of UDP and TCP keep it.
    ///
    /// - Parameter opener: in whose hands the socket is descriptor 0: a filter of TCP asks for CAP_NET_ADMIN (Linux 6.18).
    static func recreate(
        _ options: SkOptsEntry, of id: UInt32, _ socket: CInt, by opener: Opener?, in workshop: Workshop
    ) throws {
        if !options.soFilter.isEmpty {
            let attempt = "attach a filter to socket \(id)"
            let (instructions, count) = (options.soFilter, UInt64(options.soFilter.count))
            if let opener {
                _ = try opener.runAsEither { identity in
                    try opener.run(as: identity, keeping: 1) { program in
                        let place = program.place([UInt8](integers: instructions))
                        // struct sock_fprog
                        let filter = program.place(value: SIMD2(count, place.raw))
                        let arguments = [0, UInt64(SOL_SOCKET), UInt64(attach), filter.raw, 16]
                        program.call(attempt, Int(SYS_setsockopt), arguments)
                    }
                }
            } else {
                try system(attempt) {
                    instructions.withUnsafeBytes { place in
                        var filter = SIMD2(count, UInt64(UInt(bitPattern: place.baseAddress)))
                        return setsockopt(socket, SOL_SOCKET, attach, &filter, 16)
                    }
                }
            }
        }
        for entry in workshop.images.socketOptions[id] ?? [] where isLock(entry) {
            try SocketOptions.set(socket, entry)
        }
    }
}

extension FileEntry {
    /// What every socket has; `nil` of other files.
    var socketOptions: SkOptsEntry? {
        hasIsk ? isk.opts : hasUsk ? usk.opts : hasNlsk ? nlsk.opts : hasPsk ? psk.opts : nil
    }
}
