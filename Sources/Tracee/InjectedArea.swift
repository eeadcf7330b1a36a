import LinuxSystem

/// The private mapping in a tracee that holds the agent, its programs and the frames to return through.
///
/// ```
/// 0      code (one page)
/// 4K     lanes, one for each thread: command buffer 64, signal frame, a short table, a little data
/// …      the main table, then the main data, used by one thread at a time
/// ```
public struct InjectedArea: Sendable {
    public let base: RemoteAddress
    public let laneCount: Int
    let laneSize: Int
    let frameSize: Int

    static let callLimit = 8192
    static let dataLimit = 1 << 20
    static let laneCalls = 32
    static let laneData = 1024

    public init(base: RemoteAddress, lanes: Int, extendedStateSize: Int) {
        self.base = base
        laneCount = lanes
        frameSize = SignalFrame.size(extendedState: extendedStateSize)
        laneSize = (64 + frameSize + Self.laneCalls * 64 + Self.laneData + 63) & ~63
    }

    private var tableOffset: Int { (4096 + laneCount * laneSize + 4095) & ~4095 }

    /// Bytes to map. Pages that are not used are never touched.
    public var size: Int { tableOffset + Self.callLimit * 64 + Self.dataLimit }

    public var end: RemoteAddress { base + size }

    /// Room for a large program of any one thread.
    public var main: Program.Space {
        Program.Space(
            table: base + tableOffset, callLimit: Self.callLimit,
            data: base + (tableOffset + Self.callLimit * 64), dataLimit: Self.dataLimit)
    }

    /// Room for a short program of the thread with this index.
    public func lane(_ index: Int) -> Program.Space {
        let start = laneStart(index) + (64 + frameSize)
        return Program.Space(
            table: start, callLimit: Self.laneCalls, data: start + Self.laneCalls * 64, dataLimit: Self.laneData)
    }

    func commandBuffer(_ index: Int) -> RemoteAddress { laneStart(index) }
    func frame(_ index: Int) -> RemoteAddress { laneStart(index) + 64 }
    private func laneStart(_ index: Int) -> RemoteAddress { base + (4096 + index * laneSize) }
}
