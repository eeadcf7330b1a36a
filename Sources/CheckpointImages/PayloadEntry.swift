import SwiftProtobuf

/// An entry that is followed by raw bytes, whose number it states.
package protocol PayloadEntry: Message {
    var payloadLength: UInt64 { get }
    /// Zeros after the payload bring its length to a multiple of this.
    static var payloadAlignment: Int { get }
}

extension PayloadEntry {
    package static var payloadAlignment: Int { 1 }
}

/// An entry with the bytes that follow it.
package struct ImageRecord<Entry: Message>: Sendable {
    package var entry: Entry
    package var payload: ArraySlice<UInt8>

    package init(_ entry: Entry, payload: ArraySlice<UInt8>) {
        self.entry = entry
        self.payload = payload
    }
}

/// Where the bytes after an entry lie in their file.
package struct PayloadPlace: Sendable {
    package var offset: UInt64
    package var count: UInt64

    package init(offset: UInt64, count: UInt64) { (self.offset, self.count) = (offset, count) }
}

extension PipeDataEntry: PayloadEntry {
    package var payloadLength: UInt64 { UInt64(bytes) }
}

extension SkPacketEntry: PayloadEntry {
    package var payloadLength: UInt64 { UInt64(length) }
}

extension GhostChunkEntry: PayloadEntry {
    package var payloadLength: UInt64 { len }
}

/// The receive queue, then the send queue.
extension TcpStreamEntry: PayloadEntry {
    package var payloadLength: UInt64 { UInt64(inqLen) + UInt64(outqLen) }
}

extension IpcShmEntry: PayloadEntry {
    package var payloadLength: UInt64 { UInt64(size) }
    package static var payloadAlignment: Int { 4 }
}

/// One u16 for each semaphore.
extension IpcSemEntry: PayloadEntry {
    package var payloadLength: UInt64 { UInt64(nsems) * 2 }
    package static var payloadAlignment: Int { 8 }
}
