import CheckpointImages
import LinuxSystem

/// getsockopt(2) and setsockopt(2) of what every socket has.
enum SocketOptions {
    static func number(_ socket: CInt, _ level: CInt, _ option: CInt) throws -> CInt {
        var value: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        try system("socket option \(level)/\(option)") { getsockopt(socket, level, option, &value, &length) }
        return value
    }

    static func set(_ socket: CInt, _ level: CInt, _ option: CInt, _ value: CInt) throws {
        var value = value
        try system("set socket option \(level)/\(option) to \(value)") {
            setsockopt(socket, level, option, &value, socklen_t(MemoryLayout<CInt>.size))
        }
    }

    /// A value as the kernel writes it, at most `limit` bytes.
    ///
    /// - Parameter question: what the kernel reads from the same place, where it does.
    static func bytes(
        _ socket: CInt, _ level: CInt, _ option: CInt, limit: Int, given question: [UInt8] = []
    ) throws -> [UInt8] {
        var value = question + [UInt8](repeating: 0, count: limit - question.count)
        var length = socklen_t(limit)
        try system("socket option \(level)/\(option)") {
            value.withUnsafeMutableBytes { getsockopt(socket, level, option, $0.baseAddress, &length) }
        }
        return Array(value.prefix(Int(length)))
    }

    /// The bytes that the kernel counts for what waits to be read, and for what was written and is not gone. SO_MEMINFO,
    /// Linux 4.12.
    static func memory(_ socket: CInt) throws -> (received: UInt32, sent: UInt32) {
        let bytes = try bytes(socket, SOL_SOCKET, 55, limit: 36)
        return (bytes.integer(UInt32.self, at: 0) ?? 0, bytes.integer(UInt32.self, at: 8) ?? 0)
    }

    /// struct sockaddr of who is, or was, at the other end; `nil` of a socket that was never connected. getpeername(2).
    static func peerAddress(_ socket: CInt) -> [UInt8]? { try? address(socket, by: Int(SYS_getpeername)) }

    /// struct sockaddr of a socket's own end. getsockname(2).
    static func address(_ socket: CInt) throws -> [UInt8] { try address(socket, by: Int(SYS_getsockname)) }

    private static func address(_ socket: CInt, by call: Int) throws -> [UInt8] {
        var address = [UInt8](repeating: 0, count: 128)
        var length = socklen_t(address.count)
        try system("address of socket") {
            address.withUnsafeMutableBytes { raw in
                withUnsafeMutablePointer(to: &length) {
                    clinux_syscall(
                        call, Int(socket), Int(bitPattern: raw.baseAddress), Int(bitPattern: $0), 0, 0, 0)
                }
            }
        }
        return Array(address.prefix(Int(length)))
    }

    static func set(_ socket: CInt, _ entry: SocketOptionEntry) throws {
        try set(socket, entry.level, entry.name, entry.value)
    }

    static func set(_ socket: CInt, _ level: CInt, _ option: CInt, _ value: [UInt8]) throws {
        try system("set socket option \(level)/\(option)") {
            value.withUnsafeBytes { setsockopt(socket, level, option, $0.baseAddress, socklen_t($0.count)) }
        }
    }

    /// What an error calls a socket of which nothing else is known.
    static func description(of socket: CInt) throws -> String {
        let family = try number(socket, SOL_SOCKET, SO_DOMAIN)
        guard family == AF_INET || family == AF_INET6 else { return "sockets of family \(family)" }
        return "an IP socket of protocol \(try number(socket, SOL_SOCKET, SO_PROTOCOL))"
    }

    private static func time(_ socket: CInt, _ option: CInt) throws -> timeval {
        var value = timeval()
        var length = socklen_t(MemoryLayout<timeval>.size)
        try system("socket option \(option)") { getsockopt(socket, SOL_SOCKET, option, &value, &length) }
        return value
    }

    static func capture(_ socket: CInt) throws -> SkOptsEntry {
        func flag(_ option: CInt) throws -> Bool { try number(socket, SOL_SOCKET, option) != 0 }
        let sending = try time(socket, SO_SNDTIMEO)
        let receiving = try time(socket, SO_RCVTIMEO)
        var options = SkOptsEntry()
        options.soSndbuf = UInt32(bitPattern: try number(socket, SOL_SOCKET, SO_SNDBUF))
        options.soRcvbuf = UInt32(bitPattern: try number(socket, SOL_SOCKET, SO_RCVBUF))
        options.soSndTmoSec = UInt64(sending.tv_sec)
        options.soSndTmoUsec = UInt64(sending.tv_usec)
        options.soRcvTmoSec = UInt64(receiving.tv_sec)
        options.soRcvTmoUsec = UInt64(receiving.tv_usec)
        options.reuseaddr = try flag(SO_REUSEADDR)
        options.soReuseport = try flag(SO_REUSEPORT)
        options.soKeepalive = try flag(SO_KEEPALIVE)
        options.soBroadcast = try flag(SO_BROADCAST)
        options.soDontroute = try flag(SO_DONTROUTE)
        options.soNoCheck = try flag(SO_NO_CHECK)
        options.soOobinline = UInt32(bitPattern: try number(socket, SOL_SOCKET, SO_OOBINLINE))
        options.soPriority = UInt32(bitPattern: try number(socket, SOL_SOCKET, SO_PRIORITY))
        options.soMark = UInt32(bitPattern: try number(socket, SOL_SOCKET, SO_MARK))
        options.soRcvlowat = UInt32(bitPattern: try number(socket, SOL_SOCKET, SO_RCVLOWAT))
        options.soFilter = try SocketFilter.capture(socket)
        let linger = try pair(socket, SO_LINGER)
        if linger[0] != 0 { options.soLinger = UInt32(bitPattern: linger[1]) }
        let device = try boundDevice(socket)
        if !device.isEmpty { options.soBoundDev = device }
        // SO_BUF_LOCK, Linux 5.15: which of the two sizes the program chose itself.
        options.soBufLock = UInt32(bitPattern: try number(socket, SOL_SOCKET, 72))
        return options
    }

