import LinuxSystem

/// What the kernel tells of the unix sockets in a network namespace. sock_diag(7), UNIX_DIAG.
struct UnixDiagnosis {
    var state: UInt8
    var peer: UInt32 = 0
    /// 1 receiving, 2 sending, 3 both are shut down.
    var shutdown: UInt8 = 0
    var name: [UInt8] = []
    /// Connections that wait to be accepted and how many may, or bytes that wait to be read.
    var waiting: UInt32 = 0
    var backlog: UInt32 = 0

    var printableName: String {
        let text = String(decoding: name.drop { $0 == 0 }.prefix { $0 != 0 }, as: UTF8.self)
        return name.first == 0 ? "@" + text : text
    }

    /// Asks in the caller's network namespace for all of them, by inode.
    static func all() throws -> [UInt32: UnixDiagnosis] {
        let socket = OwnedDescriptor(
            CInt(try systemCall("open sock_diag", Int(SYS_socket), 16, 3 | Int(O_CLOEXEC), Int(NETLINK_SOCK_DIAG))))
        // struct nlmsghdr {length 4, type 2, flags 2, sequence 4, port 4}, struct unix_diag_req {family 1, protocol 1,
        // pad 2, states 4, inode 4, show 4, cookie 8}. Show name 1, peer 4, queues 16, and the shutdown that always comes.
        var request = [UInt8](repeating: 0, count: 40)
        func put(_ value: UInt32, at offset: Int) {
            for byte in 0..<4 { request[offset + byte] = UInt8(truncatingIfNeeded: value >> (8 * byte)) }
        }
        put(40, at: 0)
        put(20 | (0x301 << 16), at: 4)
        request[16] = UInt8(AF_UNIX)
        put(UInt32.max, at: 20)
        put(0x1 | 0x4 | 0x10, at: 28)
        put(UInt32.max, at: 32)
        put(UInt32.max, at: 36)
        try system("ask sock_diag") { request.withUnsafeBytes { send(socket.raw, $0.baseAddress, $0.count, 0) } }

        var found: [UInt32: UnixDiagnosis] = [:]
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = try system("receive from sock_diag") {
                buffer.withUnsafeMutableBytes { recv(socket.raw, $0.baseAddress, $0.count, 0) }
            }
            if try !parse(buffer[..<count], into: &found) { return found }
        }
    }

    /// - Returns: whether more will come.
    private static func parse(_ bytes: ArraySlice<UInt8>, into found: inout [UInt32: UnixDiagnosis]) throws -> Bool {
        var rest = Array(bytes)
        func word(_ offset: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(rest[offset + $1]) << (8 * $1) }
        }
        func half(_ offset: Int) -> Int { Int(rest[offset]) | Int(rest[offset + 1]) << 8 }
        while rest.count >= 16 {
            let length = Int(word(0))
            guard length >= 16, length <= rest.count else { return false }
            switch half(4) {
            case 3: return false
            case 2:
                guard length >= 20 else { return false }
                let error = Int32(bitPattern: word(16))
                if error != 0 { throw SystemError(Errno(rawValue: -error), "ask sock_diag for unix sockets") }
            default:
                guard length >= 32 else { break }
                var one = UnixDiagnosis(state: rest[18])
                let inode = word(20)
                var offset = 32
                while offset + 4 <= length {
                    let size = half(offset)
                    guard size >= 4, offset + size <= length else { break }
                    switch half(offset + 2) {
                    case 0: one.name = Array(rest[(offset + 4)..<(offset + size)])
                    case 2 where size >= 8: one.peer = word(offset + 4)
                    case 4 where size >= 12: (one.waiting, one.backlog) = (word(offset + 4), word(offset + 8))
                    case 6 where size >= 5: one.shutdown = rest[offset + 4]
                    default: break
                    }
                    offset += (size + 3) & ~3
                }
                found[inode] = one
            }
            rest.removeFirst(min((length + 3) & ~3, rest.count))
        }
        return true
    }
}
