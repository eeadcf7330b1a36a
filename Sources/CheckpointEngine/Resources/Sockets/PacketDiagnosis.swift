import LinuxSystem

/// What the kernel tells of the packet sockets in a network namespace. sock_diag(7), PACKET_DIAG.
struct PacketDiagnosis {
    typealias Membership = (interface: UInt32, count: UInt32, type: UInt16, address: [UInt8])

    /// Of struct tpacket_hdr.
    private(set) var version: UInt32 = 0
    private(set) var reserve: UInt32 = 0
    private(set) var copyThreshold: UInt32 = 0
    private(set) var timestamp: UInt32 = 0
    private(set) var flags: UInt32 = 0
    private(set) var memberships: [Membership] = []
    private(set) var hasRing = false
    private(set) var isInFanout = false

    var hasAuxiliaryData: Bool { flags & 0x2 != 0 }
    var tellsOriginalDevice: Bool { flags & 0x4 != 0 }
    var hasVirtualHeader: Bool { flags & 0x8 != 0 }
    var skipsFaulty: Bool { flags & 0x10 != 0 }

    /// All, in the caller's network namespace, by their inodes.
    static func sockets() throws -> [UInt32: PacketDiagnosis] {
        let socket = try NetlinkSocket(CInt(NETLINK_SOCK_DIAG), name: "sock_diag")
        // struct packet_diag_req {family 1, protocol 1, pad 2, inode 4, show 4, cookie 8}. Show all but memory, owner, filter.
        let request = [UInt8](integers: [UInt32(PacketSocket.family), 0, 0xf, 0, 0])
        var found: [UInt32: PacketDiagnosis] = [:]
        // SOCK_DIAG_BY_FAMILY
        for message in try socket.ask("ask sock_diag for packet sockets", type: 20, isDump: true, request) {
            // struct packet_diag_msg {family 1, type 1, protocol 2, inode 4, cookie 8}
            guard let inode = message.body.integer(UInt32.self, at: 4) else { continue }
            found[inode] = PacketDiagnosis(message.attributes(after: 16))
        }
        return found
    }

    private init(_ attributes: [NetlinkAttribute]) {
        for attribute in attributes {
            let value = attribute.value
            func word(_ index: Int) -> UInt32 { value.integer(UInt32.self, at: 4 * index) ?? 0 }
            switch attribute.type {
            case 0:
                // struct packet_diag_info: interface, version, reserve, copy threshold, time stamp, flags
                (version, reserve, copyThreshold) = (word(1), word(2), word(3))
                (timestamp, flags) = (word(4), word(5))
            case 1:
                // struct packet_diag_mclist {interface 4, count 4, type 2, length 2, address 32}
                for start in stride(from: 0, to: value.count - 43, by: 44) {
                    let entry = Array(value[value.startIndex + start..<value.startIndex + start + 44])
                    let length = min(Int(entry.integer(UInt16.self, at: 10) ?? 0), 32)
                    memberships.append(
                        (
                            entry.integer(UInt32.self, at: 0) ?? 0, entry.integer(UInt32.self, at: 4) ?? 0,
                            entry.integer(UInt16.self, at: 8) ?? 0, Array(entry[12..<12 + length])
                        ))
                }
            case 2, 3: hasRing = true
            case 4: isInFanout = true
            default: break
            }
        }
    }
}
