import Testing

@testable import LinuxSystem

@Suite struct ForgedSegmentTests {
    @Test func bytes() {
        let name = ConnectionName(local: [127, 0, 0, 1], 4321, remote: [127, 0, 0, 1], 54_352)
        let segment = ForgedSegment(
            to: name, sequence: 0x0102_0304, acknowledged: 0x0506_0708, flags: [.end, .acknowledgement], window: 512)
        let bytes = segment.bytes
        #expect(Array(bytes[..<20]) == [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1])
        #expect(Array(bytes[20..<36]) == [0xd4, 0x50, 0x10, 0xe1, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x11, 2, 0])
        // RFC 1071: with its checksum the sum is all ones.
        #expect(sum(Array(bytes[12..<20]) + [0, 6, 0, 20] + bytes[20...]) == 0xffff)
    }

    @Test func bytesOfIPv6() {
        let local = [UInt8](repeating: 0, count: 15) + [1]
        let name = ConnectionName(local: local, 80, remote: [0xfd] + local.dropFirst(), 40_000)
        let bytes = ForgedSegment(to: name, sequence: 1, acknowledged: 2, flags: .reset, window: 0).bytes
        #expect(Array(bytes[..<8]) == [0x60, 0, 0, 0, 0, 20, 6, 64] && bytes.count == 60)
        #expect(Array(bytes[8..<24]) == name.remote && Array(bytes[24..<40]) == local)
        #expect(sum(Array(bytes[8..<40]) + [0, 6, 0, 20] + bytes[40...]) == 0xffff)
    }

    @Test func optionsAndData() {
        let name = ConnectionName(local: [10, 0, 0, 1], 80, remote: [10, 0, 0, 2], 40_000)
        var segment = ForgedSegment(to: name, sequence: 1, acknowledged: 0, flags: .synchronize, window: 9)
        (segment.options, segment.data) = ([2, 4, 5, 0xb4], [7, 8, 9])
        let bytes = segment.bytes
        #expect(bytes.count == 47 && bytes[3] == 47 && bytes[32] == 0x60 && bytes[33] == 2)
        #expect(Array(bytes[40...]) == [2, 4, 5, 0xb4, 7, 8, 9])
        #expect(sum(Array(bytes[12..<20]) + [0, 6, 0, 27] + bytes[20...] + [0]) == 0xffff)
        segment.data = ArraySlice([UInt8](repeating: 1, count: 300))
        #expect(segment.bytes[2] == 1 && segment.bytes[3] == 88 && segment.bytes.count == 344)
    }

    private func sum(_ bytes: [UInt8]) -> Int {
        var sum = stride(from: 0, to: bytes.count, by: 2).reduce(0) { $0 + Int(bytes[$1]) << 8 + Int(bytes[$1 + 1]) }
        while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
        return sum
    }
}
