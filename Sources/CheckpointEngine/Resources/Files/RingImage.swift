import CheckpointImages
import LinuxSystem

/// A ring of io_uring, as its image has it.
struct RingImage {
    let parameters: RingParameters
    let bytes: [UInt8]

    init(_ image: [UInt8]) throws {
        let bytes = Array(image.dropFirst(RingParameters.byteCount))
        guard let parameters = RingParameters(image.prefix(RingParameters.byteCount)) else {
            throw CheckpointError("is too short")
        }
        let sizes = [parameters.submissions, parameters.completions]
        guard IORing.knownFlags.contains(parameters.unpolled.flags),
            parameters.flags.contains(.polled) || !parameters.flags.contains(.bound),
            sizes.allSatisfy({ $0.nonzeroBitCount == 1 && $0 <= 1 << 16 }),
            bytes.count == parameters.ringSize + parameters.entriesSize,
            RingParameters.Word.allCases.allSatisfy({ parameters.place(of: $0) <= parameters.ringSize - 4 })
        else { throw CheckpointError("is no io_uring of these sizes and flags") }
        (self.parameters, self.bytes) = (parameters, bytes)
        guard self[.submissionHead] == count, !isPolled || self[.submissionTail] == count,
            unread <= min(count, parameters.completions),
            count <= IORing.mostOperations
        else {
            throw CheckpointError("its counters are not those of a ring in which nothing is under way")
        }
    }

    subscript(word: RingParameters.Word) -> UInt32 {
        bytes.integer(UInt32.self, at: parameters.place(of: word)) ?? 0
    }

    var isPolled: Bool { parameters.flags.contains(.polled) }
    /// Operations that it has done, and how many of them nobody has taken note of.
    var count: UInt32 { self[.completionTail] }
    var unread: UInt32 { count &- self[.completionHead] }
}