    /// Two numbers, such as struct linger.
    private static func pair(_ socket: CInt, _ option: CInt) throws -> SIMD2<Int32> {
        var value = SIMD2<Int32>(0, 0)
        var length = socklen_t(8)
        try system("socket option \(option)") { getsockopt(socket, SOL_SOCKET, option, &value, &length) }
        return value
    }

    private static func boundDevice(_ socket: CInt) throws -> String {
        var name = [UInt8](repeating: 0, count: 16)
        var length = socklen_t(name.count)
        try system("device of socket") {
            name.withUnsafeMutableBytes { getsockopt(socket, SOL_SOCKET, SO_BINDTODEVICE, $0.baseAddress, &length) }
        }
        return String(decoding: name.prefix(Int(length)).prefix { $0 != 0 }, as: UTF8.self)
    }

    /// Only what differs from a fresh socket's is set.
    static func apply(_ options: SkOptsEntry, to socket: CInt) throws {
        let fresh = try capture(socket)
        try applyBuffers(options, to: socket)
        try time(socket, SO_SNDTIMEO, options.soSndTmoSec, options.soSndTmoUsec)
        try time(socket, SO_RCVTIMEO, options.soRcvTmoSec, options.soRcvTmoUsec)
        let flags: [(CInt, Bool, Bool)] = [
            (SO_REUSEADDR, options.reuseaddr, fresh.reuseaddr),
            (SO_REUSEPORT, options.soReuseport, fresh.soReuseport),
            (SO_KEEPALIVE, options.soKeepalive, fresh.soKeepalive),
            (SO_BROADCAST, options.soBroadcast, fresh.soBroadcast),
            (SO_DONTROUTE, options.soDontroute, fresh.soDontroute),
            (SO_NO_CHECK, options.soNoCheck, fresh.soNoCheck),
            (SO_OOBINLINE, options.soOobinline != 0, fresh.soOobinline != 0),
            (SO_PASSCRED, options.soPasscred, false),
        ]
        for (option, wanted, current) in flags where wanted != current {
            try set(socket, SOL_SOCKET, option, wanted ? 1 : 0)
        }
        if options.hasSoLinger {
            var linger = SIMD2<Int32>(1, Int32(bitPattern: options.soLinger))
            try system("set linger of socket") { setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, 8) }
        }
        if options.hasSoBoundDev {
            let name = Array(options.soBoundDev.utf8)
            try system("bind socket to device \(options.soBoundDev)") {
                name.withUnsafeBytes {
                    setsockopt(socket, SOL_SOCKET, SO_BINDTODEVICE, $0.baseAddress, socklen_t($0.count))
                }
            }
        }
        if options.soPriority != fresh.soPriority {
            try set(socket, SOL_SOCKET, SO_PRIORITY, CInt(bitPattern: options.soPriority))
        }
        if options.soMark != fresh.soMark { try set(socket, SOL_SOCKET, SO_MARK, CInt(bitPattern: options.soMark)) }
        if options.hasSoRcvlowat, options.soRcvlowat != fresh.soRcvlowat {
            try set(socket, SOL_SOCKET, SO_RCVLOWAT, CInt(bitPattern: options.soRcvlowat))
        }
    }

    /// The sizes, and which of them the program chose itself (SO_BUF_LOCK). The kernel doubles what it is told.
    static func applyBuffers(_ options: SkOptsEntry, to socket: CInt) throws {
        let (sending, receiving) = (
            try number(socket, SOL_SOCKET, SO_SNDBUF), try number(socket, SOL_SOCKET, SO_RCVBUF)
        )
        // SO_SNDBUFFORCE and SO_RCVBUFFORCE, for which sysctl sets no limit.
        if options.soSndbuf != UInt32(bitPattern: sending) {
            try set(socket, SOL_SOCKET, 32, CInt(clamping: options.soSndbuf / 2))
        }
        if options.soRcvbuf != UInt32(bitPattern: receiving) {
            try set(socket, SOL_SOCKET, 33, CInt(clamping: options.soRcvbuf / 2))
        }
        let locks = UInt32(bitPattern: try number(socket, SOL_SOCKET, 72))
        if options.hasSoBufLock, options.soBufLock != locks {
            try set(socket, SOL_SOCKET, 72, CInt(clamping: options.soBufLock))
        }
    }

    /// A size with which so many bytes fit into a queue, however the kernel packs them.
    static func room(for bytes: Int, _ options: SkOptsEntry) -> CInt {
        CInt(clamping: max(Int(max(options.soSndbuf, options.soRcvbuf)), bytes * 4 + (1 << 20)))
    }

    private static func time(_ socket: CInt, _ option: CInt, _ seconds: UInt64, _ microseconds: UInt64) throws {
        guard seconds != 0 || microseconds != 0 else { return }
        var value = timeval(tv_sec: Int(clamping: seconds), tv_usec: Int(clamping: microseconds))
        try system("set socket option \(option)") {
            setsockopt(socket, SOL_SOCKET, option, &value, socklen_t(MemoryLayout<timeval>.size))
        }
    }
}
