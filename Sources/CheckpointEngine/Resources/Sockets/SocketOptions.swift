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
    static func bytes(_ socket: CInt, _ level: CInt, _ option: CInt, limit: Int) throws -> [UInt8] {
        var value = [UInt8](repeating: 0, count: limit)
        var length = socklen_t(limit)
        try system("socket option \(level)/\(option)") {
            value.withUnsafeMutableBytes { getsockopt(socket, level, option, $0.baseAddress, &length) }
        }
        return Array(value.prefix(Int(length)))
    }

    /// struct sockaddr of who is, or was, at the other end; `nil` of a socket that was never connected. getpeername(2).
    static func peerAddress(_ socket: CInt) -> [UInt8]? {
        var address = [UInt8](repeating: 0, count: 128)
        var length = socklen_t(address.count)
        let result = address.withUnsafeMutableBytes { raw in
            withUnsafeMutablePointer(to: &length) {
                clinux_syscall(
                    Int(SYS_getpeername), Int(socket), Int(bitPattern: raw.baseAddress), Int(bitPattern: $0), 0, 0, 0)
            }
        }
        return result == 0 ? Array(address.prefix(Int(length))) : nil
    }

    static func set(_ socket: CInt, _ entry: SocketOptionEntry) throws {
        try system("set socket option \(entry.level)/\(entry.name)") {
            entry.value.withUnsafeBytes {
                setsockopt(socket, entry.level, entry.name, $0.baseAddress, socklen_t($0.count))
            }
        }
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
        // SO_GET_FILTER tells how long an attached filter is; of one that is no classic BPF, EACCES.
        var length: socklen_t = 0
        let error = getsockopt(socket, SOL_SOCKET, 26, nil, &length) == 0 ? 0 : Errno.current.rawValue
        if error == EACCES || error == 0 && length > 0 {
            throw CheckpointError("a socket with a filter attached (SO_ATTACH_FILTER) cannot be checkpointed yet")
        }
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
        // The kernel doubles what it is told. SO_SNDBUFFORCE and SO_RCVBUFFORCE, for which sysctl sets no limit.
        if options.soSndbuf != fresh.soSndbuf { try set(socket, SOL_SOCKET, 32, CInt(clamping: options.soSndbuf / 2)) }
        if options.soRcvbuf != fresh.soRcvbuf { try set(socket, SOL_SOCKET, 33, CInt(clamping: options.soRcvbuf / 2)) }
        if options.hasSoBufLock, options.soBufLock != fresh.soBufLock || options.soSndbuf != fresh.soSndbuf {
            try set(socket, SOL_SOCKET, 72, CInt(clamping: options.soBufLock))
        }
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

    private static func time(_ socket: CInt, _ option: CInt, _ seconds: UInt64, _ microseconds: UInt64) throws {
        guard seconds != 0 || microseconds != 0 else { return }
        var value = timeval(tv_sec: Int(clamping: seconds), tv_usec: Int(clamping: microseconds))
        try system("set socket option \(option)") {
            setsockopt(socket, SOL_SOCKET, option, &value, socklen_t(MemoryLayout<timeval>.size))
        }
    }
}
