import CheckpointImages
import LinuxSystem

/// What waits in a pipe or FIFO, and how much may.
struct PipeContent {
    let bytes: [UInt8]
    let size: UInt32
    /// How much of it each read(2) takes that has room for all.
    private let reads: [UInt32]

    /// Copies it without taking anything out. tee(2).
    ///
    /// - Parameter pipe: open for reading.
    init(of pipe: CInt) throws {
        size = try Self.size(of: pipe)
        let waiting = try Self.waiting(in: pipe)
        let pieces = waiting > 0 ? try Self.copy(waiting, of: pipe, size: size) : []
        bytes = pieces.flatMap { $0 }
        reads = pieces.map { UInt32($0.count) }
    }

    /// Nothing.
    init(size: UInt32) { (bytes, reads, self.size) = ([], [], size) }

    static func size(of pipe: CInt) throws -> UInt32 {
        UInt32(try system("size of pipe") { clinux_fcntl(pipe, CLINUX_F_GETPIPE_SZ, 0) })
    }

    /// What each read(2) gets.
    private static func copy(_ waiting: Int, of pipe: CInt, size: UInt32) throws -> [[UInt8]] {
        let copy = try makePipe()
        try system("size of copy") { clinux_fcntl(copy.second.raw, CLINUX_F_SETPIPE_SZ, Int(max(size, 4096))) }
        let count = try systemCall("tee", Int(SYS_tee), Int(pipe), Int(copy.second.raw), Int(size), nonBlocking)
        guard count == waiting else {
            throw CheckpointError("only \(count) of the \(waiting) bytes in a pipe could be copied")
        }
        var pieces: [[UInt8]] = []
        var rest = count
        while rest > 0 {
            var piece = [UInt8](repeating: 0, count: rest)
            let step = try system("read copy of pipe") {
                piece.withUnsafeMutableBytes { read(copy.first.raw, $0.baseAddress, $0.count) }
            }
            guard step > 0 else { throw CheckpointError("\(rest) bytes of a pipe's copy are missing") }
            pieces.append(Array(piece.prefix(step)))
            rest -= step
        }
        return pieces
    }

    /// SPLICE_F_NONBLOCK
    private static let nonBlocking = 2
    /// A packet is never larger. pipe(2) O_DIRECT.
    private static let largestPacket: UInt32 = 4096

    static func waiting(in pipe: CInt) throws -> Int {
        var waiting: CInt = 0
        try system("bytes in pipe") {
            withUnsafeMutablePointer(to: &waiting) { clinux_ioctl(pipe, UInt(FIONREAD), UInt(bitPattern: $0)) }
        }
        return Int(waiting)
    }

    /// Whether nobody has it open for writing; of an empty one. tee(2) waits for writers only.
    static func hasNoWriter(_ pipe: CInt) throws -> Bool {
        let copy = try makePipe()
        // EAGAIN where one may write yet.
        return clinux_syscall(Int(SYS_tee), Int(pipe), Int(copy.second.raw), 1, nonBlocking, 0, 0) == 0
    }

    /// The sizes of its packets, empty where it is a stream of bytes.
    ///
    /// - Parameter writesPackets: whether an end of it does so now. Another may have done so before.
    func packets(writesPackets: Bool) throws -> [UInt32] {
        guard reads.count > 1 || writesPackets else { return [] }
        guard reads.allSatisfy({ $0 <= Self.largestPacket }) else {
            throw CheckpointError(
                passing: "packets in a pipe (O_DIRECT) behind a stream of bytes cannot be checkpointed yet")
        }
        return reads
    }

    func entry(_ id: UInt32) -> PipeDataEntry {
        PipeDataEntry.with {
            $0.pipeID = id
            $0.bytes = UInt32(bytes.count)
            $0.size = size
        }
    }

    static func resize(_ pipe: CInt, _ entry: PipeDataEntry, name: String) throws {
        guard entry.hasSize else { return }
        try system("set size of \(name)") { clinux_fcntl(pipe, CLINUX_F_SETPIPE_SZ, Int(entry.size)) }
    }

    /// Puts it into an empty pipe.
    ///
    /// - Parameter content: the bytes, once it is certain that they fit.
    static func fill(
        _ writer: CInt, count: UInt64, packets: [UInt32], name: String, _ content: () throws -> [UInt8]
    ) throws {
        let limit = UInt64(try system("size of \(name)") { clinux_fcntl(writer, CLINUX_F_GETPIPE_SZ, 0) })
        guard count <= limit else { throw CheckpointError("\(name): \(count) bytes do not fit into \(limit)") }
        guard !packets.isEmpty else { return try writeAll(writer, try content(), name: name) }
        let total = packets.reduce(UInt64(0)) { (sum: UInt64, packet: UInt32) in sum + UInt64(packet) }
        let areSound = packets.allSatisfy { (packet: UInt32) in packet > 0 && packet <= largestPacket }
        guard areSound, total == count, UInt64(packets.count) <= limit / UInt64(largestPacket) else {
            throw CheckpointError("\(name): \(packets.count) packets that are not its \(count) bytes")
        }
        let flags = try system("flags of \(name)") { clinux_fcntl(writer, F_GETFL, 0) }
        try system("packet mode of \(name)") { clinux_fcntl(writer, F_SETFL, Int(flags | CLINUX_O_DIRECT)) }
        var rest = try content()[...]
        for packet in packets {
            try writeAll(writer, Array(rest.prefix(Int(packet))), name: name)
            rest = rest.dropFirst(Int(packet))
        }
        try system("flags of \(name)") { clinux_fcntl(writer, F_SETFL, Int(flags)) }
    }
}
